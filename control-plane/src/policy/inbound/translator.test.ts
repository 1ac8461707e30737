import assert from 'node:assert/strict';
import test from 'node:test';
import { create, type JsonObject, toJson } from '@bufbuild/protobuf';
import {
  AUTHORIZATION_POLICIES,
  GRPC_ROUTES,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  HTTP_ROUTES,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  NETWORK_AUTHENTICATIONS,
  POLICY_HTTP_ROUTES,
  SERVER_AUTHORIZATIONS,
  SERVERS,
} from '@tulle/api';
import { ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { pod } from '../../testing/objects.ts';
import { InboundWorld, policy, server } from '../../testing/policies.ts';
import { toServer } from './translator.ts';

type Json = any;

const WEB = pod('web', {
  labels: { app: 'web' },
  containers: [{ name: 'app', ports: [{ name: 'grpc', containerPort: 8080 }] }],
});
const GROUP = 'policy.linkerd.io';
const GATEWAY = 'gateway.networking.k8s.io';
const ALL = [{ net: { ip: { ipv4: 0 } } }, { net: { ip: { ipv6: {} } } }];
const TEN = { net: { ip: { ipv4: 0x0a000000 }, prefixLen: 8 } };
const ID = (account: string, namespace = 'app') =>
  `${account}.${namespace}.serviceaccount.identity.linkerd.cluster.local`;
const OF_SERVER = { group: GROUP, kind: 'Server', name: 'http' };
const PARENTS = { parentRefs: [OF_SERVER] };

/** What a proxy is told of port 8080 of the pod `web`. */
function wire(...objects: KubeObject[]): Json {
  const found = new InboundWorld([WEB, ...objects]).server('web')!;
  return toJson(ServerSchema, create(ServerSchema, toServer(found))) as JsonObject;
}

const labels = (kind: string, name: string, group = GROUP) => ({ group, kind, name });
const resource = (kind: string, name: string, group = GROUP) => ({ resource: { group, kind, name } });
const authzOf = (kind: string, name: string) => ({ labels: labels(kind, name), metadata: resource(kind, name) });

test('writes each protocol of a Server', () => {
  const route = { metadata: { default: 'default' }, rules: [{ matches: [{ path: { prefix: '/' } }] }] };
  const expected: Record<string, unknown> = {
    unknown: { detect: { timeout: '10s', httpRoutes: [route] } },
    'HTTP/1': { http1: { routes: [route] } },
    'HTTP/2': { http2: { routes: [route] } },
    gRPC: { grpc: { routes: [{ metadata: { default: 'default' }, rules: [{ matches: [{}] }] }] } },
    opaque: { opaque: {} },
    TLS: { tls: {} },
  };
  for (const [proxyProtocol, protocol] of Object.entries(expected)) {
    assert.deepEqual(wire(server('http', { proxyProtocol })), { protocol, labels: labels('server', 'http') });
  }
  assert.deepEqual(wire(server('http')).protocol, expected.unknown);
});

test('writes the access policies of Servers after their authorizations', () => {
  const byDefault = (name: string, networks: unknown, authentication: unknown) => ({
    networks,
    authentication,
    labels: labels('default', name, ''),
    metadata: { default: name },
  });
  const anyone = { unauthenticated: {} };
  const meshed = { meshTLS: { identities: { suffixes: [{}] } } };
  const expected: Record<string, unknown> = {
    deny: undefined,
    audit: [byDefault('audit', ALL, anyone)],
    'all-unauthenticated': [byDefault('all-unauthenticated', ALL, anyone)],
    'all-authenticated': [byDefault('all-authenticated', ALL, meshed)],
    'cluster-unauthenticated': [byDefault('cluster-unauthenticated', [TEN], anyone)],
    'cluster-authenticated': [byDefault('cluster-authenticated', [TEN], meshed)],
  };
  for (const [accessPolicy, authorizations] of Object.entries(expected)) {
    assert.deepEqual(wire(server('http', { accessPolicy })).authorizations, authorizations);
  }
  const all = policy(SERVER_AUTHORIZATIONS, 'z', { server: { name: 'http' }, client: { unauthenticated: true } });
  const names = wire(server('http', { accessPolicy: 'audit' }), all).authorizations.map(
    (each: Json) => each.labels.name,
  );
  assert.deepEqual(names, ['z', 'audit']);
});

test('writes each field of a ServerAuthorization', () => {
  const client = (fields: object) =>
    wire(server('http'), policy(SERVER_AUTHORIZATIONS, 'a', { server: { name: 'http' }, client: fields }))
      .authorizations;
  const of = (authentication: unknown, networks: unknown = [TEN]) => [
    { networks, authentication, ...authzOf('serverauthorization', 'a') },
  ];
  const identities = (...names: string[]) => ({
    meshTLS: { identities: { identities: names.map((name) => ({ name })) } },
  });
  assert.deepEqual(client({ unauthenticated: true }), of({ unauthenticated: {} }));
  assert.deepEqual(client({ meshTLS: { unauthenticatedTLS: true } }), of({ meshTLS: { unauthenticated: {} } }));
  assert.deepEqual(client({ meshTLS: { serviceAccounts: [{ name: 'bot' }] } }), of(identities(ID('bot'))));
  assert.deepEqual(client({ meshTLS: null, serviceAccounts: [{ name: 'bot' }] }), of(identities(ID('bot'))));
  assert.deepEqual(
    client({ meshTLS: { serviceAccounts: [{ name: 'bot', namespace: 'other' }] } }),
    of(identities(ID('bot', 'other'))),
  );
  assert.deepEqual(
    client({ meshTLS: { identities: ['*', '*.ns.svc', 'a.b', 'spiffe://td/web'] } }),
    of({
      meshTLS: {
        identities: {
          identities: [{ name: 'a.b' }, { name: 'spiffe://td/web' }],
          suffixes: [{}, { parts: ['ns', 'svc'] }],
        },
      },
    }),
  );
  assert.deepEqual(
    client({ unauthenticated: true, networks: [{ cidr: '10.1.0.0/16', except: ['10.1.2.3'] }, { cidr: 'fd00::/8' }] }),
    of({ unauthenticated: {} }, [
      { net: { ip: { ipv4: 0x0a010000 }, prefixLen: 16 }, except: [{ ip: { ipv4: 0x0a010203 }, prefixLen: 32 }] },
      { net: { ip: { ipv6: { first: String(0xfd00n << 48n) } }, prefixLen: 8 } },
    ]),
  );
  for (const nobody of [{ meshTLS: null }, { meshTLS: {} }, {}, { meshTLS: null, serviceAccounts: [] }]) {
    assert.equal(client(nobody), undefined);
  }
});

test('lets a ServerAuthorization select Servers by name or by label, of its namespace alone', () => {
  const client = { unauthenticated: true };
  const names = (selection: object, options = {}) =>
    (
      wire(
        server('http', {}, { labels: { kind: 'internal' } }),
        policy(SERVER_AUTHORIZATIONS, 'a', { server: selection, client }, options),
      ).authorizations ?? []
    ).length;
  assert.equal(names({ name: 'http' }), 1);
  assert.equal(names({ name: 'other' }), 0);
  assert.equal(names({ selector: { matchLabels: { kind: 'internal' } } }), 1);
  assert.equal(names({ selector: { kind: 'internal' } }), 1);
  assert.equal(names({ selector: { kind: 'external' } }), 0);
  assert.equal(names({ selector: { matchExpressions: [{ key: 'kind', operator: 'Exists' }] } }), 1);
  assert.equal(names({ selector: {} }), 1);
  assert.equal(names({ selector: {} }, { namespace: 'other' }), 0);
});

test('writes what an AuthorizationPolicy requires, all of it at once', () => {
  const mesh = policy(MESH_TLS_AUTHENTICATIONS, 'm', {
    identityRefs: [
      { kind: 'ServiceAccount', name: 'bot' },
      { kind: 'Namespace', name: 'other' },
    ],
  });
  const network = policy(NETWORK_AUTHENTICATIONS, 'n', { networks: [{ cidr: '10.0.0.0/8' }] }, { namespace: 'nets' });
  const required = (refs: object[], target: object = OF_SERVER) =>
    wire(
      server('http'),
      mesh,
      network,
      policy(AUTHORIZATION_POLICIES, 'p', { targetRef: target, requiredAuthenticationRefs: refs }),
    ).authorizations;
  const of = (networks: unknown, authentication: unknown) => [
    { networks, authentication, ...authzOf('authorizationpolicy', 'p') },
  ];
  const ofMesh = { group: GROUP, kind: 'MeshTLSAuthentication', name: 'm' };
  const ofNetwork = { group: GROUP, kind: 'NetworkAuthentication', name: 'n', namespace: 'nets' };
  const account = { kind: 'ServiceAccount', name: 'bot', namespace: 'other' };
  const meshed = {
    meshTLS: {
      identities: {
        identities: [{ name: ID('bot') }],
        suffixes: [{ parts: ['other', 'serviceaccount', 'identity', 'linkerd', 'cluster', 'local'] }],
      },
    },
  };
  assert.deepEqual(required([]), of(ALL, { unauthenticated: {} }));
  assert.deepEqual(required([ofMesh]), of(ALL, meshed));
  assert.deepEqual(required([ofNetwork]), of([TEN], { unauthenticated: {} }));
  assert.deepEqual(required([ofNetwork, ofMesh]), of([TEN], meshed));
  const oneAccount = { meshTLS: { identities: { identities: [{ name: ID('bot', 'other') }] } } };
  assert.deepEqual(required([account, ofNetwork]), of([TEN], oneAccount));
  assert.deepEqual(required([], { kind: 'Namespace', name: 'app' }), of(ALL, { unauthenticated: {} }));
  for (const missing of [
    [{ ...ofMesh, name: 'x' }],
    [ofMesh, { ...ofNetwork, namespace: 'app' }],
    [{ ...ofMesh, namespace: 'nets' }],
  ]) {
    assert.equal(required(missing), undefined);
  }
  assert.equal(required([], { ...OF_SERVER, name: 'x' }), undefined);
});

test('writes HTTP routes with hosts, matches, filters and their own authorizations, oldest first', () => {
  const rules = [
    {
      matches: [
        { path: { type: 'Exact', value: '/a' }, method: 'PATCH' },
        { path: { type: 'RegularExpression', value: '/b+' } },
        {
          headers: [
            { name: 'X-A', value: '1' },
            { type: 'RegularExpression', name: 'x-b', value: '.*' },
          ],
          queryParams: [
            { name: 'q', value: '1' },
            { type: 'RegularExpression', name: 'r', value: '.+' },
          ],
        },
      ],
      filters: [
        {
          type: 'RequestHeaderModifier',
          requestHeaderModifier: { set: [{ name: 'a', value: '1' }], add: [{ name: 'b', value: '2' }], remove: ['c'] },
        },
        { type: 'RequestRedirect', requestRedirect: { scheme: 'https', hostname: 'x.y', port: 8443, statusCode: 301 } },
        { type: 'ResponseHeaderModifier', responseHeaderModifier: { remove: ['d'] } },
      ],
    },
  ];
  const route = policy(
    HTTP_ROUTES,
    'r',
    { ...PARENTS, hostnames: ['a.b', '*.c.d'], rules },
    { createdAt: '2025-06-01T00:00:00Z' },
  );
  const old = policy(POLICY_HTTP_ROUTES, 'old', { ...PARENTS, rules: [{}] }, { createdAt: '2025-01-01T00:00:00Z' });
  const forRoute = policy(AUTHORIZATION_POLICIES, 'p', {
    targetRef: { group: GATEWAY, kind: 'HTTPRoute', name: 'r' },
    requiredAuthenticationRefs: [],
  });
  const { protocol, authorizations } = wire(server('http'), route, old, forRoute);
  assert.equal(authorizations, undefined);
  assert.deepEqual(protocol.detect.httpRoutes, [
    { metadata: resource('HTTPRoute', 'old'), rules: [{ matches: [{ path: { prefix: '/' } }] }] },
    {
      metadata: resource('HTTPRoute', 'r', GATEWAY),
      hosts: [{ exact: 'a.b' }, { suffix: { reverseLabels: ['d', 'c'] } }],
      authorizations: [
        { networks: ALL, authentication: { unauthenticated: {} }, ...authzOf('authorizationpolicy', 'p') },
      ],
      rules: [
        {
          matches: [
            { path: { exact: '/a' }, method: { registered: 'PATCH' } },
            { path: { regex: '/b+' } },
            {
              path: { prefix: '/' },
              headers: [
                { name: 'x-a', exact: 'MQ==' },
                { name: 'x-b', regex: '.*' },
              ],
              queryParams: [
                { name: 'q', exact: '1' },
                { name: 'r', regex: '.+' },
              ],
            },
          ],
          filters: [
            {
              requestHeaderModifier: {
                set: { headers: [{ name: 'a', value: 'MQ==' }] },
                add: { headers: [{ name: 'b', value: 'Mg==' }] },
                remove: ['c'],
              },
            },
            { redirect: { scheme: { registered: 'HTTPS' }, host: 'x.y', port: 8443, status: 301 } },
          ],
        },
      ],
    },
  ]);
});

test('writes gRPC routes for Servers of gRPC, and only those', () => {
  const route = policy(GRPC_ROUTES, 'votes', {
    ...PARENTS,
    rules: [
      {
        matches: [
          { method: { service: 'app.Votes', method: 'Vote' }, headers: [{ name: 'a', value: '1' }] },
          { method: { service: 'app.Votes' } },
        ],
        filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { remove: ['x'] } }],
      },
    ],
  });
  const forRoute = policy(AUTHORIZATION_POLICIES, 'p', {
    targetRef: { group: GATEWAY, kind: 'GRPCRoute', name: 'votes' },
    requiredAuthenticationRefs: [{ kind: 'ServiceAccount', name: 'bot' }],
  });
  const authentication = { meshTLS: { identities: { identities: [{ name: ID('bot') }] } } };
  const found = wire(server('http', { proxyProtocol: 'gRPC' }), route, forRoute);
  assert.deepEqual(found.protocol.grpc.routes, [
    {
      metadata: resource('GRPCRoute', 'votes', GATEWAY),
      authorizations: [{ networks: ALL, authentication, ...authzOf('authorizationpolicy', 'p') }],
      rules: [
        {
          matches: [
            { rpc: { service: 'app.Votes', method: 'Vote' }, headers: [{ name: 'a', exact: 'MQ==' }] },
            { rpc: { service: 'app.Votes' } },
          ],
          filters: [{ requestHeaderModifier: { remove: ['x'] } }],
        },
      ],
    },
  ]);
  const asHttp = wire(server('http', { proxyProtocol: 'HTTP/2' }), route, forRoute);
  assert.deepEqual(asHttp.protocol.http2.routes[0].metadata, { default: 'default' });
});

