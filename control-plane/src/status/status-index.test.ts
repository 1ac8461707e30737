import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '@tulle/api';
import { parseNetwork } from '@tulle/api/ip-address.ts';
import fc from 'fast-check';
import type { WrittenCondition } from './conditions.ts';
import { CONTROLLER_NAME, type ParentStatus } from './route-status.ts';
import { StatusIndex } from './status-index.ts';

const NOW = '2026-01-01T00:00:00Z';
const POLICY = 'policy.linkerd.io';
const GATEWAY = 'gateway.networking.k8s.io';

interface Meta {
  namespace?: string;
  at?: number;
  status?: object;
  generation?: number;
}

function object(apiVersion: string, kind: string, name: string, spec: object, meta: Meta = {}): KubeObject {
  const { namespace = 'app', at = 0, status, generation } = meta;
  const creationTimestamp = `2026-01-01T00:00:${String(at).padStart(2, '0')}Z`;
  const metadata = { name, namespace, creationTimestamp, ...(generation ? { generation } : {}) };
  return { apiVersion, kind, metadata, spec, ...(status ? { status } : {}) };
}

const service = (name: string, spec: object = { clusterIP: '10.0.0.1' }, meta?: Meta) =>
  object('v1', 'Service', name, spec, meta);
const server = (name: string, proxyProtocol?: string) =>
  object(`${POLICY}/v1beta3`, 'Server', name, { port: 80, proxyProtocol });
const egress = (name: string, networks?: object[], meta?: Meta) =>
  object(
    `${POLICY}/v1alpha1`,
    'EgressNetwork',
    name,
    { trafficPolicy: 'Allow', ...(networks ? { networks } : {}) },
    meta,
  );
const rateLimit = (name: string, at: number, target = 'web-http', meta: Meta = {}) =>
  object(
    `${POLICY}/v1alpha1`,
    'HTTPLocalRateLimitPolicy',
    name,
    { targetRef: { group: POLICY, kind: 'Server', name: target }, total: { requestsPerSecond: 1 } },
    { at, ...meta },
  );
const grant = (name: string, namespace: string, from: object, to: object) =>
  object(`${GATEWAY}/v1beta1`, 'ReferenceGrant', name, { from: [from], to: [to] }, { namespace });

const toService = (name = 'web', rest: object = {}) => ({ group: '', kind: 'Service', name, ...rest });
const toServer = (name: string, rest: object = {}) => ({ group: POLICY, kind: 'Server', name, ...rest });
const toEgress = (name: string, rest: object = {}) => ({
  group: POLICY,
  kind: 'EgressNetwork',
  name,
  port: 80,
  ...rest,
});
const backend = (name: string, rest: object = {}) => ({ name, port: 80, ...rest });

function route(name: string, parentRefs: object[], backendRefs: object[] = [], options: RouteOptions = {}): KubeObject {
  const { kind = 'HTTPRoute', group = GATEWAY, rule = {}, ...meta } = options;
  return object(`${group}/v1`, kind, name, { parentRefs, rules: [{ backendRefs, ...rule }] }, meta);
}
interface RouteOptions extends Meta {
  kind?: string;
  group?: string;
  rule?: object;
}

function indexOf(objects: KubeObject[], problemOf: (object: KubeObject) => string | undefined = () => undefined) {
  const index = new StatusIndex({
    clusterNetworks: [parseNetwork('10.0.0.0/8')!, parseNetwork('fd00::/8')!],
    problemOf,
  });
  for (const one of objects) index.apply('set', one);
  return index;
}

const keyOf = ({ apiVersion = '', kind, metadata }: KubeObject) =>
  `${apiVersion.split('/')[0]}/${kind}/${metadata.namespace}/${metadata.name}`;
const parentsIn = (index: StatusIndex, of: KubeObject) =>
  index.wanted(keyOf(of), NOW)!.status.parents as ParentStatus[];

