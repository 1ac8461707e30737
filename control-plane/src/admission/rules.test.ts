import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { KubeObject } from '@tulle/api';
import { checkProfile } from './profile-rules.ts';
import { checkPolicy, type Verdict } from './rules.ts';

const POLICY = 'policy.linkerd.io';
const GATEWAY = 'gateway.networking.k8s.io';

type Row = readonly [name: string, spec: object, options?: { annotations?: object; name?: string }];

function object(apiVersion: string, kind: string, [, spec, options]: Row): KubeObject {
  const { annotations = {}, name = 'web' } = options ?? {};
  return { apiVersion, kind, metadata: { name, namespace: 'app', annotations } as KubeObject['metadata'], spec };
}

/** Lets in the first, refuses the second with a message that names the field. */
function rules(
  title: string,
  check: (row: Row) => Verdict,
  accepted: readonly Row[],
  refused: readonly (readonly [row: Row, message: RegExp])[],
): void {
  describe(title, () => {
    for (const row of accepted) test(`lets in ${row[0]}`, () => assert.equal(check(row).refusal, undefined));
    for (const [row, message] of refused) {
      test(`refuses ${row[0]}`, () => {
        const { refusal } = check(row);
        assert.match(refusal ?? 'let in', message);
        assert.match(refusal ?? '', /: found .*allowed/s);
      });
    }
  });
}

const of =
  (group: string, kind: string, version = 'v1') =>
  (row: Row) =>
    checkPolicy(group, kind, object(`${group}/${version}`, kind, row));

const target = (kind: string, name = 'web', group = POLICY) => ({ group, kind, name });
const authorization = (targetRef: object, ...requiredAuthenticationRefs: object[]) => ({
  targetRef,
  requiredAuthenticationRefs,
});
const mtls = target('MeshTLSAuthentication');
const network = target('NetworkAuthentication');
const account = { kind: 'ServiceAccount', name: 'web', namespace: 'other' };

rules(
  'AuthorizationPolicy',
  of(POLICY, 'AuthorizationPolicy', 'v1alpha1'),
  [
    ['a Server', authorization(target('Server'), mtls)],
    ['its own namespace', authorization({ kind: 'Namespace', name: 'app' }, mtls)],
    ['an HTTPRoute of our group', authorization(target('HTTPRoute'), mtls)],
    ['an HTTPRoute of the Gateway API', authorization(target('HTTPRoute', 'web', GATEWAY), mtls)],
    ['a GRPCRoute', authorization(target('GRPCRoute', 'web', GATEWAY), mtls)],
    ['no authentication at all', authorization(target('Server'))],
    ['an identity and a network', authorization(target('Server'), mtls, network)],
    ['a ServiceAccount and a network', authorization(target('Server'), account, network)],
    ['an authentication elsewhere', authorization(target('Server'), { ...mtls, namespace: 'other' })],
  ],
  [
    [
      ['another namespace', authorization({ kind: 'Namespace', name: 'other' }, mtls)],
      /^spec\.targetRef\.name: found "other", allowed is app/,
    ],
    [
      ['two MeshTLSAuthentications', authorization(target('Server'), mtls, { ...mtls, name: 'b' })],
      /requiredAuthenticationRefs\[1\]/,
    ],
    [
      ['two ServiceAccounts', authorization(target('Server'), account, { ...account, name: 'b' })],
      /requiredAuthenticationRefs\[1\]/,
    ],
    [
      ['a MeshTLSAuthentication and a ServiceAccount', authorization(target('Server'), mtls, account)],
      /requiredAuthenticationRefs\[1\]/,
    ],
    [
      ['two NetworkAuthentications', authorization(target('Server'), network, network)],
      /requiredAuthenticationRefs\[1\]/,
    ],
    [['a Service as target', authorization({ group: '', kind: 'Service', name: 'web' }, mtls)], /^spec\.targetRef: /],
    [['a GRPCRoute of our group', authorization(target('GRPCRoute'), mtls)], /^spec\.targetRef: /],
    [
      ['another kind of authentication', authorization(target('Server'), target('Server'))],
      /requiredAuthenticationRefs\[0\]/,
    ],
    [['no list of authentications', { targetRef: target('Server') }], /^spec\.requiredAuthenticationRefs: /],
    [['no target', { requiredAuthenticationRefs: [] }], /^spec\.targetRef: /],
  ],
);

