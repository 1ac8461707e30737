import assert from 'node:assert/strict';
import test from 'node:test';
import { AUTHORIZATION_POLICIES, type KubeObject, POLICY_HTTP_ROUTES, SERVER_AUTHORIZATIONS } from '@tulle/api';
import { formatIp } from '@tulle/api/ip-address.ts';
import { namespace, pod } from '../../testing/objects.ts';
import { InboundWorld, policy, server } from '../../testing/policies.ts';
import { DEFAULT_POLICIES, type DefaultPolicy } from '../../workloads/default-policy.ts';
import type { Authorization, PolicySource } from './authorization.ts';
import type { InboundServer, InboundSettings } from './inbound-server.ts';

const KEY = 'config.linkerd.io/default-inbound-policy';
const WEB = { labels: { app: 'web' } };

const nameOf = (source: PolicySource) => (typeof source === 'string' ? source : `${source.kind} ${source.name}`);

function textOf({ source, networks, clients }: Authorization): string {
  const nets = networks.map(({ network, except }) => {
    const text = `${formatIp(network.address)}/${network.prefixLength}`;
    return except.length > 0 ? `${text} except ${except.map((each) => formatIp(each.address))}` : text;
  });
  const who =
    clients.kind === 'mesh'
      ? clients.identities
          .map((match) => (match.kind === 'exact' ? match.name : `*.${match.parts.join('.')}`))
          .join(' ')
      : clients.kind;
  return `${nameOf(source)} from ${nets.join(' ')}: ${who}`;
}

/** `source | authorization …`. */
function summary(found: InboundServer | undefined): string {
  assert.ok(found);
  return [nameOf(found.source), ...found.authorizations.map(textOf)].join(' | ');
}

const serverOf = (object: KubeObject, port = 8080, settings: Partial<InboundSettings> = {}, ...more: KubeObject[]) =>
  new InboundWorld([object, ...more], settings).server(object.metadata.name, port, {
    namespace: object.metadata.namespace,
  })!;

const ALL = '0.0.0.0/0 ::/0';

test('lets in whom each default policy says, and each access policy of a Server', () => {
  const expected: Record<DefaultPolicy, string[]> = {
    'all-unauthenticated': [`all-unauthenticated from ${ALL}: unauthenticated`],
    'all-authenticated': [`all-authenticated from ${ALL}: *.`],
    'cluster-unauthenticated': ['cluster-unauthenticated from 10.0.0.0/8: unauthenticated'],
    'cluster-authenticated': ['cluster-authenticated from 10.0.0.0/8: *.'],
    deny: [],
    audit: [`audit from ${ALL}: unauthenticated`],
  };
  for (const accessPolicy of DEFAULT_POLICIES) {
    const byDefault = serverOf(pod('web'), 8080, { defaultPolicy: accessPolicy });
    assert.equal(summary(byDefault), [accessPolicy, ...expected[accessPolicy]].join(' | '));
    const selected = serverOf(pod('web', WEB), 8080, {}, server('http', { accessPolicy }));
    assert.equal(summary(selected), ['Server http', ...expected[accessPolicy]].join(' | '));
  }
  assert.equal(summary(serverOf(pod('web', WEB), 8080, {}, server('http'))), 'Server http');
});

test('lets nobody of the cluster in where the cluster has no networks', () => {
  const settings = { clusterNetworks: [], defaultPolicy: 'cluster-unauthenticated' as const };
  assert.equal(summary(serverOf(pod('web'), 8080, settings)), 'cluster-unauthenticated');
});

test('asks the pod first, then its namespace, then the mesh', () => {
  const name = (...args: Parameters<typeof serverOf>) => serverOf(...args).source;
  const ofNamespace = namespace('app', { [KEY]: 'deny' });
  assert.equal(name(pod('web', { annotations: { [KEY]: 'audit' } }), 80, {}, ofNamespace), 'audit');
  assert.equal(name(pod('web'), 80, {}, ofNamespace), 'deny');
  assert.equal(name(pod('web', { annotations: { [KEY]: 'nonsense' } }), 80, {}, ofNamespace), 'deny');
  const annotations = { 'config.linkerd.io/proxy-require-identity-inbound-ports': '80' };
  assert.equal(name(pod('web', { annotations }), 80), 'all-authenticated');
  assert.equal(name(pod('web', { annotations }), 81), 'all-unauthenticated');
});

const PROBED = {
  name: 'app',
  ports: [{ name: 'http', containerPort: 8080 }],
  livenessProbe: { httpGet: { path: '/ready', port: 8080 } },
  readinessProbe: { httpGet: { path: '/live?full=1', port: 'http' } },
  startupProbe: { grpc: { port: 9000 } },
};

