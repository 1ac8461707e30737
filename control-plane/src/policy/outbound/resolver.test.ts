/** Which routes and EgressNetworks are in force: for which client, port and address, and in which order. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import type { KubeObject } from '@tulle/api';
import { namespace, service } from '../../testing/objects.ts';
import {
  at,
  clusterService,
  EGRESS_PARENT,
  egressNetwork,
  OutboundWorld,
  route,
  SERVICE_PARENT,
  type WorldObject,
} from '../../testing/outbound-world.ts';

const WEB = clusterService('web', '10.96.0.1');
const OUTSIDE = '93.184.216.34:443';

/** Names of the routes that are in force, and how bytes are read. */
function inForce(world: OutboundWorld, target = '10.96.0.1:80', client = 'app'): string {
  const protocol = at(world.wire(target, client), 'protocol') as Record<string, JsonValue>;
  const [kind] = Object.keys(protocol) as [string];
  const routes = at(protocol, kind, ...(kind === 'detect' ? ['http1'] : []), 'routes') as JsonValue[];
  const names = routes.map((one) => at(one, 'metadata', 'resource', 'name') ?? at(one, 'metadata', 'default'));
  return `${kind}: ${names.join(' ')}`;
}

test('takes a route for all ports, for one by its number, or for one by its name', () => {
  const parents = {
    all: { ...SERVICE_PARENT, port: undefined },
    byName: { ...SERVICE_PARENT, port: undefined, sectionName: 'other' },
  };
  const world = new OutboundWorld([
    WEB,
    route('http', 'all', [{}], { parents: [parents.all], createdAt: 1 }),
    route('http', 'first', [{}], { createdAt: 2 }),
    route('http', 'other', [{}], { parents: [parents.byName], createdAt: 3 }),
    route('http', 'several', [{}], {
      parents: [
        { ...SERVICE_PARENT, name: 'x' },
        { ...SERVICE_PARENT, port: 81 },
      ],
      createdAt: 4,
    }),
  ]);
  assert.equal(inForce(world), 'detect: all first');
  assert.equal(inForce(world, '10.96.0.1:81'), 'detect: all other several');
  assert.equal(inForce(world, 'app/web:80'), 'detect: all first');
});

test('orders routes by age, then by namespace and name', () => {
  const parents = [{ ...SERVICE_PARENT, port: undefined }];
  const world = new OutboundWorld([
    WEB,
    route('http', 'b', [{}], { createdAt: 5, parents }),
    route('policy-http', 'a', [{}], { createdAt: 5, parents }),
    route('http', 'z', [{}], { createdAt: 1, parents }),
  ]);
  assert.equal(inForce(world), 'detect: z a b');
});

test('of several kinds takes GRPCRoute, HTTPRoute, TLSRoute, TCPRoute, and says what is hidden', () => {
  const routes = (['grpc', 'http', 'tls', 'tcp'] as const).map((kind) => route(kind, kind, [{}]));
  const world = new OutboundWorld([WEB, ...routes]);
  const policy = world.policy('10.96.0.1:80');
  const shadowed = policy.kind === 'routed' ? policy.shadowed : [];
  assert.deepEqual(
    shadowed.map(({ ref, reason }) => `${ref.name}: ${reason}`),
    ['http', 'tcp', 'tls'].map((name) => `${name}: routes of kind GRPCRoute are attached to the same port`),
  );
  const seen: string[] = [];
  for (const one of routes) {
    seen.push(inForce(world));
    world.delete(...one);
  }
  assert.deepEqual(
    [...seen, inForce(world)],
    ['grpc: grpc', 'detect: http', 'tls: tls', 'opaque: tcp', 'detect: http'],
  );
  assert.equal(
    at(world.wire('10.96.0.1:80'), 'protocol', 'detect', 'http1', 'routes', 0, 'metadata', 'default'),
    'http',
  );
});