rules(
  'MeshTLSAuthentication',
  of(POLICY, 'MeshTLSAuthentication', 'v1alpha1'),
  [
    ['everybody with an identity', { identities: ['*'] }],
    ['a suffix', { identities: ['*.app.serviceaccount.identity.linkerd.cluster.local'] }],
    ['a name', { identities: ['web.app.serviceaccount.identity.linkerd.cluster.local'] }],
    ['a SPIFFE id', { identities: ['spiffe://trust.example/web'] }],
    ['a ServiceAccount', { identityRefs: [{ kind: 'ServiceAccount', name: 'web', namespace: 'other' }] }],
    ['a Namespace', { identityRefs: [{ kind: 'Namespace', name: 'app' }] }],
  ],
  [
    [['a star inside a name', { identities: ['web.*.local'] }], /^spec\.identities\[0\]: found "web\.\*\.local"/],
    [['capital letters', { identities: ['Web.app'] }], /^spec\.identities\[0\]/],
    [['an empty name', { identities: [''] }], /^spec\.identities\[0\]/],
    [['another kind', { identityRefs: [{ kind: 'Service', name: 'web' }] }], /^spec\.identityRefs\[0\]/],
    [
      ['a Namespace in a namespace', { identityRefs: [{ kind: 'Namespace', name: 'app', namespace: 'x' }] }],
      /^spec\.identityRefs\[0\]\.namespace/,
    ],
    [['an empty list', { identities: [] }], /^spec\.identities: found \[\], allowed is at least one/],
    [['nothing', {}], /^spec\.identities: found nothing, allowed is one of/],
    [['both', { identities: ['*'], identityRefs: [{ kind: 'Namespace', name: 'app' }] }], /^spec\.identityRefs: /],
  ],
);

const networks: readonly Row[] = [
  ['a network with an exception', { networks: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }] }],
  ['an address', { networks: [{ cidr: '10.0.0.1' }] }],
  ['an IPv6 network', { networks: [{ cidr: 'fd00::/8', except: ['fd01::/16'] }] }],
];
const badNetworks: readonly (readonly [Row, RegExp])[] = [
  [['no network', { networks: [{ cidr: 'anywhere' }] }], /networks\[0\]\.cidr: found "anywhere"/],
  [['too long a prefix', { networks: [{ cidr: '10.0.0.0/33' }] }], /networks\[0\]\.cidr/],
  [
    ['an exception elsewhere', { networks: [{ cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] }] }],
    /networks\[0\]\.except\[0\]/,
  ],
  [
    ['an exception of everything', { networks: [{ cidr: '10.0.0.0/8', except: ['10.0.0.0/8'] }] }],
    /networks\[0\]\.except\[0\]/,
  ],
  [
    ['an exception of more', { networks: [{ cidr: '10.0.0.0/8', except: ['0.0.0.0/0'] }] }],
    /networks\[0\]\.except\[0\]/,
  ],
  [
    ['an exception of the other family', { networks: [{ cidr: '10.0.0.0/8', except: ['fd00::/8'] }] }],
    /networks\[0\]\.except\[0\]/,
  ],
];

rules('NetworkAuthentication', of(POLICY, 'NetworkAuthentication', 'v1alpha1'), networks, [
  ...badNetworks,
  [['no networks', { networks: [] }], /^spec\.networks: found \[\], allowed is at least one network/],
  [['nothing', {}], /^spec\.networks: found nothing/],
]);

const egress = ([name, spec]: Row): Row => [name, { trafficPolicy: 'Allow', ...spec }];
rules(
  'EgressNetwork',
  of(POLICY, 'EgressNetwork', 'v1alpha1'),
  [...networks.map(egress), ['everything', { trafficPolicy: 'Deny' }]],
  [
    ...badNetworks.map(([row, message]) => [egress(row), message] as const),
    [['another policy', { trafficPolicy: 'Log' }], /^spec\.trafficPolicy: found "Log", allowed is one of Allow, Deny/],
    [['no policy', {}], /^spec\.trafficPolicy: found nothing/],
  ],
);