/** `Accepted:message Resolved…` of the first parent. */
function conditions(index: StatusIndex, of: KubeObject): string[] {
  const { status } = index.wanted(keyOf(of), NOW)!;
  const entries =
    (status.parents as ParentStatus[] | undefined)?.flatMap((entry) => entry.conditions) ?? status.conditions;
  return (entries as { type: string; status: string; reason: string; message: string }[]).map(
    ({ type, status: value, reason, message }) => `${type}=${value} ${reason}${message ? `: ${message}` : ''}`,
  );
}

const OK = 'Accepted=True Accepted';
const RESOLVED = 'ResolvedRefs=True ResolvedRefs';

const rows: [name: string, subject: KubeObject, around: KubeObject[], want: string[]][] = [
  ['a Server', route('r', [toServer('web-http')]), [server('web-http')], [OK]],
  ['a Server that is not there', route('r', [toServer('web-http')]), [], ['Accepted=False NoMatchingParent']],
  [
    'a Server elsewhere',
    route('r', [toServer('web-http', { namespace: 'other' })]),
    [server('web-http')],
    ['Accepted=False NoMatchingParent: a Server must be in the namespace of its route'],
  ],
  [
    'a GRPCRoute of a Server of gRPC',
    route('r', [toServer('g')], [], { kind: 'GRPCRoute' }),
    [server('g', 'gRPC')],
    [OK],
  ],
  [
    'a GRPCRoute of a Server that detects its protocol',
    route('r', [toServer('web-http')], [], { kind: 'GRPCRoute' }),
    [server('web-http')],
    ['Accepted=True Accepted: without effect: a Server with proxyProtocol unknown has HTTPRoute alone'],
  ],
  [
    'a Server of gRPC, and one of TLS',
    route('r', [toServer('g'), toServer('t')]),
    [server('g', 'gRPC'), server('t', 'TLS')],
    [
      'Accepted=True Accepted: without effect: a Server with proxyProtocol gRPC has GRPCRoute alone',
      'Accepted=True Accepted: without effect: a Server with proxyProtocol TLS has no routes',
    ],
  ],
  [
    'a port of a Server',
    route('r', [toServer('web-http', { port: 80 }), toServer('web-http', { sectionName: 'http' })]),
    [server('web-http')],
    [
      'Accepted=False NoMatchingParent: a Server is a parent as a whole: found port 80, allowed is none',
      'Accepted=False NoMatchingParent: a Server is a parent as a whole: found sectionName http, allowed is none',
    ],
  ],
  [
    'a Server of a TCPRoute',
    route('r', [toServer('web-http')], [], { kind: 'TCPRoute' }),
    [server('web-http')],
    ['Accepted=False NoMatchingParent: a Server takes HTTPRoute and GRPCRoute, not TCPRoute'],
  ],
  ['a Service', route('r', [toService()], [backend('web')]), [service('web')], [OK, RESOLVED]],
  ['a Service of group core', route('r', [toService('web', { group: 'core' })]), [service('web')], [OK, RESOLVED]],
  [
    'a Service of a route of our own group',
    route('r', [toService()], [backend('web')], { group: POLICY }),
    [service('web')],
    [OK, RESOLVED],
  ],
  [
    'a Service that is not there',
    route('r', [toService()], [backend('web')]),
    [],
    [
      'Accepted=False NoMatchingParent',
      'ResolvedRefs=False BackendNotFound: spec.rules[0].backendRefs[0]: there is no Service app/web',
    ],
  ],
  [
    'a headless Service',
    route('r', [toService()]),
    [service('web', { clusterIP: 'None' })],
    ['Accepted=False NoMatchingParent: parent service must have a ClusterIP', RESOLVED],
  ],
  [
    'an ExternalName Service',
    route('r', [toService()]),
    [service('web', { type: 'ExternalName' })],
    ['Accepted=False NoMatchingParent: parent service must have a ClusterIP', RESOLVED],
  ],
  [
    'an EgressNetwork',
    route('r', [toEgress('all')], [{ group: POLICY, kind: 'EgressNetwork', name: 'all' }]),
    [egress('all')],
    [OK, RESOLVED],
  ],
  [
    'an EgressNetwork that is not accepted',
    route('r', [toEgress('bad')]),
    [egress('bad', [{ cidr: '10.1.0.0/16' }])],
    ['Accepted=False NoMatchingParent: EgressNetwork parent has not been accepted', RESOLVED],
  ],
  [
    'an EgressNetwork that is not there',
    route('r', [toEgress('x')]),
    [],
    ['Accepted=False NoMatchingParent', RESOLVED],
  ],
  ['a Gateway, which is not ours', route('r', [{ name: 'gateway' }]), [], []],
  [
    'a backend of a kind that we do not have',
    route('r', [toService()], [backend('web', { kind: 'Bucket', group: 'example.com' })]),
    [service('web')],
    [
      OK,
      'ResolvedRefs=False InvalidKind: spec.rules[0].backendRefs[0]: found kind Bucket, allowed are Service and EgressNetwork',
    ],
  ],
  [
    'an EgressNetwork as backend of a Service',
    route('r', [toService()], [{ group: POLICY, kind: 'EgressNetwork', name: 'all' }]),
    [service('web'), egress('all')],
    [
      OK,
      'ResolvedRefs=False InvalidKind: spec.rules[0].backendRefs[0]: an EgressNetwork can only be the backend of a route to itself',
    ],
  ],
  [
    'the target of a mirror that is not there',
    route('r', [toService()], [backend('web')], {
      rule: { filters: [{ type: 'RequestMirror', requestMirror: { backendRef: { name: 'copy', port: 80 } } }] },
    }),
    [service('web')],
    [
      "Accepted=True Accepted: enforced by Tulle's proxy only: spec.rules[0].filters[0] (RequestMirror)",
      'ResolvedRefs=False BackendNotFound: spec.rules[0].filters[0].requestMirror.backendRef: there is no Service app/copy',
    ],
  ],
  [
    'what only our proxy does',
    route('r', [toService()], [], {
      rule: {
        filters: [{ type: 'RequestHeaderModifier' }, { type: 'URLRewrite' }],
        sessionPersistence: { type: 'Cookie' },
      },
    }),
    [service('web')],
    [
      "Accepted=True Accepted: enforced by Tulle's proxy only: spec.rules[0].filters[1] (URLRewrite), spec.rules[0].sessionPersistence",
      RESOLVED,
    ],
  ],
  [
    'a GRPCRoute beside it',
    route('r', [toService('web', { port: 80 })]),
    [service('web'), route('g', [toService('web', { port: 80 })], [], { kind: 'GRPCRoute' })],
    ['Accepted=False RouteReasonConflicted: GRPCRoute app/g takes its place on this parent', RESOLVED],
  ],
  [
    'a GRPCRoute on all ports',
    route('r', [toService('web', { port: 80 })]),
    [service('web'), route('g', [toService()], [], { kind: 'GRPCRoute' })],
    ['Accepted=False RouteReasonConflicted: GRPCRoute app/g takes its place on this parent', RESOLVED],
  ],
  [
    'a GRPCRoute on another port',
    route('r', [toService('web', { port: 80 })]),
    [service('web'), route('g', [toService('web', { port: 81 })], [], { kind: 'GRPCRoute' })],
    [OK, RESOLVED],
  ],
  [
    "a GRPCRoute of another client's namespace",
    route('r', [toService()]),
    [
      service('web'),
      route('g', [toService('web', { namespace: 'app' })], [], { kind: 'GRPCRoute', namespace: 'client' }),
    ],
    [OK, RESOLVED],
  ],
  [
    'an HTTPRoute beside a TLSRoute',
    route('r', [toService()], [], { kind: 'TLSRoute' }),
    [service('web'), route('h', [toService()])],
    ['Accepted=False RouteReasonConflicted: HTTPRoute app/h takes its place on this parent', RESOLVED],
  ],
  [
    'a TLSRoute beside a TCPRoute',
    route('r', [toService()], [], { kind: 'TCPRoute' }),
    [service('web'), route('t', [toService()], [], { kind: 'TLSRoute' })],
    ['Accepted=False RouteReasonConflicted: TLSRoute app/t takes its place on this parent', RESOLVED],
  ],
  [
    'an HTTPRoute of each group',
    route('r', [toService()]),
    [service('web'), route('p', [toService()], [], { group: POLICY })],
    [OK, RESOLVED],
  ],
  ['a rate limit', rateLimit('a', 1), [server('web-http')], [OK]],
  [
    'a rate limit of gRPC',
    rateLimit('a', 1),
    [server('web-http', 'gRPC')],
    ['Accepted=True Accepted: without effect: a Server with proxyProtocol gRPC has no limits'],
  ],
  ['a rate limit without its Server', rateLimit('a', 1), [], ['Accepted=False NoMatchingTarget']],
  [
    'a second rate limit',
    rateLimit('a', 2),
    [server('web-http'), rateLimit('b', 1)],
    ['Accepted=False RateLimitReasonAlreadyExists'],
  ],
  ['a rate limit as old as another', rateLimit('a', 1), [server('web-http'), rateLimit('b', 1)], [OK]],
  ['an EgressNetwork for everything', egress('all'), [], [OK]],
  ['an EgressNetwork outside', egress('all', [{ cidr: '1.1.1.0/24' }, { cidr: 'fe00::/8' }]), [], [OK]],
  [
    'an EgressNetwork around the cluster',
    egress('all', [{ cidr: '0.0.0.0/0' }]),
    [],
    ['Accepted=False EgressReasonNetworkOverlap: networks overlap with clusterNetworks'],
  ],
  [
    'one that takes the cluster out',
    egress('all', [{ cidr: '0.0.0.0/0', except: ['10.0.0.0/9', '10.128.0.0/9'] }]),
    [],
    [OK],
  ],
  [
    'one that takes half of the cluster out',
    egress('all', [{ cidr: '0.0.0.0/0', except: ['10.0.0.0/9'] }]),
    [],
    ['Accepted=False EgressReasonNetworkOverlap: networks overlap with clusterNetworks'],
  ],
];

