import assert from 'node:assert/strict';
import test from 'node:test';
import {
  AUTHORIZATION_POLICIES,
  EXTERNAL_WORKLOADS,
  GRPC_ROUTES,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  HTTP_ROUTE_GROUPS,
  HTTP_ROUTES,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  NETWORK_AUTHENTICATIONS,
  POLICY_HTTP_ROUTES,
  SERVER_AUTHORIZATIONS,
  SERVERS,
  SMI_TCP_ROUTES,
  TRAFFIC_TARGETS,
} from '@tulle/api';
import fc from 'fast-check';
import { namespace as namespaceOf, pod } from '../../testing/objects.ts';
import { InboundWorld, policy, server } from '../../testing/policies.ts';
import { toServer } from './translator.ts';
import { type WorkloadRef, workloadKey } from './workload.ts';

const GROUP = 'policy.linkerd.io';
const GATEWAY = 'gateway.networking.k8s.io';
const NAMES = ['a', 'b'];
const PORTS = [8080, 9000];
/** As many as find each of the mistakes that were made on purpose to try them. */
const RUNS = { numRuns: 400 };

/** Few names and values, so that objects meet; one in some cannot be read. */
const name = fc.constantFrom('a', 'a', 'b');
const namespace = fc.constantFrom('app', 'app', 'app', 'other');
const createdAt = fc.constantFrom('2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z');
const options = fc.record({
  namespace,
  createdAt,
  labels: fc.constantFrom<Record<string, string>>({}, { kind: 'internal' }),
});
const selector = fc.constantFrom<object>(
  {},
  {},
  { matchLabels: { app: 'web' } },
  { matchExpressions: [{ operator: 'Like' }] },
);

const serverSpec = fc.record({
  ...{ podSelector: fc.option(selector, { nil: undefined, freq: 3 }) },
  ...{
    externalWorkloadSelector: fc.option(selector, { nil: undefined, freq: 1 }),
    port: fc.constantFrom<number | string>(8080, 8080, 'http', 9000, 0),
  },
  ...{ accessPolicy: fc.constantFrom('deny', 'audit', 'all-authenticated', 'nonsense') },
  ...{ proxyProtocol: fc.constantFrom('unknown', 'unknown', 'gRPC', 'opaque') },
});
const authorizationSpec = fc.record({
  server: fc.oneof(
    name.map((each) => ({ name: each })),
    fc.constantFrom({ selector: {} }, { selector: { matchLabels: { kind: 'internal' } } }, {}),
  ),
  client: fc.constantFrom(
    { unauthenticated: true },
    { meshTLS: null, serviceAccounts: [{ name: 'web' }] },
    { meshTLS: null },
  ),
});
const targetRef = fc.oneof(
  name.map((each) => ({ group: GROUP, kind: 'Server', name: each })),
  name.map((each) => ({ group: GATEWAY, kind: 'HTTPRoute', name: each })),
  name.map((each) => ({ group: GATEWAY, kind: 'GRPCRoute', name: each })),
  name.map((each) => ({ group: GROUP, kind: 'HTTPRoute', name: each })),
  namespace.map((each) => ({ kind: 'Namespace', name: each })),
);
const requiredRef = fc.oneof(
  fc.record({
    group: fc.constant(GROUP),
    kind: fc.constantFrom('MeshTLSAuthentication', 'NetworkAuthentication'),
    name,
    namespace,
  }),
  fc.constant({ kind: 'ServiceAccount', name: 'web' }),
);
const policySpec = fc.record({ targetRef, requiredAuthenticationRefs: fc.array(requiredRef, { maxLength: 2 }) });
const routeSpec = fc.record({
  parentRefs: fc.array(
    name.map((each) => ({ group: GROUP, kind: 'Server', name: each })),
    { maxLength: 2 },
  ),
  rules: fc.constantFrom([{}], [{ matches: [{ path: { type: 'Exact', value: 'no slash' } }] }], []),
});
const limitSpec = fc.record({
  targetRef: name.map((each) => ({ group: GROUP, kind: 'Server', name: each })),
  total: fc.constantFrom({ requestsPerSecond: 1 }, { requestsPerSecond: 0 }, { requestsPerSecond: 7 }),
});