const server = (spec: object = {}) => ({ podSelector: {}, port: 80, ...spec });
rules(
  'Server',
  of(POLICY, 'Server', 'v1beta3'),
  [
    ['all pods', server()],
    ['a named port', server({ port: 'grpc', proxyProtocol: 'gRPC', podSelector: { matchLabels: { app: 'emoji' } } })],
    ['external workloads', { externalWorkloadSelector: { matchLabels: { app: 'vm' } }, port: 80 }],
    ...[
      'deny',
      'audit',
      'all-unauthenticated',
      'all-authenticated',
      'cluster-unauthenticated',
      'cluster-authenticated',
    ].map((accessPolicy): Row => [`accessPolicy ${accessPolicy}`, server({ accessPolicy })]),
    [
      'an expression',
      server({ podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['a', 'b'] }] } }),
    ],
  ],
  [
    [
      ['another accessPolicy', server({ accessPolicy: 'allow' })],
      /^spec\.accessPolicy: found "allow", allowed is one of all-unauthenticated/,
    ],
    [['another protocol', server({ proxyProtocol: 'SMTP' })], /^spec\.proxyProtocol: found "SMTP"/],
    [['port 0', server({ port: 0 })], /^spec\.port: found 0, allowed is 1 to 65535 or a port's name/],
    [['no port', { podSelector: {} }], /^spec\.port: found nothing/],
    [['no selector', { port: 80 }], /podSelector/],
    [['two selectors', server({ externalWorkloadSelector: {} })], /externalWorkloadSelector/],
    [
      ['an unknown operator', server({ podSelector: { matchExpressions: [{ key: 'app', operator: 'Like' }] } })],
      /matchExpressions\[0\]\.operator/,
    ],
  ],
);

const saz = (client: object, serverRef: object = { name: 'web' }) => ({ server: serverRef, client });
rules(
  'ServerAuthorization',
  of(POLICY, 'ServerAuthorization', 'v1beta1'),
  [
    ['anybody', saz({ unauthenticated: true })],
    ['a selector', saz({ unauthenticated: true }, { selector: { matchLabels: { app: 'web' } } })],
    ['TLS without identity', saz({ meshTLS: { unauthenticatedTLS: true } })],
    ['identities', saz({ meshTLS: { identities: ['*', '*.app.example', 'web.app'] } })],
    ['ServiceAccounts', saz({ meshTLS: { serviceAccounts: [{ name: 'web' }, { name: 'b', namespace: 'c' }] } })],
    ['ServiceAccounts beside an empty meshTLS', saz({ meshTLS: null, serviceAccounts: [{ name: 'web' }] })],
    ['networks', saz({ unauthenticated: true, networks: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }] })],
    ['nobody, with a warning', saz({ meshTLS: null })],
  ],
  [
    [
      ['unauthenticated and meshTLS', saz({ unauthenticated: true, meshTLS: { identities: ['*'] } })],
      /^spec\.client\.meshTLS: /,
    ],
    [
      ['unauthenticatedTLS and identities', saz({ meshTLS: { unauthenticatedTLS: true, identities: ['*'] } })],
      /unauthenticatedTLS/,
    ],
    [
      [
        'unauthenticatedTLS and ServiceAccounts',
        saz({ meshTLS: { unauthenticatedTLS: true, serviceAccounts: [{ name: 'w' }] } }),
      ],
      /unauthenticatedTLS/,
    ],
    [['no server', { client: { unauthenticated: true } }], /^spec\.server: /],
    [
      ['a name and a selector', saz({ unauthenticated: true }, { name: 'web', selector: {} })],
      /^spec\.server\.selector/,
    ],
    ...badNetworks.map(
      ([[name, spec], message]) => [[name, saz({ unauthenticated: true, ...spec })], message] as const,
    ),
  ],
);

