/** Each field of the kinds that decide on what arrives, and what it becomes on the wire; no field is left out. */
import assert from 'node:assert/strict';
import { create, toJson } from '@bufbuild/protobuf';
import {
  AUTHORIZATION_POLICIES,
  EXTERNAL_WORKLOADS,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  NETWORK_AUTHENTICATIONS,
  SERVER_AUTHORIZATIONS,
  SERVERS,
} from '@tulle/api';
import { ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { type Row, testFields } from '../../testing/field-table.ts';
import { pod } from '../../testing/objects.ts';
import { InboundWorld, policy, server } from '../../testing/policies.ts';
import { toServer } from './translator.ts';

type Json = any;

const GROUP = 'policy.linkerd.io';
const LABELS = { app: 'web', tier: 'front' };
const WEB = pod('web', {
  labels: LABELS,
  containers: [{ name: 'app', ports: [{ name: 'main', containerPort: 8080 }] }],
});
const VM_SPEC = {
  meshTLS: { identity: 'spiffe://td/vm', serverName: 'vm.example' },
  ports: [{ name: 'main', port: 8080 }],
  workloadIPs: [{ ip: '192.0.2.7' }],
};
const vm = (spec: object = VM_SPEC) => policy(EXTERNAL_WORKLOADS, 'vm', spec, { labels: LABELS });
const ON_SERVER = { group: GROUP, kind: 'Server', name: 'http' };

/** What the proxy of the pod, or of the workload outside the cluster, is told of port 8080. */
function wire(objects: KubeObject[], kind: 'Pod' | 'ExternalWorkload' = 'Pod', port = 8080): Json {
  const world = new InboundWorld([WEB, vm(), ...objects]);
  const found = world.server(kind === 'Pod' ? 'web' : 'vm', port, { kind })!;
  return toJson(ServerSchema, create(ServerSchema, toServer(found)));
}

const POD = { podSelector: { matchLabels: { app: 'web' } } };
const VM = { externalWorkloadSelector: { matchLabels: { app: 'web' } } };
const expressions = (key: string, operator: string, values?: string[]) => ({
  matchExpressions: [{ key, operator, ...(values ? { values } : {}) }],
});

/** `Server` or default, of the pod and of the workload outside; then the protocol and the authorizations. */
function toldOfServer(spec: object): string {
  const told = (['Pod', 'ExternalWorkload'] as const).map((kind) => wire([policy(SERVERS, 'x', spec)], kind));
  const name = ({ labels }: Json) => (labels.kind === 'server' ? 'selected' : 'default');
  const [ofPod] = told;
  const names = (ofPod.authorizations ?? []).map((each: Json) => each.labels.name);
  return [...told.map(name), Object.keys(ofPod.protocol)[0], ...names].join(' ');
}
const NOT = 'default default detect all-unauthenticated';
const SERVER_ROWS: readonly Row[] = [
  ['podSelector.matchLabels.*', { ...POD, port: 8080 }, 'selected default detect'],
  ['podSelector.matchLabels.*', { podSelector: { matchLabels: { app: 'web', tier: 'back' } }, port: 8080 }, NOT],
  [
    'podSelector.matchExpressions[].key',
    { podSelector: expressions('app', 'Exists'), port: 8080 },
    'selected default detect',
  ],
  ['podSelector.matchExpressions[].key', { podSelector: expressions('x', 'Exists'), port: 8080 }, NOT],
  ['podSelector.matchExpressions[].operator', { podSelector: expressions('app', 'DoesNotExist'), port: 8080 }, NOT],
  [
    'podSelector.matchExpressions[].values[]',
    { podSelector: expressions('app', 'In', ['a', 'web']), port: 8080 },
    'selected default detect',
  ],
  [
    'podSelector.matchExpressions[].values[]',
    { podSelector: expressions('app', 'NotIn', ['a', 'web']), port: 8080 },
    NOT,
  ],
  ['externalWorkloadSelector.matchLabels.*', { ...VM, port: 8080 }, 'default selected detect all-unauthenticated'],
  [
    'externalWorkloadSelector.matchExpressions[].key',
    { externalWorkloadSelector: expressions('x', 'Exists'), port: 8080 },
    NOT,
  ],
  [
    'externalWorkloadSelector.matchExpressions[].operator',
    { externalWorkloadSelector: expressions('x', 'DoesNotExist'), port: 8080 },
    'default selected detect all-unauthenticated',
  ],
  [
    'externalWorkloadSelector.matchExpressions[].values[]',
    { externalWorkloadSelector: expressions('tier', 'NotIn', ['back']), port: 8080 },
    'default selected detect all-unauthenticated',
  ],
  ['port', { ...POD, port: 'main' }, 'selected default detect'],
  ['port', { ...VM, port: 'main' }, 'default selected detect all-unauthenticated'],
  ['port', { ...POD, port: 'other' }, NOT],
  ['port', { ...POD, port: 9000 }, NOT],
  ['proxyProtocol', { ...POD, port: 8080, proxyProtocol: 'unknown' }, 'selected default detect'],
  ['proxyProtocol', { ...POD, port: 8080, proxyProtocol: 'HTTP/1' }, 'selected default http1'],
  ['proxyProtocol', { ...POD, port: 8080, proxyProtocol: 'HTTP/2' }, 'selected default http2'],
  ['proxyProtocol', { ...POD, port: 8080, proxyProtocol: 'gRPC' }, 'selected default grpc'],
  ['proxyProtocol', { ...POD, port: 8080, proxyProtocol: 'opaque' }, 'selected default opaque'],
  ['proxyProtocol', { ...POD, port: 8080, proxyProtocol: 'TLS' }, 'selected default tls'],
  ['accessPolicy', { ...POD, port: 8080, accessPolicy: 'deny' }, 'selected default detect'],
  ...['audit', 'all-unauthenticated', 'all-authenticated', 'cluster-unauthenticated', 'cluster-authenticated'].map(
    (accessPolicy): Row => [
      'accessPolicy',
      { ...POD, port: 8080, accessPolicy },
      `selected default detect ${accessPolicy}`,
    ],
  ),
];

const ip4 = (ipv4: number, prefixLen?: number) => ({ ip: { ipv4 }, ...(prefixLen === undefined ? {} : { prefixLen }) });
const ALL = [{ net: ip4(0) }, { net: { ip: { ipv6: {} } } }];
const TEN = [{ net: ip4(0x0a000000, 8) }];
const NETWORKS = [{ cidr: '10.1.0.0/16', except: ['10.1.2.0/24'] }];
const WIRE_NETWORKS = [{ net: ip4(0x0a010000, 16), except: [ip4(0x0a010200, 24)] }];
const ID = (account: string, namespace = 'app') => ({
  name: `${account}.${namespace}.serviceaccount.identity.linkerd.cluster.local`,
});
const mesh = (...identities: object[]) => ({ meshTLS: { identities: { identities } } });
const suffix = (...parts: string[]) => ({ meshTLS: { identities: { suffixes: [parts.length > 0 ? { parts } : {}] } } });
const ANYONE = { unauthenticated: {} };

/** Networks and authentication of each authorization. */
function authorizations(...objects: KubeObject[]): unknown {
  const labelled = server('http', {}, { labels: { kind: 'internal' } });
  const found = wire([labelled, ...objects]).authorizations ?? [];
  return found.map(({ networks, authentication }: Json) => [networks, authentication]);
}
const toldOfServerAuthorization = (spec: object) =>
  authorizations(
    policy(SERVER_AUTHORIZATIONS, 'x', { server: { name: 'http' }, client: { unauthenticated: true }, ...spec }),
  );
const SERVER_AUTHORIZATION_ROWS: readonly Row[] = [
  ['server.name', { server: { name: 'http' } }, [[TEN, ANYONE]]],
  ['server.name', { server: { name: 'other' } }, []],
  ['server.selector.matchLabels.*', { server: { selector: { matchLabels: { kind: 'internal' } } } }, [[TEN, ANYONE]]],
  ['server.selector.matchLabels.*', { server: { selector: { matchLabels: { kind: 'x' } } } }, []],
  ['server.selector.matchExpressions[].key', { server: { selector: expressions('x', 'Exists') } }, []],
  [
    'server.selector.matchExpressions[].operator',
    { server: { selector: expressions('x', 'DoesNotExist') } },
    [[TEN, ANYONE]],
  ],
  [
    'server.selector.matchExpressions[].values[]',
    { server: { selector: expressions('kind', 'In', ['internal']) } },
    [[TEN, ANYONE]],
  ],
  [
    'client.networks[].cidr',
    { client: { unauthenticated: true, networks: [{ cidr: '10.0.0.0/8' }, { cidr: '1.2.3.4' }] } },
    [[[...TEN, { net: ip4(0x01020304, 32) }], ANYONE]],
  ],
  ['client.networks[].except[]', { client: { unauthenticated: true, networks: NETWORKS } }, [[WIRE_NETWORKS, ANYONE]]],
  ['client.unauthenticated', { client: { unauthenticated: true } }, [[TEN, ANYONE]]],
  ['client.unauthenticated', { client: { unauthenticated: false } }, []],
  [
    'client.meshTLS.unauthenticatedTLS',
    { client: { meshTLS: { unauthenticatedTLS: true } } },
    [[TEN, { meshTLS: ANYONE }]],
  ],
  ['client.meshTLS.identities[]', { client: { meshTLS: { identities: ['a.b'] } } }, [[TEN, mesh({ name: 'a.b' })]]],
  ['client.meshTLS.identities[]', { client: { meshTLS: { identities: ['*.a.b'] } } }, [[TEN, suffix('a', 'b')]]],
  ['client.meshTLS.identities[]', { client: { meshTLS: { identities: ['*'] } } }, [[TEN, suffix()]]],
  [
    'client.meshTLS.serviceAccounts[].name',
    { client: { meshTLS: { serviceAccounts: [{ name: 'bot' }] } } },
    [[TEN, mesh(ID('bot'))]],
  ],
  [
    'client.meshTLS.serviceAccounts[].namespace',
    { client: { meshTLS: { serviceAccounts: [{ name: 'bot', namespace: 'x' }] } } },
    [[TEN, mesh(ID('bot', 'x'))]],
  ],
  ['client.serviceAccounts[].name', { client: { serviceAccounts: [{ name: 'bot' }] } }, [[TEN, mesh(ID('bot'))]]],
  [
    'client.serviceAccounts[].namespace',
    { client: { serviceAccounts: [{ name: 'bot', namespace: 'x' }] } },
    [[TEN, mesh(ID('bot', 'x'))]],
  ],
];

const BOT = { kind: 'ServiceAccount', name: 'bot' };
const toldOfAuthorizationPolicy = (spec: object) =>
  authorizations(
    policy(NETWORK_AUTHENTICATIONS, 'n', { networks: NETWORKS }),
    policy(MESH_TLS_AUTHENTICATIONS, 'm', { identities: ['a.b'] }),
    policy(MESH_TLS_AUTHENTICATIONS, 'm', { identities: ['x.y'] }, { namespace: 'x' }),
    policy(AUTHORIZATION_POLICIES, 'p', { targetRef: ON_SERVER, requiredAuthenticationRefs: [BOT], ...spec }),
  );
const requires = (...requiredAuthenticationRefs: object[]) => ({ requiredAuthenticationRefs });
const AUTHORIZATION_POLICY_ROWS: readonly Row[] = [
  ['targetRef.group', { targetRef: ON_SERVER }, [[ALL, mesh(ID('bot'))]]],
  ['targetRef.group', { targetRef: { ...ON_SERVER, group: 'gateway.networking.k8s.io' } }, []],
  ['targetRef.kind', { targetRef: { kind: 'Namespace', name: 'app' } }, [[ALL, mesh(ID('bot'))]]],
  ['targetRef.kind', { targetRef: { ...ON_SERVER, kind: 'HTTPRoute' } }, []],
  ['targetRef.name', { targetRef: { ...ON_SERVER, name: 'other' } }, []],
  [
    'requiredAuthenticationRefs[].group',
    requires({ group: GROUP, kind: 'MeshTLSAuthentication', name: 'm' }),
    [[ALL, mesh({ name: 'a.b' })]],
  ],
  ['requiredAuthenticationRefs[].group', requires({ group: 'core', ...BOT }), [[ALL, mesh(ID('bot'))]]],
  [
    'requiredAuthenticationRefs[].kind',
    requires({ group: GROUP, kind: 'NetworkAuthentication', name: 'n' }),
    [[WIRE_NETWORKS, ANYONE]],
  ],
  [
    'requiredAuthenticationRefs[].kind',
    requires(BOT, { group: GROUP, kind: 'NetworkAuthentication', name: 'n' }),
    [[WIRE_NETWORKS, mesh(ID('bot'))]],
  ],
  ['requiredAuthenticationRefs[].name', requires({ group: GROUP, kind: 'MeshTLSAuthentication', name: 'none' }), []],
  ['requiredAuthenticationRefs[].name', requires({ ...BOT, name: 'web' }), [[ALL, mesh(ID('web'))]]],
  [
    'requiredAuthenticationRefs[].namespace',
    requires({ group: GROUP, kind: 'MeshTLSAuthentication', name: 'm', namespace: 'x' }),
    [[ALL, mesh({ name: 'x.y' })]],
  ],
  ['requiredAuthenticationRefs[].namespace', requires({ ...BOT, namespace: 'x' }), [[ALL, mesh(ID('bot', 'x'))]]],
];

const asked = (kind: typeof MESH_TLS_AUTHENTICATIONS) => (spec: object) =>
  authorizations(
    policy(kind, 'asked', spec),
    policy(AUTHORIZATION_POLICIES, 'p', {
      targetRef: ON_SERVER,
      ...requires({ group: GROUP, kind: kind.kind, name: 'asked' }),
    }),
  );
const IN_NAMESPACE = suffix('x', 'serviceaccount', 'identity', 'linkerd', 'cluster', 'local');
const MESH_TLS_ROWS: readonly Row[] = [
  ['identities[]', { identities: ['a.b', 'spiffe://td/a'] }, [[ALL, mesh({ name: 'a.b' }, { name: 'spiffe://td/a' })]]],
  ['identities[]', { identities: ['*'] }, [[ALL, suffix()]]],
  ['identityRefs[].group', { identityRefs: [{ group: 'core', ...BOT }] }, [[ALL, mesh(ID('bot'))]]],
  ['identityRefs[].group', { identityRefs: [{ group: GROUP, ...BOT }] }, []],
  ['identityRefs[].kind', { identityRefs: [{ kind: 'Namespace', name: 'x' }] }, [[ALL, IN_NAMESPACE]]],
  ['identityRefs[].name', { identityRefs: [{ kind: 'ServiceAccount', name: 'web' }] }, [[ALL, mesh(ID('web'))]]],
  ['identityRefs[].namespace', { identityRefs: [{ ...BOT, namespace: 'x' }] }, [[ALL, mesh(ID('bot', 'x'))]]],
];
const NETWORK_ROWS: readonly Row[] = [
  ['networks[].cidr', { networks: [{ cidr: '10.0.0.0/8' }] }, [[TEN, ANYONE]]],
  [
    'networks[].cidr',
    { networks: [{ cidr: '2001:db8::/32' }] },
    [[[{ net: { ip: { ipv6: { first: String(0x20010db8n << 32n) } }, prefixLen: 32 } }], ANYONE]],
  ],
  ['networks[].except[]', { networks: NETWORKS }, [[WIRE_NETWORKS, ANYONE]]],
];

const rps = (requestsPerSecond: number) => ({ requestsPerSecond });
const override = (clientRef: object) => ({ overrides: [{ ...rps(7), clientRefs: [clientRef] }] });
const clients = (identity: object) => ({ overrides: [{ limit: rps(7), clients: { identities: [identity] } }] });
const toldOfRateLimit = (spec: object) => {
  const limited = policy(HTTP_LOCAL_RATE_LIMIT_POLICIES, 'x', { targetRef: ON_SERVER, ...spec });
  const { metadata, ...limits } = wire([server('http'), limited]).protocol.detect.httpLocalRateLimit ?? {};
  assert.deepEqual(metadata?.resource, metadata && { group: GROUP, kind: 'HTTPLocalRateLimitPolicy', name: 'x' });
  return metadata && limits;
};
/** What cannot be read limits to the least there is. */
const LEAST = { total: rps(1) };
const RATE_LIMIT_ROWS: readonly Row[] = [
  ['targetRef.group', { targetRef: { ...ON_SERVER, group: 'x' } }, LEAST],
  ['targetRef.kind', { targetRef: { ...ON_SERVER, kind: 'Namespace' } }, LEAST],
  ['targetRef.name', { targetRef: ON_SERVER }, {}],
  ['targetRef.name', { targetRef: { ...ON_SERVER, name: 'other' } }, undefined],
  ['total.requestsPerSecond', { total: rps(100) }, { total: rps(100) }],
  ['identity.requestsPerSecond', { identity: rps(10) }, { identity: rps(10) }],
  ['overrides[].requestsPerSecond', override(BOT), clients(ID('bot'))],
  ['overrides[].clientRefs[].group', override({ group: 'core', ...BOT }), clients(ID('bot'))],
  ['overrides[].clientRefs[].kind', override({ ...BOT, kind: 'Namespace' }), LEAST],
  ['overrides[].clientRefs[].name', override({ ...BOT, name: 'web' }), clients(ID('web'))],
  ['overrides[].clientRefs[].namespace', override({ ...BOT, namespace: 'x' }), clients(ID('bot', 'x'))],
];

/** Whether a Server that names a port selects it; the rest is for clients, who hear of it from the destination service. */
const toldOfExternalWorkload = (spec: object) => {
  const world = new InboundWorld([vm({ ...VM_SPEC, ...spec }), policy(SERVERS, 'http', { ...VM, port: 'main' })]);
  const at = (port: number) => world.server('vm', port, { kind: 'ExternalWorkload' })?.source;
  return [8080, 9000].map((port) => (typeof at(port) === 'object' ? 'selected' : at(port)));
};
const [SELECTED, OTHER] = ['selected', 'all-unauthenticated'];
const EXTERNAL_ROWS: readonly Row[] = [
  ['ports[].name', { ports: [{ name: 'x', port: 8080 }] }, [OTHER, OTHER]],
  ['ports[].port', { ports: [{ name: 'main', port: 9000 }] }, [OTHER, SELECTED]],
  ['ports[].protocol', { ports: [{ name: 'main', port: 8080, protocol: 'UDP' }] }, [OTHER, OTHER]],
  ['meshTLS.identity', { meshTLS: { identity: 'vm.example', serverName: 'x' } }, [SELECTED, OTHER]],
  ['meshTLS.serverName', { meshTLS: { identity: 'vm.example', serverName: 'x' } }, [SELECTED, OTHER]],
  ['meshTls.identity', { meshTLS: undefined, meshTls: VM_SPEC.meshTLS }, [SELECTED, OTHER]],
  ['meshTls.serverName', { meshTLS: undefined, meshTls: VM_SPEC.meshTLS }, [SELECTED, OTHER]],
  ['workloadIPs[].ip', { workloadIPs: [{ ip: '192.0.2.8' }, { ip: 'fd00::8' }] }, [SELECTED, OTHER]],
];

testFields('server', SERVER_ROWS, toldOfServer);
testFields('server-authorization', SERVER_AUTHORIZATION_ROWS, toldOfServerAuthorization);
testFields('authorization-policy', AUTHORIZATION_POLICY_ROWS, toldOfAuthorizationPolicy);
testFields('mesh-tls-authentication', MESH_TLS_ROWS, asked(MESH_TLS_AUTHENTICATIONS));
testFields('network-authentication', NETWORK_ROWS, asked(NETWORK_AUTHENTICATIONS));
testFields('http-local-rate-limit-policy', RATE_LIMIT_ROWS, toldOfRateLimit);
testFields('external-workload', EXTERNAL_ROWS, toldOfExternalWorkload);