test('gives clients of a namespace their own routes instead of the Service’s', () => {
  const world = new OutboundWorld([
    WEB,
    route('grpc', 'producer', [{}]),
    route('http', 'consumer', [{}], { namespace: 'shop' }),
  ]);
  assert.equal(inForce(world), 'grpc: producer');
  assert.equal(inForce(world, '10.96.0.1:80', 'shop'), 'detect: consumer');
  assert.equal(inForce(world, '10.96.0.1:80', 'other'), 'grpc: producer');
});

test('own routes that the port cannot have do not hide the Service’s', () => {
  const ports = [{ name: 'h', port: 80, appProtocol: 'http' }];
  const web: WorldObject = ['Service', service('web', { clusterIPs: ['10.96.0.1'], ports })];
  const world = new OutboundWorld([
    web,
    route('http', 'producer', [{}]),
    route('tcp', 'consumer', [{}], { namespace: 'shop' }),
  ]);
  assert.equal(inForce(world, '10.96.0.1:80', 'shop'), 'http1: producer');
});

test('takes what a port is declared to speak for granted', () => {
  const ports = [
    { name: 'a', port: 1, appProtocol: 'http' },
    { name: 'b', port: 2, appProtocol: 'kubernetes.io/h2c' },
    { name: 'c', port: 3, appProtocol: 'linkerd.io/tcp' },
    { name: 'd', port: 4, appProtocol: 'unheard-of' },
    { name: 'e', port: 3306 },
    { name: 'f', port: 3307 },
    { name: 'g', port: 7070, appProtocol: 'grpc' },
  ];
  const parents = [{ ...SERVICE_PARENT, port: undefined }];
  const annotations = { 'config.linkerd.io/opaque-ports': '3307' };
  const web = clusterService('web', '10.96.0.1', { ports });
  const world = new OutboundWorld([web, ['Namespace', namespace('app', annotations)]]);
  const seen = () => ports.map(({ port }) => inForce(world, `10.96.0.1:${port}`));
  assert.deepEqual(seen(), [
    'http1: http',
    'http2: http',
    'opaque: opaq',
    'opaque: opaq',
    'detect: http',
    'opaque: opaq',
    'detect: http',
  ]);
  world.set(...route('grpc', 'g', [{}], { parents }));
  world.set(...route('http', 'h', [{}], { parents }));
  world.set(...route('tcp', 't', [{}], { parents }));
  assert.deepEqual(seen(), ['http1: h', 'grpc: g', 'opaque: t', 'opaque: t', 'grpc: g', 'opaque: t', 'grpc: g']);
});

test('a Service without an address of its own is no parent', () => {
  const headless: WorldObject = ['Service', service('web', { clusterIPs: ['None'] })];
  const world = new OutboundWorld([headless, route('http', 'r', [{}])]);
  assert.equal(inForce(world, 'app/web:80'), 'detect: http');
  // It only names its pods, whose ports it need not list.
  assert.equal(inForce(world, 'app/web:8081'), 'detect: http');
  assert.equal(inForce(world, 'app/web:3306'), 'opaque: opaq');
});

test('a route is for no port of a parent whose port cannot be read', () => {
  const world = new OutboundWorld([
    WEB,
    network('outside', undefined),
    route('http', 'bad', [{}], { parents: [{ ...SERVICE_PARENT, port: '80' }] }),
    route('http', 'worse', [{}], { parents: [{ ...SERVICE_PARENT, port: undefined, sectionName: 80 }] }),
    route('http', 'worst', [{}], { parents: [{ ...EGRESS_PARENT, port: undefined }] }),
  ]);
  assert.equal(inForce(world), 'detect: http');
  assert.equal(inForce(world, OUTSIDE), 'detect: http-egress-deny');
});

test('a Service that is an external name has no policy', () => {
  const out: WorldObject = ['Service', service('out', { spec: { type: 'ExternalName', externalName: 'example.com' } })];
  assert.throws(
    () => new OutboundWorld([out]).wire('app/out:80'),
    /outbound policy of service app\/out: it is an external name/,
  );
});