const limit = (spec: object, targetRef: object = target('Server')) => ({ targetRef, ...spec });
const rps = (requestsPerSecond: number) => ({ requestsPerSecond });
const override = (requestsPerSecond: number, ref: object = account) => [{ requestsPerSecond, clientRefs: [ref] }];
rules(
  'HTTPLocalRateLimitPolicy',
  of(POLICY, 'HTTPLocalRateLimitPolicy', 'v1alpha1'),
  [
    ['a total', limit({ total: rps(100) })],
    ['an identity as fast as all', limit({ total: rps(100), identity: rps(100), overrides: override(100) })],
    ['no total', limit({ identity: rps(10), overrides: override(20) })],
  ],
  [
    [['another target', limit({ total: rps(1) }, target('HTTPRoute'))], /^spec\.targetRef/],
    [['a total of nothing', limit({ total: rps(0) })], /^spec\.total\.requestsPerSecond: found 0/],
    [['an identity of nothing', limit({ identity: rps(0) })], /^spec\.identity\.requestsPerSecond/],
    [['an override of nothing', limit({ overrides: override(0) })], /^spec\.overrides\[0\]\.requestsPerSecond/],
    [
      ['an identity above the total', limit({ total: rps(10), identity: rps(11) })],
      /^spec\.identity\.requestsPerSecond: found 11, allowed is 1 to 10, the total/,
    ],
    [
      ['an override above the total', limit({ total: rps(10), overrides: override(11) })],
      /^spec\.overrides\[0\]\.requestsPerSecond/,
    ],
    [
      ['an override for a Namespace', limit({ overrides: override(1, { kind: 'Namespace', name: 'app' }) })],
      /^spec\.overrides\[0\]\.clientRefs\[0\]/,
    ],
  ],
);

const toService = { group: 'core', kind: 'Service', name: 'web', port: 80 };
const toServer = { group: POLICY, kind: 'Server', name: 'web' };
const backend = { name: 'web', port: 80 };
const route = (rule: object = {}, parent: object = toService) => ({
  parentRefs: [parent],
  rules: [{ backendRefs: [backend], ...rule }],
});
const headers = (name: string) => ({
  filters: [{ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name, value: 'v' }] } }],
});

const httpAccepted: readonly Row[] = [
  ['a Service', route()],
  ['a Server', route({ backendRefs: [] }, toServer)],
  [
    'an EgressNetwork with a port',
    route({ backendRefs: [] }, { group: POLICY, kind: 'EgressNetwork', name: 'all', port: 443 }),
  ],
  [
    'every kind of match',
    route({
      matches: [
        {
          path: { type: 'RegularExpression', value: '/a.*' },
          headers: [{ type: 'RegularExpression', name: 'x-a', value: '.*' }],
          queryParams: [{ name: 'q', value: '1' }],
          method: 'GET',
        },
      ],
    }),
  ],
  ['headers', route(headers('x-a'))],
  [
    'a redirect',
    route({
      backendRefs: [],
      filters: [
        {
          type: 'RequestRedirect',
          requestRedirect: {
            scheme: 'https',
            port: 443,
            path: { type: 'ReplaceFullPath', replaceFullPath: '/x' },
            statusCode: 301,
          },
        },
      ],
    }),
  ],
  ['timeouts', route({ timeouts: { request: '10s', backendRequest: '1s' } })],
  ['a request timeout of none', route({ timeouts: { request: '0s', backendRequest: '1s' } })],
  [
    'retries',
    route(),
    {
      annotations: {
        'retry.linkerd.io/http': '5xx,gateway-error,429,500-504',
        'retry.linkerd.io/limit': '2',
        'retry.linkerd.io/timeout': '300ms',
      },
    },
  ],
  [
    'annotations of timeouts',
    route(),
    {
      annotations: {
        'timeout.linkerd.io/request': '1m',
        'timeout.linkerd.io/response': '1s',
        'timeout.linkerd.io/idle': '1h',
      },
    },
  ],
  [
    'annotations that do not count for a Server',
    route({ backendRefs: [] }, toServer),
    { annotations: { 'retry.linkerd.io/http': 'often' } },
  ],
];
const annotated = (key: string, value: string): Row => [`${key}: ${value}`, route(), { annotations: { [key]: value } }];
const httpRefused: readonly (readonly [Row, RegExp])[] = [
  [
    ['an EgressNetwork without a port', route({}, { group: POLICY, kind: 'EgressNetwork', name: 'all' })],
    /^spec\.parentRefs\[0\]\.port: found nothing/,
  ],
  [
    ['a path that is no expression', route({ matches: [{ path: { type: 'RegularExpression', value: '/(' } }] })],
    /^spec\.rules\[0\]\.matches\[0\]\.path\.value/,
  ],
  [
    [
      'a header that is no expression',
      route({ matches: [{ headers: [{ type: 'RegularExpression', name: 'a', value: '(' }] }] }),
    ],
    /^spec\.rules\[0\]\.matches\[0\]\.headers\[0\]\.value/,
  ],
  [
    [
      'a parameter that is no expression',
      route({ matches: [{ queryParams: [{ type: 'RegularExpression', name: 'a', value: '(' }] }] }),
    ],
    /queryParams\[0\]\.value/,
  ],
  [
    ['a header with a blank in its name', route({ matches: [{ headers: [{ name: 'a b', value: 'x' }] }] })],
    /headers\[0\]\.name/,
  ],
  [
    ['a relative path', route({ matches: [{ path: { type: 'PathPrefix', value: 'api' } }] })],
    /matches\[0\]\.path\.value/,
  ],
  [
    ['a filter with a bad header', route(headers('x a'))],
    /^spec\.rules\[0\]\.filters\[0\]\.requestHeaderModifier\.set\[0\]\.name/,
  ],
  [
    [
      'a filter that there is not',
      route({ filters: [{ type: 'ExtensionRef', extensionRef: { group: 'x', kind: 'y', name: 'z' } }] }),
    ],
    /^spec\.rules\[0\]\.filters\[0\]\.type: found "ExtensionRef"/,
  ],
  [
    [
      'a redirect with another status',
      route({ filters: [{ type: 'RequestRedirect', requestRedirect: { statusCode: 200 } }] }),
    ],
    /statusCode: found 200/,
  ],
  [
    [
      'a redirect by prefix for an exact path',
      route({
        matches: [{ path: { type: 'Exact', value: '/a' } }],
        filters: [
          {
            type: 'RequestRedirect',
            requestRedirect: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/b' } },
          },
        ],
      }),
    ],
    /requestRedirect\.path\.type/,
  ],
  [
    ['a negative timeout', route({ timeouts: { request: '-1s' } })],
    /^spec\.rules\[0\]\.timeouts\.request: found "-1s"/,
  ],
  [
    ['a longer timeout of each try', route({ timeouts: { request: '1s', backendRequest: '2s' } })],
    /^spec\.rules\[0\]\.timeouts\.backendRequest: found "2s"/,
  ],
  [annotated('retry.linkerd.io/http', '600'), /^metadata\.annotations\[retry\.linkerd\.io\/http\]: found "600"/],
  [annotated('retry.linkerd.io/grpc', 'internal'), /retry\.linkerd\.io\/grpc/],
  [annotated('retry.linkerd.io/limit', '-1'), /retry\.linkerd\.io\/limit/],
  [annotated('retry.linkerd.io/timeout', '1.5s'), /retry\.linkerd\.io\/timeout/],
  [annotated('timeout.linkerd.io/request', 'soon'), /timeout\.linkerd\.io\/request/],
  [annotated('timeout.linkerd.io/response', '-1s'), /timeout\.linkerd\.io\/response/],
  [annotated('timeout.linkerd.io/idle', '1'), /timeout\.linkerd\.io\/idle/],
];
const noPort: Row = ['a Service as backend without a port', route({ backendRefs: [{ name: 'web' }] })];
const listener: object = { name: 'gateway' };