const account = name.map((each) => ({ kind: 'ServiceAccount', name: each }));
const targetSpec = fc.record({
  destination: account,
  sources: fc.array(account, { maxLength: 2 }),
  rules: fc.constantFrom(undefined, [{ kind: 'HTTPRouteGroup', name: 'a' }], [{ kind: 'TCPRoute', name: 'a' }], 7),
});

const POLICIES: [Parameters<typeof policy>[0], fc.Arbitrary<unknown>][] = [
  [SERVERS, serverSpec],
  [SERVER_AUTHORIZATIONS, authorizationSpec],
  [AUTHORIZATION_POLICIES, policySpec],
  [
    MESH_TLS_AUTHENTICATIONS,
    fc.constantFrom({ identities: ['*'] }, { identityRefs: [{ kind: 'Namespace', name: 'app' }] }, {}),
  ],
  [NETWORK_AUTHENTICATIONS, fc.constantFrom({ networks: [{ cidr: '10.0.0.0/8' }] }, { networks: [] })],
  [POLICY_HTTP_ROUTES, routeSpec],
  [HTTP_ROUTES, routeSpec],
  [GRPC_ROUTES, routeSpec],
  [HTTP_LOCAL_RATE_LIMIT_POLICIES, limitSpec],
  [TRAFFIC_TARGETS, targetSpec],
  [
    HTTP_ROUTE_GROUPS,
    fc.constantFrom({ matches: [{ name: 'x', pathRegex: '/x' }] }, { matches: [{ name: 'x', pathRegex: '(' }] }),
  ],
  [SMI_TCP_ROUTES, fc.constantFrom({}, { matches: { ports: [8080] } })],
];

const podLabels = fc.constantFrom<Record<string, string>>({}, { app: 'web' }, { app: 'bot' });
const annotations = fc.constantFrom<Record<string, string>>(
  {},
  {},
  { 'config.linkerd.io/default-inbound-policy': 'deny' },
  { 'config.linkerd.io/opaque-ports': '8080' },
  { 'config.linkerd.io/proxy-require-identity-inbound-ports': '9000' },
);
const probe = fc.constantFrom(undefined, { httpGet: { path: '/ready', port: 'http' } }, { grpc: { port: 9000 } });
const podObject = fc
  .record({ name, namespace, labels: podLabels, annotations, probe })
  .map(({ probe: readinessProbe, ...each }) =>
    pod(each.name, {
      ...each,
      containers: [{ name: 'app', ports: [{ name: 'http', containerPort: 8080 }], readinessProbe }],
    }),
  );
const externalObject = fc
  .record({ name, namespace, labels: podLabels, annotations, port: fc.constantFrom(8080, 9000) })
  .map(({ port, ...each }): KubeObject => {
    const spec = { meshTLS: { identity: 'vm.example', serverName: 'vm.example' }, ports: [{ name: 'http', port }] };
    const { metadata, ...rest } = policy(EXTERNAL_WORKLOADS, each.name, spec, each);
    return { ...rest, metadata: { ...metadata, annotations: each.annotations } };
  });
const namespaceObject = fc.tuple(namespace, annotations).map(([each, of]) => namespaceOf(each, of));
const anyObject: fc.Arbitrary<KubeObject> = fc.oneof(
  podObject,
  externalObject,
  namespaceObject,
  ...POLICIES.map(([kind, spec]) =>
    fc.tuple(name, spec, options).map(([each, of, more]) => policy(kind, each, of, more)),
  ),
);

const keyOf = ({ apiVersion, kind, metadata }: KubeObject) =>
  `${apiVersion?.split('/')[0]} ${kind} ${metadata.namespace} ${metadata.name}`;