test('attaches routes to Servers of their namespace as a whole', () => {
  const attached = (parent: object, options = {}) =>
    wire(server('http'), policy(HTTP_ROUTES, 'r', { parentRefs: [parent], rules: [{}] }, options)).protocol.detect
      .httpRoutes[0].metadata.resource !== undefined;
  assert.equal(attached(OF_SERVER), true);
  assert.equal(attached({ ...OF_SERVER, namespace: 'app' }), true);
  assert.equal(attached({ ...OF_SERVER, name: 'other' }), false);
  assert.equal(attached({ ...OF_SERVER, port: 8080 }), false);
  assert.equal(attached({ ...OF_SERVER, sectionName: 'x' }), false);
  assert.equal(attached(OF_SERVER, { namespace: 'other' }), false);
  assert.equal(attached({ ...OF_SERVER, namespace: 'app' }, { namespace: 'other' }), false);
  assert.equal(attached({ group: GATEWAY, kind: 'Gateway', name: 'http' }), false);
});

test('refuses what a rule takes that cannot be read, or asks for what proxies do not do', () => {
  const filters = (rule: object) => {
    const found = wire(server('http'), policy(HTTP_ROUTES, 'r', { ...PARENTS, rules: [{}, rule] }));
    return found.protocol.detect.httpRoutes[0].rules[1].filters;
  };
  const injected = filters({ matches: [{ path: { type: 'RegularExpression', value: '(' } }] });
  assert.equal(injected[0].failureInjector.status, 500);
  assert.deepEqual(injected[0].failureInjector.ratio, { numerator: 1, denominator: 1 });
  assert.match(
    injected[0].failureInjector.message,
    /^spec\.rules\[1\]\.matches\[0\]\.path\.value: found "\(", allowed/,
  );
  const rewrite = { type: 'URLRewrite', urlRewrite: { hostname: 'a.b' } };
  assert.match(
    filters({ filters: [rewrite] })[0].failureInjector.message,
    /URLRewrite is not done to requests that arrive/,
  );
  const mirror = { type: 'RequestMirror', requestMirror: { backendRef: { name: 'x', port: 80 } } };
  assert.equal(filters({ filters: [mirror] }), undefined);
  const none = wire(server('http'), policy(HTTP_ROUTES, 'r', { ...PARENTS, hostnames: ['1.2.3.4'], rules: [{}] }));
  assert.deepEqual(none.protocol.detect.httpRoutes, [{ metadata: resource('HTTPRoute', 'r', GATEWAY) }]);
});

