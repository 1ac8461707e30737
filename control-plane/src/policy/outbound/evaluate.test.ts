import assert from 'node:assert/strict';
import test from 'node:test';
import { clusterService, EGRESS_PARENT, egressNetwork, OutboundWorld, route } from '../../testing/outbound-world.ts';
import { evaluateOutbound, type OutboundRequest } from './evaluate.ts';
import type { Source } from './outbound-policy.ts';

const WEB = clusterService('web', '10.96.0.1', { annotations: { 'timeout.linkerd.io/request': '9s' } });
const name = (source: Source | undefined) => (source?.kind === 'object' ? source.ref.name : source?.name);

function evaluate(world: OutboundWorld, request: OutboundRequest, target = '10.96.0.1:80') {
  return evaluateOutbound(world.policy(target), request);
}

const rule = (matches: object[], more: object = {}) => ({ matches, ...more });
const path = (type: string, value: string) => ({ path: { type, value } });

test('finds the rule by the precedence of the Gateway API', () => {
  const rules = [
    rule([path('RegularExpression', '/a/x.*')]),
    rule([path('PathPrefix', '/a')]),
    rule([path('PathPrefix', '/a/b')]),
    rule([path('Exact', '/a/b')]),
    rule([{ ...path('PathPrefix', '/a/b'), method: 'POST' }]),
    rule([{ ...path('PathPrefix', '/a/b'), headers: [{ name: 'X', value: '1' }] }]),
    rule([{ ...path('PathPrefix', '/a/b'), queryParams: [{ name: 'q', value: '1' }] }]),
  ];
  const world = new OutboundWorld([WEB, route('http', 'r', rules)]);
  const found = (request: OutboundRequest) => evaluate(world, request).field;
  assert.equal(found({ path: '/a/b' }), 'spec.rules[3]');
  assert.equal(found({ path: '/a/b/c' }), 'spec.rules[2]');
  assert.equal(found({ path: '/a/bc' }), 'spec.rules[1]');
  assert.equal(found({ path: '/a/xy' }), 'spec.rules[0]');
  assert.equal(found({ path: '/a/b/c', method: 'POST' }), 'spec.rules[4]');
  assert.equal(found({ path: '/a/b/c', headers: { x: '1' } }), 'spec.rules[5]');
  assert.equal(found({ path: '/a/b/c?q=1' }), 'spec.rules[6]');
  assert.equal(evaluate(world, { path: '/x' }).outcome, 'not-found');
});

test('says whose timeouts hold, what shares backends have, and what is hidden', () => {
  const backendRefs = [
    { name: 'web', port: 80, weight: 3 },
    { name: 'gone', port: 80, weight: 1 },
  ];
  const own = { annotations: { 'timeout.linkerd.io/request': '1s' } };
  const world = new OutboundWorld([
    WEB,
    route('http', 'old', [rule([{}], { backendRefs })], own),
    route('http', 'young', [rule([{}])], { createdAt: 1 }),
    route('tcp', 'tcp', [{}]),
  ]);
  const seen = evaluate(world, { path: '/' });
  assert.equal(name(seen.route), 'old');
  assert.deepEqual([seen.timeouts?.value.requestMs, name(seen.timeouts?.from)], [1_000, 'old']);
  assert.deepEqual(
    seen.backends.map(({ share, failure }) => [share, failure]),
    [
      [0.75, undefined],
      [0.25, 'Service not found gone'],
    ],
  );
  assert.deepEqual(
    seen.shadowed.map(({ source }) => name(source)),
    ['young', 'tcp'],
  );
  const plain = evaluate(new OutboundWorld([WEB]), {});
  assert.deepEqual([name(plain.route), name(plain.timeouts?.from)], ['http', 'web']);
});

test('matches calls, hosts and names of TLS', () => {
  const call = { matches: [{ method: { service: 'app.Votes', method: 'Cast' } }] };
  const grpc = new OutboundWorld([
    WEB,
    route('grpc', 'g', [{ matches: [{ method: { service: 'app.Votes' } }] }, call]),
  ]);
  assert.equal(evaluate(grpc, { path: '/app.Votes/Cast' }).field, 'spec.rules[1]');
  assert.equal(evaluate(grpc, { path: '/app.Votes/Other' }).field, 'spec.rules[0]');
  const parents = [EGRESS_PARENT];
  const outside = new OutboundWorld([
    egressNetwork('outside', { trafficPolicy: 'Deny' }),
    route('tls', 'any', [{}], { parents, hostnames: ['*.example.com'] }),
    route('tls', 'one', [{}], { parents, hostnames: ['a.example.com'] }),
  ]);
  const at = (sni: string) => evaluate(outside, { sni }, '93.184.216.34:443');
  assert.equal(name(at('a.example.com').route), 'one');
  assert.equal(name(at('b.example.com').route), 'any');
  assert.deepEqual([name(at('example.org').route), at('example.org').outcome], ['tls-egress-deny', 'failed']);
});

test('tells failures, redirects and ports that a Service does not have', () => {
  const redirect = { type: 'RequestRedirect', requestRedirect: { port: 8443 } };
  const broken = { type: 'ExtensionRef' };
  const world = new OutboundWorld([
    WEB,
    route('http', 'r', [
      rule([path('Exact', '/go')], { filters: [redirect] }),
      rule([path('Exact', '/bad')], { filters: [broken] }),
    ]),
  ]);
  assert.equal(evaluate(world, { path: '/go' }).outcome, 'redirected');
  assert.equal(evaluate(world, { path: '/bad' }).failure?.status, 500);
  assert.equal(evaluate(world, {}, '10.96.0.1:99').outcome, 'failed');
  assert.equal(evaluate(world, {}, '93.184.216.34:443').outcome, 'sent');
});