rules(
  'HTTPRoute of our group',
  of(POLICY, 'HTTPRoute', 'v1beta3'),
  [...httpAccepted, noPort],
  [
    ...httpRefused,
    [
      ['a URLRewrite', route({ filters: [{ type: 'URLRewrite', urlRewrite: { hostname: 'a.example' } }] })],
      /filters\[0\]\.type/,
    ],
    [
      ['another shape', { parentRefs: [toService], rules: 'all' }],
      /^spec\.rules: found "all", allowed is a list of rules/,
    ],
  ],
);
rules(
  'HTTPRoute of the Gateway API',
  of(GATEWAY, 'HTTPRoute'),
  [
    ...httpAccepted,
    [
      'a URLRewrite',
      route({
        filters: [{ type: 'URLRewrite', urlRewrite: { path: { type: 'ReplaceFullPath', replaceFullPath: '/' } } }],
      }),
    ],
    ['a mirror', route({ filters: [{ type: 'RequestMirror', requestMirror: { backendRef: backend } }] })],
    ['session persistence', route({ sessionPersistence: { type: 'Cookie', sessionName: 's' } })],
    [
      "another controller's route, whatever it asks for",
      route({ filters: [{ type: 'ExtensionRef' }], backendRefs: [{ name: 'x' }] }, listener),
    ],
    ['a shape of a later version', { parentRefs: [toService], rules: 'all' }],
  ],
  [...httpRefused, [noPort, /^spec\.rules\[0\]\.backendRefs\[0\]\.port: found nothing/]],
);
rules(
  'GRPCRoute',
  of(GATEWAY, 'GRPCRoute'),
  [
    ['a Service', route()],
    ['a Server', route({ backendRefs: [] }, toServer)],
    [
      'a method',
      route({
        matches: [
          { method: { type: 'Exact', service: 'app.Votes', method: 'Vote' }, headers: [{ name: 'a', value: 'b' }] },
        ],
      }),
    ],
    ['retries', route(), { annotations: { 'retry.linkerd.io/grpc': 'unavailable,internal' } }],
  ],
  [
    [
      ['an expression for a method', route({ matches: [{ method: { type: 'RegularExpression', service: '.*' } }] })],
      /^spec\.rules\[0\]\.matches\[0\]\.method\.type/,
    ],
    [
      [
        'a header that is no expression',
        route({ matches: [{ headers: [{ type: 'RegularExpression', name: 'a', value: '(' }] }] }),
      ],
      /headers\[0\]\.value/,
    ],
    [['a filter with a bad header', route(headers('x a'))], /filters\[0\]/],
    [
      ['an EgressNetwork without a port', route({}, { group: POLICY, kind: 'EgressNetwork', name: 'all' })],
      /^spec\.parentRefs\[0\]\.port/,
    ],
    [noPort, /backendRefs\[0\]\.port/],
    [annotated('retry.linkerd.io/grpc', 'often'), /retry\.linkerd\.io\/grpc/],
    [annotated('retry.linkerd.io/http', '5xx'), /retry\.linkerd\.io\/http/],
    [annotated('timeout.linkerd.io/request', 'soon'), /timeout\.linkerd\.io\/request/],
  ],
);
for (const kind of ['TLSRoute', 'TCPRoute']) {
  rules(
    kind,
    of(GATEWAY, kind, 'v1alpha2'),
    [
      ['one rule', route()],
      ["another controller's rules", { parentRefs: [listener], rules: [{}, {}] }],
    ],
    [
      [
        ['two rules', { parentRefs: [toService], rules: [{ backendRefs: [backend] }, { backendRefs: [backend] }] }],
        /^spec\.rules: .*exactly one rule/,
      ],
      [['no rule', { parentRefs: [toService], rules: [] }], /^spec\.rules: .*exactly one rule/],
      [
        ['an EgressNetwork without a port', route({}, { group: POLICY, kind: 'EgressNetwork', name: 'all' })],
        /^spec\.parentRefs\[0\]\.port/,
      ],
      [noPort, /backendRefs\[0\]\.port/],
    ],
  );
}