test('writes the rate limit of a Server, the oldest, and the least there is for one that cannot be read', () => {
  const limit = (requestsPerSecond: number) => ({ requestsPerSecond });
  const clientRefs = [{ kind: 'ServiceAccount', name: 'bot', namespace: 'other' }];
  const spec = {
    targetRef: OF_SERVER,
    total: limit(100),
    identity: limit(10),
    overrides: [{ ...limit(20), clientRefs }],
  };
  const limited = (name: string, more: object, createdAt?: string) =>
    policy(HTTP_LOCAL_RATE_LIMIT_POLICIES, name, { ...spec, ...more }, { createdAt });
  const expected = {
    metadata: resource('HTTPLocalRateLimitPolicy', 'b'),
    total: limit(100),
    identity: limit(10),
    overrides: [{ limit: limit(20), clients: { identities: [{ name: ID('bot', 'other') }] } }],
  };
  const younger = limited('a', { total: limit(5), identity: undefined, overrides: undefined }, '2026-02-01T00:00:00Z');
  for (const [proxyProtocol, read] of [
    ['unknown', ({ detect }: Json) => detect.httpLocalRateLimit],
    ['HTTP/1', ({ http1 }: Json) => http1.localRateLimit],
    ['HTTP/2', ({ http2 }: Json) => http2.localRateLimit],
  ] as const) {
    assert.deepEqual(read(wire(server('http', { proxyProtocol }), younger, limited('b', {})).protocol), expected);
  }
  assert.equal(
    wire(server('http'), limited('b', { targetRef: { ...OF_SERVER, name: 'x' } })).protocol.detect.httpLocalRateLimit,
    undefined,
  );
  const unreadable = wire(server('http'), limited('b', { identity: limit(0) })).protocol.detect.httpLocalRateLimit;
  assert.deepEqual(unreadable, { metadata: expected.metadata, total: limit(1) });
});