test('a route none of whose host names can be read takes no request, and others are found as before', () => {
  const world = new OutboundWorld([WEB, route('http', 'r', [{}], { hostnames: ['10.0.0.1'] })]);
  const [only] = at(world.wire('10.96.0.1:80'), 'protocol', 'detect', 'http1', 'routes') as JsonValue[];
  assert.deepEqual(Object.keys(only as object), ['metadata']);
});

test('a route without rules is in force and takes nothing; an HTTPRoute that leaves the field out takes everything', () => {
  const of = (kind: 'http' | 'policy-http' | 'grpc', rules: object[] | undefined) => {
    const [, object] = route(kind, 'r', []);
    Object.assign(object.spec as object, { rules });
    return inForce(new OutboundWorld([WEB, [kind, object]])) + rulesOf(new OutboundWorld([WEB, [kind, object]]));
  };
  const rulesOf = (world: OutboundWorld) => {
    const { detect, grpc } = at(world.wire('10.96.0.1:80'), 'protocol') as Record<string, JsonValue>;
    return ` ${((at(detect, 'http1', 'routes', 0, 'rules') ?? at(grpc, 'routes', 0, 'rules') ?? []) as JsonValue[]).length}`;
  };
  assert.deepEqual(
    [of('policy-http', []), of('http', []), of('grpc', []), of('grpc', undefined), of('http', undefined)],
    ['detect: r 0', 'detect: r 0', 'grpc: r 0', 'grpc: r 0', 'detect: r 1'],
  );
});

test('of several TCPRoutes the oldest takes every connection', () => {
  const routes = [
    route('tcp', 'young', [{}], { createdAt: 1 }),
    route('tcp', 'old', [{}]),
    route('tcp', 'empty', [], { createdAt: -1 }),
  ];
  const world = new OutboundWorld([WEB, ...routes]);
  assert.equal(inForce(world), 'opaque: old');
  const policy = world.policy('10.96.0.1:80');
  const reasons = policy.kind === 'routed' ? policy.shadowed.map(({ ref, reason }) => `${ref.name}: ${reason}`) : [];
  assert.deepEqual(reasons, ['young: an older TCPRoute takes every connection']);
  world.delete(...routes[0]!);
  world.delete(...routes[1]!);
  assert.deepEqual(at(world.wire('10.96.0.1:80'), 'protocol'), { opaque: {} });
});

test('a TLSRoute or TCPRoute with two rules refuses what the first would have taken', () => {
  for (const [kind, protocol] of [
    ['tls', 'tls'],
    ['tcp', 'opaque'],
  ] as const) {
    const world = new OutboundWorld([
      network('outside', undefined),
      route(kind, 'r', [{}, {}], { parents: [EGRESS_PARENT] }),
    ]);
    const message = 'spec.rules: found [{},{}], allowed is exactly one rule';
    const filters = at(world.wire(OUTSIDE), 'protocol', protocol, 'routes', 0, 'rules', 0, 'filters');
    assert.deepEqual(filters, [{ invalid: { message } }]);
  }
});

test('a TLSRoute none of whose names can be read takes no connection', () => {
  const parents = [EGRESS_PARENT];
  const bad = route('tls', 'bad', [{}], { parents, hostnames: ['10.0.0.1'] });
  const world = new OutboundWorld([network('outside', undefined), bad]);
  assert.equal(inForce(world, OUTSIDE), 'tls: tls-egress-deny');
});