/** The answer for every port that there may be. */
function answers(world: InboundWorld): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const each of ['app', 'other']) {
    for (const podName of NAMES) {
      for (const port of PORTS) {
        for (const kind of ['Pod', 'ExternalWorkload'] as const) {
          const answer = world.server(podName, port, { kind, namespace: each });
          const key = workloadKey({ kind, namespace: each, name: podName });
          found.set(`${key}:${port}`, answer && toServer(answer));
        }
      }
    }
  }
  return found;
}

test('answers the same whatever the order of the objects', () => {
  const objects = fc.uniqueArray(anyObject, { selector: keyOf, minLength: 15, maxLength: 30 });
  const twice = objects.chain((list) =>
    fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
  );
  fc.assert(
    fc.property(twice, ([list, shuffled]) => {
      assert.deepEqual(answers(new InboundWorld(shuffled)), answers(new InboundWorld(list)));
    }),
  );
});

test('forgets what was before: deletions leave nothing, changes leave what is', () => {
  fc.assert(
    fc.property(fc.array(anyObject, { minLength: 20, maxLength: 40 }), (objects) => {
      const world = new InboundWorld();
      for (const object of objects) {
        world.apply('set', object);
        answers(world);
      }
      const last = new Map(objects.map((object) => [keyOf(object), object]));
      assert.deepEqual(answers(world), answers(new InboundWorld([...last.values()])));
      for (const object of last.values()) {
        world.apply('delete', object);
        answers(world);
      }
      const left = Object.entries({ ...world.policies.sizes(), ...world.workloads.sizes() }).filter(
        ([, size]) => size > 0,
      );
      assert.deepEqual(left, []);
    }),
    RUNS,
  );
});

test('names the workloads of every answer that an event changes', () => {
  const event = fc.tuple(fc.constantFrom('set' as const, 'set' as const, 'delete' as const), anyObject);
  fc.assert(
    fc.property(fc.array(event, { minLength: 20, maxLength: 40 }), (events) => {
      const world = new InboundWorld();
      let before = answers(world);
      for (const [type, object] of events) {
        const topics = world.apply(type, object);
        const after = answers(world);
        for (const [key, answer] of after) {
          const workload = key.split(':')[0]!;
          if (topics.has(workload) || topics.has(`inbound/${workload}`)) continue;
          assert.deepEqual(answer, before.get(key), `${type} ${keyOf(object)} changed ${key} without telling`);
        }
        before = after;
      }
    }),
    RUNS,
  );
});

test('tells only the workloads that a change is for', () => {
  const world = new InboundWorld([
    pod('web', { labels: { app: 'web' } }),
    pod('bot', { labels: { app: 'bot' } }),
    server('web'),
    server('bot', { podSelector: { matchLabels: { app: 'bot' } } }),
  ]);
  const web = ['inbound/pod/app/web'];
  const targetRef = { group: GROUP, kind: 'Server', name: 'web' };
  const authentication = { group: GROUP, kind: 'NetworkAuthentication', name: 'n' };
  const topics = (object: KubeObject) => [...world.apply('set', object)].sort();
  const network = policy(NETWORK_AUTHENTICATIONS, 'n', { networks: [{ cidr: '10.0.0.0/8' }] });
  assert.deepEqual(topics(network), []);
  assert.deepEqual(
    topics(policy(AUTHORIZATION_POLICIES, 'p', { targetRef, requiredAuthenticationRefs: [authentication] })),
    web,
  );
  assert.deepEqual(topics(network), web);
  assert.deepEqual(topics(policy(HTTP_ROUTES, 'r', { parentRefs: [targetRef], rules: [{}] })), web);
  assert.deepEqual(topics(policy(HTTP_ROUTES, 'r', { parentRefs: [], rules: [{}] })), web);
  assert.deepEqual(topics(policy(HTTP_LOCAL_RATE_LIMIT_POLICIES, 'l', { targetRef })), web);
  const client = { unauthenticated: true };
  assert.deepEqual(topics(policy(SERVER_AUTHORIZATIONS, 's', { server: { name: 'web' }, client })), web);
  assert.deepEqual(topics(server('web', { port: 1 })), web);
  assert.deepEqual(
    topics(
      policy(AUTHORIZATION_POLICIES, 'p', {
        targetRef: { kind: 'Namespace', name: 'app' },
        requiredAuthenticationRefs: [],
      }),
    ),
    ['inbound/pod/app/bot', ...web],
  );
});