for (const [name, subject, around, want] of rows) {
  test(`status with ${name}`, () => assert.deepEqual(conditions(indexOf([...around, subject]), subject), want));
}

test('says what of a route, rate limit or EgressNetwork cannot be read', () => {
  const subjects = [route('r', [toService()]), route('s', [toServer('web-http')]), rateLimit('a', 1), egress('e')];
  const index = indexOf([service('web'), server('web-http'), ...subjects], () => 'spec.x: found 1, allowed is 2');
  for (const subject of subjects) {
    assert.equal(conditions(index, subject)[0], 'Accepted=False UnsupportedValue: spec.x: found 1, allowed is 2');
  }
});

test('asks for a grant of a backend elsewhere once the cluster serves ReferenceGrant', () => {
  const elsewhere = route('r', [toService()], [backend('db', { namespace: 'data' })]);
  const own = route('own', [toService()], [backend('db', { namespace: 'data' })], { group: POLICY });
  const index = indexOf([
    service('web'),
    service('db', { clusterIP: '10.0.0.2' }, { namespace: 'data' }),
    elsewhere,
    own,
  ]);
  assert.deepEqual(conditions(index, elsewhere), [OK, RESOLVED]);
  assert.deepEqual([...index.setHasGrants(true)], [keyOf(elsewhere)]);
  assert.deepEqual(conditions(index, elsewhere), [
    OK,
    'ResolvedRefs=False RefNotPermitted: spec.rules[0].backendRefs[0]: no ReferenceGrant in namespace data lets this route name the Service',
  ]);
  assert.deepEqual(conditions(index, own), [OK, RESOLVED]);
  const from = { group: GATEWAY, kind: 'HTTPRoute', namespace: 'app' };
  const others = [
    grant('kind', 'data', { ...from, kind: 'GRPCRoute' }, { group: '', kind: 'Service' }),
    grant('from', 'data', { ...from, namespace: 'x' }, { group: '', kind: 'Service' }),
    grant('name', 'data', from, { group: '', kind: 'Service', name: 'cache' }),
    grant('where', 'app', from, { group: '', kind: 'Service' }),
  ];
  for (const other of others) index.apply('set', other);
  assert.match(conditions(index, elsewhere)[1]!, /RefNotPermitted/);
  const fitting = grant('fits', 'data', from, { group: '', kind: 'Service', name: 'db' });
  assert.ok(index.apply('set', fitting).has(keyOf(elsewhere)));
  assert.deepEqual(conditions(index, elsewhere), [OK, RESOLVED]);
  assert.ok(index.apply('delete', fitting).has(keyOf(elsewhere)));
  assert.match(conditions(index, elsewhere)[1]!, /RefNotPermitted/);
});

