import assert from 'node:assert/strict';
import test from 'node:test';
import { HTTP_ROUTE_GROUPS, type KubeObject, SMI_TCP_ROUTES, TRAFFIC_TARGETS } from '@tulle/api';
import { PROXY_CONTAINER, pod } from '../../testing/objects.ts';
import { InboundWorld, policy, server } from '../../testing/policies.ts';
import { evaluateInbound, type InboundAttempt } from './evaluate.ts';

const ports = [{ name: 'http', containerPort: 8080 }];
const WEB = pod('web', {
  labels: { app: 'web' },
  isMeshed: true,
  containers: [{ name: 'app', ports, livenessProbe: { httpGet: { path: '/live', port: 8080 } } }],
});
const account = (name: string) => ({ kind: 'ServiceAccount', name, namespace: 'app' });
const target = (name: string, spec: object, options = {}) =>
  policy(TRAFFIC_TARGETS, name, { destination: account('web'), sources: [account('bot')], ...spec }, options);
const GROUP = policy(HTTP_ROUTE_GROUPS, 'group', {
  matches: [
    { name: 'metrics', pathRegex: '/metrics', methods: ['GET'] },
    { name: 'api', pathRegex: '/api/.*', methods: ['*'], headers: { 'X-Kind': 'a|b' } },
    { name: 'all', pathRegex: '.*' },
  ],
});

/** The verdict on a request of `caller`, and the Server, target or default that it comes from. */
function verdict(objects: KubeObject[], caller: string | undefined, path = '/', port = 8080, more: object = {}) {
  const found = new InboundWorld([WEB, ...objects]).server('web', port)!;
  const id = caller && `${caller}.app.serviceaccount.identity.linkerd.cluster.local`;
  const request = { method: 'GET', path, host: 'web', headers: {}, ...more };
  const attempt: InboundAttempt = { client: { ip: '10.0.0.9', isTls: caller !== undefined, id }, request };
  const { verdict: is, authorization } = evaluateInbound(found, attempt);
  return authorization === undefined
    ? is
    : `${is} ${typeof authorization === 'string' ? authorization : authorization.name}`;
}

test('lets in those whom a target names, to the pods of its account alone', () => {
  const open = target('t', {});
  assert.equal(verdict([], undefined), 'allow all-unauthenticated');
  assert.equal(verdict([open], 'bot'), 'allow t');
  assert.equal(verdict([open], 'eve'), 'deny');
  assert.equal(verdict([open], undefined), 'deny');
  assert.equal(verdict([open], undefined, '/live'), 'allow probe');
  assert.equal(verdict([target('t', { destination: account('other') })], undefined), 'allow all-unauthenticated');
  assert.equal(
    verdict([open], undefined, '/metrics', PROXY_CONTAINER.ports[1]!.containerPort),
    'allow all-unauthenticated',
  );
  assert.equal(verdict([open, target('u', { sources: [account('eve')] })], 'eve'), 'allow u');
});

test('lets them say what the rules name', () => {
  const rules = (...matches: string[]) => [{ kind: 'HTTPRouteGroup', name: 'group', matches }];
  const metrics = [GROUP, target('t', { rules: rules('metrics') })];
  assert.equal(verdict(metrics, 'bot', '/metrics'), 'allow t');
  assert.equal(verdict(metrics, 'eve', '/metrics'), 'deny');
  assert.equal(verdict(metrics, 'bot', '/metrics', 8080, { method: 'POST' }), 'deny');
  assert.equal(verdict(metrics, 'bot', '/other'), 'deny');
  const both = [...metrics, target('u', { sources: [account('eve')], rules: rules('metrics', 'api') })];
  assert.equal(verdict(both, 'bot', '/metrics'), 'allow t');
  assert.equal(verdict(both, 'eve', '/metrics'), 'allow u');
  assert.equal(verdict(both, 'eve', '/api/x'), 'deny');
  assert.equal(verdict(both, 'eve', '/api/x', 8080, { headers: { 'x-kind': 'a' } }), 'allow u');
  assert.equal(verdict([GROUP, target('t', { rules: rules() })], 'bot', '/anything'), 'allow t');
  assert.equal(verdict([target('t', { rules: rules() })], 'bot'), 'deny');
});

test('lets them onto the ports that rules and destinations name', () => {
  const route = policy(SMI_TCP_ROUTES, 'route', { matches: { ports: [8080] } });
  const rules = [{ kind: 'TCPRoute', name: 'route' }];
  assert.equal(verdict([route, target('t', { rules })], 'bot'), 'allow t');
  assert.equal(verdict([route, target('t', { rules })], 'bot', '/', 9000), 'deny');
  assert.equal(verdict([target('t', { rules })], 'bot'), 'deny');
  for (const port of [8080, '8080', 'http']) {
    const named = [target('t', { destination: { ...account('web'), port } })];
    assert.equal(verdict(named, 'bot'), 'allow t');
    assert.equal(verdict(named, 'bot', '/', 9000), 'deny');
  }
});

test('reads the shape without a spec, leaves ports of Servers alone, and closes what it cannot read', () => {
  const { spec, ...rest } = target('t', {});
  const old = {
    ...rest,
    ...(spec as object),
    apiVersion: 'access.smi-spec.io/v1alpha1',
    specs: [{ kind: 'HTTPRouteGroup', name: 'group', matches: ['metrics'] }],
  } as KubeObject;
  assert.equal(verdict([GROUP, old], 'bot', '/metrics'), 'allow t');
  assert.equal(verdict([GROUP, old], 'bot', '/other'), 'deny');
  assert.equal(verdict([target('t', {}), server('http')], 'bot'), 'deny');
  for (const bad of [
    { sources: [{ kind: 'Group', name: 'g' }] },
    { rules: 'all' },
    { destination: { ...account('web'), namespace: 'other' } },
  ]) {
    assert.equal(verdict([target('t', bad)], 'bot'), 'deny', JSON.stringify(bad));
  }
  const world = new InboundWorld([WEB]);
  const bad = policy(HTTP_ROUTE_GROUPS, 'group', { matches: [{ name: 'x', pathRegex: '(' }] });
  world.apply('set', bad);
  assert.match(world.policies.problems(HTTP_ROUTE_GROUPS, bad)[0]!, /^lets nobody in: spec\.matches\[0\]\.pathRegex/);
});