test('lets probes in on the paths and ports that the pod names, until routes are attached', () => {
  const probed = pod('web', { ...WEB, containers: [PROBED] });
  const paths = (found: InboundServer) =>
    found.httpRoutes
      .filter(({ source }) => source === 'probe')
      .flatMap(({ rules, authorizations }) => {
        assert.deepEqual(authorizations.map(textOf), ['probe from 0.0.0.0/0: unauthenticated']);
        return rules[0]!.matches.map(({ method, path }) => `${method} ${path.kind} ${path.value}`);
      });
  assert.deepEqual(paths(serverOf(probed)), ['GET exact /live', 'GET exact /ready']);
  assert.deepEqual(paths(serverOf(probed, 9000)), ['POST exact /grpc.health.v1.Health/Check']);
  assert.deepEqual(paths(serverOf(probed, 8081)), []);
  assert.deepEqual(paths(serverOf(probed, 8080, { probeNetworks: [] })), []);
  assert.deepEqual(paths(serverOf(probed, 8080, {}, server('http'))), ['GET exact /live', 'GET exact /ready']);
  const grpc = serverOf(probed, 9000, {}, server('grpc', { port: 9000, proxyProtocol: 'gRPC' }));
  assert.deepEqual(
    grpc.grpcRoutes.map(({ source, rules }) => [source, rules[0]!.matches[0]!.service]),
    [
      ['default', undefined],
      ['probe', 'grpc.health.v1.Health'],
    ],
  );
  const route = policy(POLICY_HTTP_ROUTES, 'all', { parentRefs: [{ kind: 'Server', name: 'http' }], rules: [{}] });
  const routed = serverOf(probed, 8080, {}, server('http'), route);
  assert.deepEqual(
    routed.httpRoutes.map(({ source }) => nameOf(source)),
    ['HTTPRoute all'],
  );
});

test('is opaque where the pod, the namespace or the mesh says so, and no Server says otherwise', () => {
  const annotations = { 'config.linkerd.io/opaque-ports': '8080' };
  assert.equal(serverOf(pod('web'), 3306).protocol, 'opaque');
  assert.equal(serverOf(pod('web', { annotations }), 3306).protocol, 'detect');
  assert.equal(serverOf(pod('web', { annotations }), 8080).protocol, 'opaque');
  assert.equal(serverOf(pod('web'), 8080, {}, namespace('app', annotations)).protocol, 'opaque');
  assert.equal(serverOf(pod('web', { ...WEB, annotations }), 8080, {}, server('http')).protocol, 'detect');
});

test('selects pods by labels and expressions, and ports by number and by every container’s name', () => {
  const spec = {
    initContainers: [
      { name: 'side', restartPolicy: 'Always', ports: [{ name: 'metrics', containerPort: 9100 }] },
      { name: 'setup', ports: [{ name: 'metrics', containerPort: 9200 }] },
    ],
  };
  const containers = [
    { name: 'a', ports: [{ name: 'metrics', containerPort: 9000 }] },
    {
      name: 'b',
      ports: [
        { name: 'metrics', containerPort: 9001 },
        { name: 'metrics', containerPort: 9002, protocol: 'UDP' },
      ],
    },
  ];
  const world = new InboundWorld([
    pod('web', {
      labels: { app: 'web', tier: 'back' },
      isMeshed: true,
      containers,
      spec: {
        ...spec,
        containers: [...containers, { name: 'linkerd-proxy', ports: [{ name: 'linkerd-admin', containerPort: 4191 }] }],
      },
    }),
    pod('bot', { labels: { app: 'bot' } }),
    pod('web', { namespace: 'other', labels: { app: 'web' } }),
    server('metrics', { port: 'metrics' }),
    server('admin', { port: 'linkerd-admin' }),
    server('number', {
      port: 7000,
      podSelector: {
        matchExpressions: [
          { key: 'app', operator: 'In', values: ['web', 'x'] },
          { key: 'tier', operator: 'Exists' },
        ],
      },
    }),
    server('not', {
      port: 7001,
      podSelector: {
        matchExpressions: [
          { key: 'tier', operator: 'DoesNotExist' },
          { key: 'app', operator: 'NotIn', values: ['web'] },
        ],
      },
    }),
    server('everybody', { port: 7002, podSelector: {} }),
  ]);
  const at = (name: string, port: number) => nameOf(world.server(name, port)!.source);
  for (const port of [9000, 9001, 9100, 9200]) assert.equal(at('web', port), 'Server metrics');
  assert.equal(at('web', 9002), 'all-unauthenticated');
  assert.equal(at('web', 4191), 'Server admin');
  assert.deepEqual([at('web', 7000), at('bot', 7000)], ['Server number', 'all-unauthenticated']);
  assert.deepEqual([at('web', 7001), at('bot', 7001)], ['all-unauthenticated', 'Server not']);
  assert.deepEqual([at('web', 7002), at('bot', 7002)], ['Server everybody', 'Server everybody']);
  assert.equal(world.server('web', 7002, { namespace: 'other' })!.source, 'all-unauthenticated');
});