test('tells of the mesh in the XMesh that names it, and leaves those of others alone', () => {
  const mesh = (name: string, spec: object): KubeObject => ({
    ...object('gateway.networking.x-k8s.io/v1alpha1', 'XMesh', name, { controllerName: CONTROLLER_NAME, ...spec }),
    metadata: { name, generation: 2 },
    status: { conditions: [{ type: 'Accepted', status: 'Unknown', reason: 'Pending' }] },
  });
  const ours = mesh('tulle', {});
  const key = 'gateway.networking.x-k8s.io/XMesh//tulle';
  const index = indexOf([ours, mesh('other', { controllerName: 'example.com/mesh' })]);
  assert.deepEqual(index.keys(), [key]);
  const { status } = index.wanted(key, NOW)!;
  const [condition] = status.conditions as WrittenCondition[];
  assert.deepEqual(condition, {
    type: 'Accepted',
    status: 'True',
    reason: 'Accepted',
    message: '',
    lastTransitionTime: NOW,
    observedGeneration: 2,
  });
  const names = (status.supportedFeatures as { name: string }[]).map(({ name }) => name);
  assert.deepEqual(names, [...names].sort(), 'as the API asks');
  assert.ok(names.includes('MeshClusterIPMatching'));
  const withParameters = mesh('tulle', { parametersRef: { group: '', kind: 'ConfigMap', name: 'x' } });
  assert.deepEqual([...index.apply('set', withParameters)], [key]);
  const [refused] = index.wanted(key, NOW)!.status.conditions as WrittenCondition[];
  assert.match(
    `${refused!.status} ${refused!.reason} ${refused!.message}`,
    /^False InvalidParameters spec\.parametersRef/,
  );
  index.apply('set', mesh('tulle', { controllerName: 'example.com/mesh' }));
  assert.deepEqual(index.keys(), []);
});