const profile = (routes: object[], spec: object = {}) => ({ routes, ...spec });
const GET = { method: 'GET', pathRegex: '/x' };
const budget = (spec: object) =>
  profile([], { retryBudget: { retryRatio: 0.2, minRetriesPerSecond: 10, ttl: '10s', ...spec } });
const named = { name: 'web.app.svc.cluster.local' };
rules(
  'ServiceProfile',
  (row) => checkProfile(object('linkerd.io/v1alpha2', 'ServiceProfile', [row[0], row[1], { ...named, ...row[2] }])),
  [
    ['nothing', {}],
    ['a route', profile([{ name: 'GET /x', condition: GET, isRetryable: true, timeout: '300ms' }])],
    ['nested conditions', profile([{ name: 'a', condition: { any: [{ all: [GET, { not: { method: 'PUT' } }] }] } }])],
    [
      'response classes',
      profile([
        {
          name: 'a',
          condition: GET,
          responseClasses: [
            { condition: { status: { min: 500, max: 599 } }, isFailure: true },
            { condition: { not: { status: { min: 200 } } } },
          ],
        },
      ]),
    ],
    ['a budget', budget({})],
    [
      'overrides and ports',
      profile([], { dstOverrides: [{ authority: 'a.b.svc.cluster.local:80', weight: '500m' }], opaquePorts: ['3306'] }),
    ],
  ],
  [
    [['a name that is none', {}, { name: 'Web_1' }], /metadata\.name: found "Web_1"/],
    [['an unknown field', { routs: [] }], /spec\.routs: found a field that is not known/],
    [
      ['an unknown field of a condition', profile([{ name: 'a', condition: { ...GET, path: '/' } }])],
      /spec\.routes\[0\]\.condition\.path: found a field/,
    ],
    [
      [
        'an unknown field of a nested condition',
        profile([{ name: 'a', condition: { all: [{ verb: 'GET', method: 'GET' }] } }]),
      ],
      /condition\.all\[0\]\.verb/,
    ],
    [['no route at all', profile([null as unknown as object])], /spec\.routes\[0\]/],
    [['a route without a name', profile([{ condition: GET }])], /spec\.routes\[0\]\.name: found nothing/],
    [
      ['a route without a condition', profile([{ name: 'a' }])],
      /^ServiceProfile "web\.app\.svc\.cluster\.local" has a route with no condition: spec\.routes\[0\]\.condition/,
    ],
    [['an empty condition', profile([{ name: 'a', condition: {} }])], /spec\.routes\[0\]\.condition/],
    [
      ['nothing in a list', profile([{ name: 'a', condition: { all: [null] } }])],
      /spec\.routes\[0\]\.condition\.all\[0\]/,
    ],
    [['a path that is no expression', profile([{ name: 'a', condition: { pathRegex: '(' } }])], /pathRegex/],
    [
      ['a timeout that is none', profile([{ name: 'a', condition: GET, timeout: 'soon' }])],
      /spec\.routes\[0\]\.timeout/,
    ],
    [
      ['a class without a condition', profile([{ name: 'a', condition: GET, responseClasses: [{ isFailure: true }] }])],
      /responseClasses\[0\]\.condition/,
    ],
    [
      [
        'a class with an empty condition',
        profile([{ name: 'a', condition: GET, responseClasses: [{ condition: {} }] }]),
      ],
      /responseClasses\[0\]\.condition/,
    ],
    [
      [
        'a status below 100',
        profile([{ name: 'a', condition: GET, responseClasses: [{ condition: { status: { min: 99 } } }] }]),
      ],
      /status\.min/,
    ],
    [
      [
        'a status above 599',
        profile([{ name: 'a', condition: GET, responseClasses: [{ condition: { status: { max: 600 } } }] }]),
      ],
      /status\.max/,
    ],
    [
      [
        'a range backwards',
        profile([{ name: 'a', condition: GET, responseClasses: [{ condition: { status: { min: 500, max: 400 } } }] }]),
      ],
      /status\.max/,
    ],
    [['a negative ratio', budget({ retryRatio: -0.1 })], /retryBudget\.retryRatio/],
    [['a budget without a ttl', budget({ ttl: undefined })], /retryBudget\.ttl: found nothing/],
    [['a ttl that is none', budget({ ttl: '10' })], /retryBudget\.ttl/],
  ],
);