test('takes the oldest of the Servers on a port, then the first by name, and tells of the others', () => {
  const web = pod('web', WEB);
  const old = server('z', { accessPolicy: 'audit' }, { createdAt: '2025-01-01T00:00:00Z' });
  const found = serverOf(web, 8080, {}, server('b'), server('a'), old);
  assert.equal(nameOf(found.source), 'Server z');
  assert.deepEqual(
    found.shadowed.map(({ source }) => nameOf(source)),
    ['Server a', 'Server b'],
  );
  assert.equal(nameOf(serverOf(web, 8080, {}, server('b'), server('a')).source), 'Server a');
});

test('guards the ports of the control plane itself whatever users write', () => {
  const labels = { 'linkerd.io/control-plane-component': 'destination', app: 'web' };
  const containers = [{ name: 'app', readinessProbe: { httpGet: { path: '/ready', port: 9990 } } }];
  const object = pod('linkerd-destination', { namespace: 'linkerd', labels, containers });
  const everywhere = [8080, 8086, 8090, 8443, 9443, 8444].map((port) =>
    server(`s${port}`, { port, proxyProtocol: 'HTTP/1' }, { namespace: 'linkerd' }),
  );
  const kinds = (port: number, ...more: KubeObject[]) =>
    serverOf(object, port, { defaultPolicy: 'deny' }, ...more).authorizations.map(({ clients }) => clients.kind);
  const expected = [['tls'], ['mesh'], ['mesh'], ['unauthenticated'], ['unauthenticated'], ['unauthenticated'], []];
  const ports = [8080, 8086, 8090, 8443, 9443, 8444, 9990];
  assert.deepEqual(
    ports.map((port) => kinds(port)),
    expected,
  );
  assert.deepEqual(
    ports.map((port) => kinds(port, ...everywhere)),
    expected,
  );
  const shut = serverOf(object, 8086, {}, ...everywhere);
  assert.equal(shut.protocol, 'detect');
  assert.deepEqual(
    shut.shadowed.map(({ source }) => nameOf(source)),
    ['Server s8086'],
  );
  const machine = {
    apiVersion: 'workload.linkerd.io/v1beta1',
    kind: 'ExternalWorkload',
    metadata: { name: 'vm', namespace: 'app' },
    spec: { meshTLS: { identity: 'spiffe://td/vm', serverName: 'vm' }, workloadIPs: [{ ip: '192.0.2.1' }] },
  };
  assert.deepEqual(serverOf(object, 8086, {}, machine).authorizations[0]?.clients, {
    kind: 'mesh',
    identities: [
      { kind: 'suffix', parts: [] },
      { kind: 'exact', name: 'spiffe://td/vm' },
    ],
  });
  assert.equal(serverOf(pod('web', { labels }), 8443, { defaultPolicy: 'deny' }).authorizations.length, 0);

  const admin = server('admin', { port: 9990, proxyProtocol: 'opaque' }, { namespace: 'linkerd' });
  const route = policy(
    POLICY_HTTP_ROUTES,
    'none',
    { parentRefs: [{ kind: 'Server', name: 'admin' }], rules: [] },
    { namespace: 'linkerd' },
  );
  const probed = serverOf(object, 9990, {}, admin, route);
  assert.equal(probed.protocol, 'detect');
  assert.deepEqual(
    probed.httpRoutes.map(({ source }) => nameOf(source)),
    ['HTTPRoute none', 'probe'],
  );
});

test('keeps a Server that cannot be read as one that lets nobody in', () => {
  const web = pod('web', { ...WEB, containers: [PROBED] });
  const all = policy(SERVER_AUTHORIZATIONS, 'all', { server: { selector: {} }, client: { unauthenticated: true } });
  const policyOfServer = policy(AUTHORIZATION_POLICIES, 'any', {
    targetRef: { group: 'policy.linkerd.io', kind: 'Server', name: 'http' },
    requiredAuthenticationRefs: [],
  });
  const specs: Record<string, object> = {
    protocol: { proxyProtocol: 'HTTP/9' },
    access: { accessPolicy: 'all' },
    'a port that is a text': { port: '8080' },
    'no port': { port: null },
    'an operator': { podSelector: { matchExpressions: [{ key: 'app', operator: 'Like', values: ['w'] }] } },
    'two selectors': { externalWorkloadSelector: {} },
    'no selector': { podSelector: null },
  };
  for (const [what, spec] of Object.entries(specs)) {
    const found = serverOf(web, 8080, {}, server('http', spec), all, policyOfServer);
    assert.equal(summary(found), 'Server http', what);
    assert.equal(found.httpRoutes.length, 2, what);
  }
  const world = new InboundWorld([web, server('http', { port: 0 })]);
  assert.equal(summary(world.server('web', 9999)), 'Server http');
  world.apply('set', server('http', { accessPolicy: 'audit' }));
  assert.equal(nameOf(world.server('web', 9999)!.source), 'all-unauthenticated');
  world.apply('delete', server('http'));
  assert.equal(nameOf(world.server('web', 8080)!.source), 'all-unauthenticated');
});