test('takes the two resources that this project began with as their author meant them', () => {
  const metadata = { namespace: 'emojivoto', name: 'emoji-grpc', labels: { 'app-kind': 'internal' } };
  const apiVersion = 'policy.linkerd.io/v1beta1';
  const emoji = pod('emoji', {
    namespace: 'emojivoto',
    labels: { app: 'emoji' },
    containers: [{ name: 'app', ports: [{ name: 'grpc', containerPort: 8080 }] }],
  });
  const selected: KubeObject = {
    apiVersion,
    kind: SERVERS.kind,
    metadata,
    spec: { podSelector: { matchLabels: { app: 'emoji' } }, port: 'grpc', proxyProtocol: 'gRPC' },
  };
  const other = {
    ...selected,
    metadata: { namespace: 'emojivoto', name: 'other' },
    spec: { ...selected.spec, port: 9 },
  };
  const meaning = (client: object) => {
    const authorization = {
      apiVersion,
      kind: SERVER_AUTHORIZATIONS.kind,
      metadata,
      spec: { server: { selector: { 'app-kind': 'internal' } }, client },
    };
    const world = new InboundWorld([emoji, selected, other, authorization]);
    const at = (port: number): Json =>
      toJson(ServerSchema, create(ServerSchema, toServer(world.server('emoji', port, { namespace: 'emojivoto' })!)));
    assert.equal(at(9).authorizations, undefined);
    return at(8080);
  };
  for (const client of [
    { meshTLS: null, serviceAccounts: [{ name: 'web' }] },
    { meshTLS: { serviceAccounts: [{ name: 'web' }] } },
  ]) {
    const { protocol, authorizations } = meaning(client);
    assert.ok(protocol.grpc);
    assert.deepEqual(authorizations, [
      {
        networks: [TEN],
        authentication: { meshTLS: { identities: { identities: [{ name: ID('web', 'emojivoto') }] } } },
        ...authzOf('serverauthorization', 'emoji-grpc'),
      },
    ]);
  }
  for (const pruned of [{ meshTLS: null }, { meshTLS: {} }, {}])
    assert.equal(meaning(pruned).authorizations, undefined);
});
