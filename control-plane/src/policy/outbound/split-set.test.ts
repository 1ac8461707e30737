/** TrafficSplits that name route groups: what is shared, what is behind, and what is hidden. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import type { KubeObject } from '@tulle/api';
import { parseAllDocuments } from 'yaml';
import { clusterService, OutboundWorld, route, type WorldObject } from '../../testing/outbound-world.ts';
import { evaluateOutbound } from './evaluate.ts';

const WEB = clusterService('web', '10.96.0.1');
const SERVICES = [WEB, clusterService('v1', '10.96.0.2'), clusterService('v2', '10.96.0.3')];

function group(name: string, matches: object[], apiVersion = 'specs.smi-spec.io/v1alpha4'): WorldObject {
  const body = apiVersion.endsWith('alpha2') ? { matches } : { spec: { matches } };
  return ['route-group', { apiVersion, kind: 'HTTPRouteGroup', metadata: { name, namespace: 'app' }, ...body }];
}

function split(name: string, groups: string[], backends: Record<string, number | string>, second = 0): WorldObject {
  const metadata = { name, namespace: 'app', creationTimestamp: new Date(Date.UTC(2026, 0, 1, 0, 0, second)) };
  const spec = {
    service: 'web',
    matches: groups.map((each) => ({ kind: 'HTTPRouteGroup', name: each })),
    backends: Object.entries(backends).map(([service, weight]) => ({ service, weight })),
  };
  const type = { apiVersion: 'split.smi-spec.io/v1alpha4', kind: 'TrafficSplit' };
  return ['traffic-split', { ...type, metadata, spec } as unknown as KubeObject];
}

/** `app/v1 90, app/v2 10`, after the route that decides. */
function sent(world: OutboundWorld, request: { path?: string; method?: string; headers?: Record<string, string> }) {
  const { backends, route: of } = evaluateOutbound(world.policy('10.96.0.1:80'), { path: '/', ...request });
  const name = of?.kind === 'object' ? `${of.ref.kind} ${of.ref.name}` : `default ${of?.name}`;
  const shares = backends.map(({ target, share }) => {
    assert.ok(target.kind === 'service');
    return `${target.name}:${target.port} ${Math.round(share * 100)}`;
  });
  return `${name}: ${shares.join(', ')}`;
}

const FIREFOX = group('firefox', [{ name: 'firefox-users', headers: [{ 'user-agent': '.*Firefox.*' }] }]);
const firefox = { headers: { 'user-agent': 'Mozilla/5.0 Firefox/140' } };

test('shares what the group matches, and sends the rest to the Service itself', () => {
  const world = new OutboundWorld([...SERVICES, FIREFOX, split('ab', ['firefox'], { v1: 0, v2: 100 })]);
  assert.equal(sent(world, firefox), 'TrafficSplit ab: v1:80 0, v2:80 100');
  assert.equal(sent(world, { headers: { 'user-agent': 'curl' } }), 'default http: web:80 100');
  const policy = world.policy('10.96.0.1:80');
  assert.ok(policy.kind === 'routed');
  assert.deepEqual([policy.protocol, policy.opaque[0]?.source], ['detect', { kind: 'default', name: 'opaq' }]);
  world.delete(...FIREFOX);
  assert.equal(sent(world, firefox), 'default http: web:80 100');
});

test('several groups are one, several splits stand side by side, and one of all requests is behind them', () => {
  const world = new OutboundWorld([
    ...SERVICES,
    FIREFOX,
    group('list', [{ name: 'list', pathRegex: '/list', methods: ['GET', 'HEAD'] }], 'specs.smi-spec.io/v1alpha2'),
    group('beta', [{ name: 'beta', headers: { 'x-beta': '1' } }]),
    split('ab', ['firefox', 'list', 'gone'], { v2: '100m', v1: '900m' }, 1),
    split('beta', ['beta'], { v2: 1 }, 2),
    split('canary', [], { web: '3', v1: '1' }, 3),
    split('late', [], { v2: 1 }, 4),
  ]);
  for (const request of [firefox, { path: '/list', method: 'HEAD' }]) {
    assert.equal(sent(world, request), 'TrafficSplit ab: v2:80 10, v1:80 90');
  }
  assert.equal(sent(world, { headers: { 'x-beta': '1' } }), 'TrafficSplit beta: v2:80 100');
  assert.equal(sent(world, { path: '/list', method: 'POST' }), 'TrafficSplit canary: web:80 75, v1:80 25');
  const policy = world.policy('10.96.0.1:80');
  assert.ok(policy.kind === 'routed');
  assert.deepEqual(
    policy.opaque.map(({ source, rules }) => [
      source.kind === 'object' && source.ref.name,
      rules[0]?.backends.map(({ weight }) => weight),
    ]),
    [['canary', [3, 1]]],
  );
  assert.deepEqual(
    policy.shadowed.map(({ ref, reason }) => `${ref.name}: ${reason}`),
    ['late: an older TrafficSplit shares all requests'],
  );
});

test('comes before the routes of the Service, of whichever namespace, and leaves opaque ports as they are', () => {
  const opaque = { annotations: { 'config.linkerd.io/opaque-ports': '81' } };
  const world = new OutboundWorld([
    clusterService('web', '10.96.0.1', opaque),
    ...SERVICES.slice(1),
    FIREFOX,
    route('http', 'own', [{ matches: [{ path: { value: '/own' } }] }]),
    split('ab', ['firefox'], { v2: 1 }),
  ]);
  assert.equal(sent(world, { path: '/own', ...firefox }), 'TrafficSplit ab: v2:80 100');
  assert.equal(sent(world, { path: '/own' }), 'default http: web:80 100');
  const policy = world.policy('10.96.0.1:80');
  const reason = "a TrafficSplit of the Service takes its routes' place";
  assert.deepEqual(policy.kind === 'routed' && policy.shadowed.map((one) => [one.ref.name, one.reason]), [
    ['own', reason],
  ]);
  const other = world.policy('10.96.0.1:81');
  assert.ok(other.kind === 'routed' && other.protocol === 'opaque');
  assert.deepEqual(other.opaque[0]?.source, { kind: 'default', name: 'opaq' });
});

test('a split of all requests alone is none of the policy’s', () => {
  const world = new OutboundWorld([...SERVICES, split('canary', [], { v1: 1 })]);
  assert.equal(sent(world, {}), 'default http: web:80 100');
});

test('the TrafficSplit of docs/smi.md shares what the page says', () => {
  const page = readFileSync(new URL('../../../../docs/smi.md', import.meta.url), 'utf8');
  const [, block] = /<!-- example: traffic-split -->\n```yaml\n([\s\S]*?)\n```/.exec(page)!;
  const namespace = 'emojiivoto';
  const world = new OutboundWorld([
    clusterService('emoji', '10.96.0.1', { namespace }),
    clusterService('emoji-next', '10.96.0.2', { namespace }),
  ]);
  for (const document of parseAllDocuments(block!)) {
    const object = document.toJS() as KubeObject;
    world.set(object.kind === 'TrafficSplit' ? 'traffic-split' : 'route-group', object);
  }
  assert.equal(sent(world, firefox), 'TrafficSplit emoji-next: emoji-next:80 100');
  assert.equal(sent(world, {}), 'default http: emoji:80 100');
});