test('a consumer route needs no grant to send requests to its parent', () => {
  const parent = toService('db', { namespace: 'data' });
  const db = service('db', { clusterIP: '10.0.0.2' }, { namespace: 'data' });
  const consumer = route('r', [parent], [backend('db', { namespace: 'data' })]);
  const index = indexOf([db, consumer]);
  index.setHasGrants(true);
  assert.deepEqual(conditions(index, consumer), [OK, RESOLVED]);
});

test('keeps what other controllers wrote, and takes out parents that are gone', () => {
  const other = { parentRef: { name: 'gateway' }, controllerName: 'example.com/gateway', conditions: [{ type: 'X' }] };
  const gone = { parentRef: toService('old'), controllerName: CONTROLLER_NAME, conditions: [] };
  const before = {
    type: 'Accepted',
    status: 'True',
    reason: 'Old',
    message: '',
    lastTransitionTime: '2020-01-01T00:00:00Z',
  };
  const kept = {
    parentRef: { ...toService('web'), namespace: 'app' },
    controllerName: CONTROLLER_NAME,
    conditions: [before, { ...before, type: 'ResolvedRefs', status: 'False' }],
  };
  const subject = route('r', [toService('web'), { name: 'gateway' }, toService('web'), toServer('s')], [], {
    status: { parents: [gone, kept, other] },
    generation: 7,
  });
  const index = indexOf([service('web'), subject]);
  assert.deepEqual(parentsIn(index, subject), [
    {
      ...kept,
      conditions: [
        { ...before, reason: 'Accepted', observedGeneration: 7 },
        {
          type: 'ResolvedRefs',
          status: 'True',
          reason: 'ResolvedRefs',
          message: '',
          lastTransitionTime: NOW,
          observedGeneration: 7,
        },
      ],
    },
    other,
    {
      parentRef: toServer('s'),
      controllerName: CONTROLLER_NAME,
      conditions: [
        {
          type: 'Accepted',
          status: 'False',
          reason: 'NoMatchingParent',
          message: '',
          lastTransitionTime: NOW,
          observedGeneration: 7,
        },
      ],
    },
  ]);
});