test('says of each object what of it is not in force', () => {
  const world = new InboundWorld();
  const problem = (object: KubeObject) => {
    const kind = [...POLICIES.map(([each]) => each)].find((each) => each.kind === object.kind)!;
    world.apply('set', object);
    return world.policies.problems(kind as typeof SERVERS, object).join('; ');
  };
  const targetRef = { group: GROUP, kind: 'Server', name: 'a' };
  assert.equal(problem(server('a')), '');
  assert.match(problem(server('a', { port: 0 })), /^lets nobody in: spec\.port: found 0/);
  assert.match(
    problem(policy(SERVER_AUTHORIZATIONS, 'a', { server: { name: 'a' }, client: { meshTLS: null } })),
    /^authorizes nobody: spec\.client:/,
  );
  assert.match(
    problem(policy(SERVER_AUTHORIZATIONS, 'a', { server: {}, client: {} })),
    /^authorizes nobody: spec\.server:/,
  );
  assert.match(
    problem(policy(AUTHORIZATION_POLICIES, 'a', { targetRef })),
    /^authorizes nobody: spec\.requiredAuthenticationRefs:/,
  );
  assert.match(
    problem(policy(HTTP_LOCAL_RATE_LIMIT_POLICIES, 'a', { targetRef, total: {} })),
    /^limits to the least there is: spec\.total/,
  );
  assert.equal(problem(policy(AUTHORIZATION_POLICIES, 'a', { targetRef, requiredAuthenticationRefs: [] })), '');
});

test('decides on the ports of workloads outside the cluster as on those of pods', () => {
  const external = (labels: Record<string, string>, annotations = {}): KubeObject => ({
    ...policy(EXTERNAL_WORKLOADS, 'vm', {
      meshTLS: { identity: 'spiffe://td/vm', serverName: 'vm.example' },
      ports: [
        { name: 'http', port: 8080 },
        { name: 'dns', port: 53, protocol: 'UDP' },
      ],
      workloadIPs: [{ ip: '192.0.2.7' }],
    }),
    metadata: { name: 'vm', namespace: 'app', labels, annotations },
  });
  const selected = { podSelector: undefined, externalWorkloadSelector: { matchLabels: { app: 'vm' } } };
  const world = new InboundWorld([external({ app: 'vm' })]);
  const ref: WorkloadRef = { kind: 'ExternalWorkload', namespace: 'app', name: 'vm' };
  const source = (port = 8080) => {
    const found = world.server('vm', port, ref)!.source;
    return typeof found === 'string' ? found : found.name;
  };
  assert.equal(source(), 'all-unauthenticated');
  assert.ok(world.apply('set', server('byName', { ...selected, port: 'http' })).has('inbound/external/app/vm'));
  world.apply('set', server('byUdpName', { ...selected, port: 'dns' }));
  world.apply('set', server('byNumber', { ...selected, port: 9000 }));
  world.apply('set', server('ofPods', { podSelector: {}, port: 7000 }));
  assert.deepEqual([8080, 53, 9000, 7000].map(source), [
    'byName',
    'all-unauthenticated',
    'byNumber',
    'all-unauthenticated',
  ]);
  world.apply('set', external({ app: 'other' }, { 'config.linkerd.io/default-inbound-policy': 'deny' }));
  assert.equal(source(), 'deny');
  world.apply('delete', external({}));
  assert.equal(world.server('vm', 8080, ref), undefined);
});