test('a rule with a bad match fails what it could have taken', () => {
  const matches = [{ path: { type: 'RegularExpression', value: '/(' } }];
  const world = new OutboundWorld([WEB, route('http', 'r', [{ matches }, { matches: [{ path: { value: '/ok' } }] }])]);
  const rules = at(world.wire('10.96.0.1:80'), 'protocol', 'detect', 'http1', 'routes', 0, 'rules');
  const message = 'spec.rules[0].matches[0].path.value: found "/(", allowed is a regular expression';
  assert.deepEqual(at(rules, 0, 'filters'), [{ failureInjector: { status: 500, message } }]);
  assert.deepEqual(at(rules, 0, 'matches'), [{ path: { prefix: '/' } }]);
  assert.equal(at(rules, 1, 'filters'), undefined);
});

const GRANT = {
  apiVersion: 'gateway.networking.k8s.io/v1beta1',
  kind: 'ReferenceGrant',
  metadata: { name: 'g', namespace: 'data' },
  spec: {
    from: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'app' }],
    to: [{ group: '', kind: 'Service', name: 'db' }],
  },
} as KubeObject;

test('asks for a grant of a backend elsewhere where the cluster has them, of the Gateway API’s routes only', () => {
  const db = clusterService('db', '10.96.0.5', { namespace: 'data' });
  const rules = [{ backendRefs: [{ name: 'db', namespace: 'data', port: 80 }] }];
  const problem = (kind: 'http' | 'policy-http', change: (world: OutboundWorld) => void) => {
    const world = new OutboundWorld([WEB, db, route(kind, 'r', rules)]);
    change(world);
    const path = [
      'http1',
      'routes',
      0,
      'rules',
      0,
      'backends',
      'randomAvailable',
      'backends',
      0,
      'backend',
      'filters',
      0,
    ];
    return at(world.wire('10.96.0.1:80'), 'protocol', 'detect', ...path, 'failureInjector', 'message');
  };
  const refused = 'no ReferenceGrant in namespace data allows backend Service db';
  assert.equal(
    problem('http', () => {}),
    undefined,
  );
  assert.equal(
    problem('http', (world) => world.index.setGrantsServed(true)),
    refused,
  );
  assert.equal(
    problem('policy-http', (world) => world.index.setGrantsServed(true)),
    undefined,
  );
  const granted = (grant: KubeObject) => (world: OutboundWorld) => {
    world.index.setGrantsServed(true);
    world.set('grant', grant);
  };
  assert.equal(problem('http', granted(GRANT)), undefined);
  assert.equal(
    problem('http', granted({ ...GRANT, spec: { ...GRANT.spec, to: [{ group: '', kind: 'Service', name: 'x' }] } })),
    refused,
  );
  assert.equal(problem('http', granted({ ...GRANT, metadata: { name: 'g', namespace: 'app' } })), refused);
});

test('a consumer route names its parent as its backend without a grant, and nothing else of that namespace', () => {
  const parents = [{ ...SERVICE_PARENT, namespace: 'app' }];
  const to = (name: string) => [{ backendRefs: [{ name, namespace: 'app', port: 80 }] }];
  const api = clusterService('api', '10.96.0.7');
  const filters = (name: string) => {
    const world = new OutboundWorld([WEB, api, route('http', 'r', to(name), { namespace: 'shop', parents })]);
    world.index.setGrantsServed(true);
    const rules = at(world.wire('10.96.0.1:80', 'shop'), 'protocol', 'detect', 'http1', 'routes', 0, 'rules', 0);
    return at(rules, 'backends', 'randomAvailable', 'backends', 0, 'backend', 'filters');
  };
  assert.equal(filters('web'), undefined);
  const message = 'no ReferenceGrant in namespace app allows backend Service api';
  assert.deepEqual(at(filters('api'), 0, 'failureInjector', 'message'), message);
});

test('a grant that is changed to what cannot be read grants nothing, and streams hear of it', () => {
  const world = new OutboundWorld([['grant', GRANT]]);
  const bad = { ...GRANT, spec: { ...GRANT.spec, to: 'all' } };
  assert.throws(() => world.set('grant', bad), { code: 'INVALID_ARGUMENT' });
  assert.deepEqual([...world.delete('grant', bad)], ['grants/data']);
});