test('keeps the conditions of an EgressNetwork or a rate limit that others wrote', () => {
  const status = {
    conditions: [
      { type: 'Reachable', status: 'True' },
      { type: 'Accepted', status: 'False' },
    ],
  };
  for (const subject of [egress('all'), rateLimit('a', 1)]) {
    const stored = { ...subject, status };
    const { status: wanted } = indexOf([server('web-http'), stored]).wanted(keyOf(stored), NOW)!;
    const types = (wanted.conditions as { type: string; status: string }[]).map((one) => `${one.type}=${one.status}`);
    assert.deepEqual(types, ['Reachable=True', 'Accepted=True']);
  }
});

test('passes over what of an old status cannot be read', () => {
  const ours = { parentRef: toService('web'), controllerName: CONTROLLER_NAME, conditions: [null] };
  const subject = route('r', [toService('web')], [], { status: { parents: [null, 7, ours] } });
  assert.deepEqual(conditions(indexOf([service('web'), subject]), subject), [OK, RESOLVED]);
  const odd = { ...rateLimit('a', 1), spec: { targetRef: { name: { toString: 1 } } } };
  assert.deepEqual(conditions(indexOf([odd]), odd), ['Accepted=False NoMatchingTarget']);
});

test('wakes those who look at what changed, and nobody for a status that was written', () => {
  const http = route('h', [toService('web')], [backend('db')]);
  const grpc = route('g', [toService('web')], [], { kind: 'GRPCRoute' });
  const index = indexOf([service('web'), http]);
  assert.deepEqual([...index.apply('set', service('web'))], []);
  assert.deepEqual([...index.apply('set', service('db'))], [keyOf(http)]);
  assert.deepEqual([...index.apply('set', grpc)].sort(), [keyOf(grpc), keyOf(http)].sort());
  assert.deepEqual([...index.apply('set', { ...grpc, status: { parents: [] } })], [keyOf(grpc)]);
  assert.deepEqual([...index.apply('delete', grpc)], [keyOf(http)]);
  assert.equal(index.wanted(keyOf(grpc), NOW), undefined);
});

const world = [
  service('web'),
  service('db', { clusterIP: 'None' }),
  server('web-http'),
  egress('all'),
  rateLimit('a', 1),
  rateLimit('b', 2),
  route('h', [toService('web'), toServer('web-http')], [backend('db')]),
  route('g', [toService('web', { port: 80 })], [], { kind: 'GRPCRoute' }),
  route('t', [toEgress('all')], [], { kind: 'TLSRoute' }),
  grant('x', 'app', {}, {}),
];

test('the same objects in any order want the same; with all gone nothing is left', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(world, { minLength: world.length }), fc.shuffledSubarray(world), (order, twice) => {
      const [one, two] = [indexOf(world), indexOf([...twice, ...order])];
      assert.deepEqual(two.keys().sort(), one.keys().sort());
      for (const key of one.keys()) assert.deepEqual(two.wanted(key, NOW), one.wanted(key, NOW));
      for (const gone of twice) two.apply('delete', gone);
      for (const gone of order) two.apply('delete', gone);
      assert.ok(
        Object.values(two.sizes()).every((size) => size === 0),
        JSON.stringify(two.sizes()),
      );
    }),
    { numRuns: 50 },
  );
});