test('warns of a route of another shape, an authorization of nobody, and a profile of no Service', () => {
  const odd = object(`${GATEWAY}/v2`, 'HTTPRoute', [
    '',
    { parentRefs: [toService], rules: [{ matches: { all: true } }] },
  ]);
  assert.match(
    checkPolicy(GATEWAY, 'HTTPRoute', odd).warnings[0]!,
    /spec\.rules\[0\]\.matches: found \{"all":true\}, known is a list/,
  );
  const nobody = object(`${POLICY}/v1beta1`, 'ServerAuthorization', ['', saz({ meshTLS: null })]);
  assert.match(checkPolicy(POLICY, 'ServerAuthorization', nobody).warnings[0]!, /authorizes nobody: spec\.client: /);
  const alone = object('linkerd.io/v1alpha2', 'ServiceProfile', ['', {}]);
  assert.match(checkProfile(alone).warnings[0]!, /no Service is called web/);
});

test('warns of annotations of an EgressNetwork that are not read', () => {
  const annotations = { 'timeout.linkerd.io/request': 'soon' };
  const network = object(`${POLICY}/v1alpha1`, 'EgressNetwork', ['', { trafficPolicy: 'Allow' }, { annotations }]);
  assert.match(
    checkPolicy(POLICY, 'EgressNetwork', network).warnings[0]!,
    /^not in force: metadata\.annotations\[timeout\.linkerd\.io\/request\]: found "soon"/,
  );
});

test('refuses a kind that it has no rules for', () => {
  const { refusal } = checkPolicy(POLICY, 'Surprise', object(`${POLICY}/v1`, 'Surprise', ['', {}]));
  assert.match(refusal!, /Surprise\.policy\.linkerd\.io: found a kind/);
});