const network = (name: string, networks: object[] | undefined, options: Parameters<typeof egressNetwork>[2] = {}) =>
  egressNetwork(name, { trafficPolicy: 'Deny', ...(networks ? { networks } : {}) }, options);

/** Whose policy an address gets. */
function owner(objects: readonly WorldObject[], target = OUTSIDE, client = 'app'): JsonValue | undefined {
  const metadata = at(new OutboundWorld(objects).wire(target, client), 'metadata');
  return at(metadata, 'resource', 'name') ?? at(metadata, 'default');
}

test('finds the EgressNetwork: own before global, longest prefix, oldest, then by name', () => {
  const wide = network('wide', [{ cidr: '93.0.0.0/8' }], { createdAt: 1 });
  const narrow = network('narrow', [{ cidr: '93.184.0.0/16' }], { createdAt: 9 });
  const all = network('all', undefined, { createdAt: 0 });
  const global = network('global', [{ cidr: '93.184.216.34' }], { namespace: 'linkerd-egress' });
  assert.equal(owner([]), 'egress-fallback');
  assert.equal(owner([all]), 'all');
  assert.equal(owner([wide, narrow, all]), 'narrow');
  assert.equal(owner([wide, network('older', [{ cidr: '93.0.0.0/8' }], { createdAt: 0 })]), 'older');
  assert.equal(owner([wide, network('a', [{ cidr: '93.0.0.0/8' }], { createdAt: 1 })]), 'a');
  assert.equal(owner([all, global]), 'all');
  assert.equal(owner([all, global], OUTSIDE, 'shop'), 'global');
  assert.equal(owner([network('mine', [{ cidr: '8.8.8.8' }]), global]), 'global');
  assert.equal(owner([network('but', [{ cidr: '93.0.0.0/8', except: ['93.184.0.0/16'] }])]), 'egress-fallback');
  assert.equal(owner([network('six', [{ cidr: '2000::/3' }])], '2606:2800::1:443'), 'six');
  assert.throws(() => owner([all], '10.1.2.3:443'), { code: 'NOT_FOUND' });
});

test('an EgressNetwork that cannot be read does not allow more', () => {
  assert.equal(owner([network('bad', [{ cidr: 'x' }])]), 'bad');
  const unclear = new OutboundWorld([egressNetwork('unclear', { trafficPolicy: 'Perhaps' })]);
  assert.equal(inForce(unclear, OUTSIDE), 'detect: http-egress-deny');
});

test('lets the routes of an EgressNetwork allow what it denies', () => {
  const parents = [EGRESS_PARENT];
  const world = new OutboundWorld([
    network('outside', undefined),
    route('tls', 'ok', [{}], { parents, hostnames: ['a.example'] }),
  ]);
  assert.equal(inForce(world, OUTSIDE), 'tls: ok tls-egress-deny');
  assert.equal(inForce(world, '93.184.216.34:80'), 'detect: http-egress-deny');
  world.set(...route('http', 'h', [{}], { parents: [{ ...EGRESS_PARENT, port: 80 }], hostnames: ['a.example'] }));
  assert.equal(inForce(world, '93.184.216.34:80'), 'detect: h http-egress-deny');
});

test('an EgressNetwork that reaches into the cluster takes no routes, and denies as before', () => {
  const parents = [EGRESS_PARENT];
  const allowed = route('http', 'ok', [{}], { parents });
  const reaching = network('outside', [{ cidr: '0.0.0.0/0' }]);
  assert.equal(inForce(new OutboundWorld([reaching, allowed]), OUTSIDE), 'detect: http-egress-deny');
  const beside = network('outside', [{ cidr: '0.0.0.0/0', except: ['10.0.0.0/8'] }]);
  assert.equal(inForce(new OutboundWorld([beside, allowed]), OUTSIDE), 'detect: ok http-egress-deny');
});
