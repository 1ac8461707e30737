/** A row for each field of a route or an EgressNetwork: what is written, and what of it is on the wire. No field lacks one. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import { fieldsOf } from '../../testing/crd-fields.ts';
import {
  at,
  clusterService,
  EGRESS_PARENT,
  egressNetwork,
  OutboundWorld,
  type RouteOptions,
  route,
  SERVICE_PARENT,
} from '../../testing/outbound-world.ts';

type Kind = 'policy-http' | 'http' | 'grpc' | 'tls' | 'tcp';
type Path = readonly (string | number)[];

const CRDS: Record<Kind, string> = {
  'policy-http': 'http-route',
  http: 'gateway-http-route',
  grpc: 'gateway-grpc-route',
  tls: 'gateway-tls-route',
  tcp: 'gateway-tcp-route',
};
const ALL = Object.keys(CRDS) as Kind[];
const REQUESTS: Kind[] = ['policy-http', 'http', 'grpc'];
const GATEWAY: Kind[] = ['http', 'grpc', 'tls', 'tcp'];

const OBJECTS = [
  clusterService('web', '10.96.0.1'),
  clusterService('v1', '10.96.0.2'),
  clusterService('v1', '10.96.0.3', { namespace: 'data' }),
];
const WEB = '10.96.0.1:80';
const V1 = { name: 'v1', port: 80 };
const ROUTES: Record<Kind, Path> = {
  'policy-http': ['protocol', 'detect', 'http1', 'routes'],
  http: ['protocol', 'detect', 'http1', 'routes'],
  grpc: ['protocol', 'grpc', 'routes'],
  tls: ['protocol', 'tls', 'routes'],
  tcp: ['protocol', 'opaque', 'routes'],
};
const bytes = (text: string) => Buffer.from(text).toString('base64');

interface Row {
  /** That it is about. */
  fields: readonly string[];
  kinds: readonly Kind[];
  /** What is on the wire with a route of the kind that has the fields. */
  read: (kind: Kind) => JsonValue | undefined;
  wire: JsonValue | undefined;
}
const rows: Row[] = [];

const worldOf = (kind: Kind, rule: object, options: RouteOptions = {}) =>
  new OutboundWorld([...OBJECTS, route(kind, 'r', [rule], options)]);
const ruleOf = (kind: Kind, rule: object) => at(worldOf(kind, rule).wire(WEB), ...ROUTES[kind], 0, 'rules', 0);
const overlayOf = (kind: Kind, rule: object) => at(worldOf(kind, rule).overlay(WEB), 'httpRules', 0);
const add = (kinds: readonly Kind[], fields: string | readonly string[], read: Row['read'], wire: Row['wire']) =>
  rows.push({ fields: typeof fields === 'string' ? [fields] : fields, kinds, read, wire });
const inRule = (kinds: readonly Kind[], fields: string[], rule: object, path: Path, wire: Row['wire']) =>
  add(
    kinds,
    fields.map((field) => `spec.rules[].${field}`),
    (kind) => at(ruleOf(kind, rule), ...path),
    wire,
  );

// Parents: which Service, and which of its ports; whose routes these are is seen by where they are in force.
const isInForce = (parent: object) => (kind: Kind) => {
  const world = worldOf(kind, {}, { parents: [{ ...SERVICE_PARENT, port: undefined, ...parent }] });
  const name = (port: number) =>
    at(world.wire(`10.96.0.1:${port}`), ...ROUTES[kind], 0, 'metadata', 'resource', 'name');
  return [name(80) === 'r', name(81) === 'r'];
};
add(ALL, 'spec.parentRefs[].name', isInForce({ name: 'v1' }), [false, false]);
add(ALL, 'spec.parentRefs[].namespace', isInForce({ namespace: 'data' }), [false, false]);
add(ALL, 'spec.parentRefs[].kind', isInForce({ kind: 'Pod' }), [false, false]);
add(ALL, 'spec.parentRefs[].group', isInForce({ group: 'apps' }), [false, false]);
add(ALL, 'spec.parentRefs[].group', isInForce({ group: '' }), [true, true]);
add(ALL, 'spec.parentRefs[].port', isInForce({ port: 81 }), [false, true]);
add(ALL, 'spec.parentRefs[].sectionName', isInForce({ sectionName: 'other' }), [false, true]);

const hosts = (kind: Kind) =>
  at(
    worldOf(kind, {}, { hostnames: ['A.example', '*.b.example'] }).wire(WEB),
    ...ROUTES[kind],
    0,
    kind === 'tls' ? 'snis' : 'hosts',
  );
add([...REQUESTS, 'tls'], 'spec.hostnames[]', hosts, [
  { exact: 'a.example' },
  { suffix: { reverseLabels: ['example', 'b'] } },
]);

const metadata = (kind: Kind) =>
  at(worldOf(kind, { name: 'first' }).wire(WEB), ...ROUTES[kind], 0, 'metadata', 'resource', 'section');
add(['http', 'grpc'], 'spec.rules[].name', metadata, 'first');
// Connections have one rule, which needs no name to be told apart.
add(['tls', 'tcp'], 'spec.rules[].name', metadata, undefined);
// That of Gateways, which are not the mesh's.
add(GATEWAY, 'spec.useDefaultGateways', isInForce({}), [true, true]);

const inMatch = (kinds: Kind[], fields: string[], match: object, wire: object) =>
  inRule(
    kinds,
    fields.map((field) => `matches[].${field}`),
    { matches: [match] },
    ['matches', 0],
    wire as JsonValue,
  );
const HTTP: Kind[] = ['policy-http', 'http'];
const ROOT = { path: { prefix: '/' } };
const PATH = ['path.type', 'path.value'];
inMatch(HTTP, [], {}, ROOT);
inMatch(HTTP, PATH, { path: { type: 'Exact', value: '/a' } }, { path: { exact: '/a' } });
inMatch(HTTP, PATH, { path: { type: 'PathPrefix', value: '/a' } }, { path: { prefix: '/a' } });
inMatch(HTTP, PATH, { path: { type: 'RegularExpression', value: '/a+' } }, { path: { regex: '/a+' } });
inMatch(HTTP, PATH, { path: { value: '/b' } }, { path: { prefix: '/b' } });
const HEADER = ['headers[].type', 'headers[].name', 'headers[].value'];
for (const [kinds, base] of [
  [HTTP, ROOT],
  [['grpc'], {}],
] as [Kind[], object][]) {
  inMatch(
    kinds,
    HEADER,
    { headers: [{ name: 'X-A', value: '1' }] },
    { ...base, headers: [{ name: 'x-a', exact: bytes('1') }] },
  );
  const regex = { type: 'RegularExpression', name: 'x', value: '.*' };
  inMatch(kinds, HEADER, { headers: [regex] }, { ...base, headers: [{ name: 'x', regex: '.*' }] });
}
const QUERY = ['queryParams[].type', 'queryParams[].name', 'queryParams[].value'];
inMatch(
  HTTP,
  QUERY,
  { queryParams: [{ name: 'Q', value: '1' }] },
  { ...ROOT, queryParams: [{ name: 'Q', exact: '1' }] },
);
const query = { type: 'RegularExpression', name: 'q', value: '[12]' };
inMatch(HTTP, QUERY, { queryParams: [query] }, { ...ROOT, queryParams: [{ name: 'q', regex: '[12]' }] });
inMatch(HTTP, ['method'], { method: 'DELETE' }, { ...ROOT, method: { registered: 'DELETE' } });
const METHOD = ['method.type', 'method.service', 'method.method'];
inMatch(
  ['grpc'],
  METHOD,
  { method: { type: 'Exact', service: 'a.B', method: 'C' } },
  { rpc: { service: 'a.B', method: 'C' } },
);
inMatch(['grpc'], METHOD, { method: { service: 'a.B' } }, { rpc: { service: 'a.B' } });
inMatch(['grpc'], METHOD, { method: { method: 'C' } }, { rpc: { method: 'C' } });

/** A filter of rules and of their backends: on the wire, in the overlay, or as what the rule fails with. */
function addFilter(
  kinds: readonly Kind[],
  names: string | string[],
  filter: object,
  { wire, overlay }: { wire?: JsonValue; overlay?: object },
): void {
  const fields = [names].flat().map((name) => `filters[].${name}`);
  const rule = { filters: [filter] };
  const backend = { backendRefs: [{ ...V1, filters: [filter] }] };
  const place = ['backends', 'randomAvailable', 'backends', 0, 'backend', 'filters', 0];
  if (wire !== undefined) {
    inRule(kinds, fields, rule, ['filters', 0], wire);
    inRule(
      kinds,
      fields.map((field) => `backendRefs[].${field}`),
      backend,
      place,
      wire,
    );
  }
  if (overlay === undefined) return;
  const of = (prefix: string) => fields.map((field) => `spec.rules[].${prefix}${field}`);
  add(kinds, of(''), (kind) => overlayOf(kind, rule), overlay as JsonValue);
  add(kinds, of('backendRefs[].'), (kind) => at(overlayOf(kind, backend), 'backends', 0), overlay as JsonValue);
}

const modifier = { set: [{ name: 'A', value: '1' }], add: [{ name: 'B', value: '2' }], remove: ['C'] };
const wireModifier = {
  set: { headers: [{ name: 'a', value: bytes('1') }] },
  add: { headers: [{ name: 'b', value: bytes('2') }] },
  remove: ['c'],
};
const headersOf = (name: string) =>
  ['set[].name', 'set[].value', 'add[].name', 'add[].value', 'remove[]'].map((part) => `${name}.${part}`);
const request = { type: 'RequestHeaderModifier', requestHeaderModifier: modifier };
addFilter(REQUESTS, ['type', ...headersOf('requestHeaderModifier')], request, {
  wire: { requestHeaderModifier: wireModifier },
});
const response = { type: 'ResponseHeaderModifier', responseHeaderModifier: modifier };
const ofResponse = headersOf('responseHeaderModifier');
addFilter(HTTP, ofResponse, response, { wire: { responseHeaderModifier: wireModifier } });
addFilter(['grpc'], ofResponse, response, { overlay: { responseHeaders: [wireModifier] } });

const redirect = (name: string | string[], requestRedirect: object, wire: object) =>
  addFilter(
    HTTP,
    [name].flat().map((each) => `requestRedirect.${each}`),
    { type: 'RequestRedirect', requestRedirect },
    {
      wire: { redirect: { status: 302, ...wire } } as JsonValue,
    },
  );
redirect('scheme', { scheme: 'https' }, { scheme: { registered: 'HTTPS' } });
redirect('hostname', { hostname: 'B.example' }, { host: 'b.example' });
redirect('port', { port: 8443 }, { port: 8443 });
redirect('statusCode', { statusCode: 308 }, { status: 308 });
const FULL = { path: { type: 'ReplaceFullPath', replaceFullPath: '/x' } };
const PREFIX = { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/x' } };
redirect(['path.type', 'path.replaceFullPath'], FULL, { path: { full: '/x' } });
redirect(['path.type', 'path.replacePrefixMatch'], PREFIX, { path: { prefix: '/x' } });

const refusal = {
  failureInjector: { status: 500, message: "needs Tulle's proxy", ratio: { numerator: 1, denominator: 1 } },
};
const rewrite = (names: string[], urlRewrite: object, overlay: object) =>
  addFilter(
    ['http'],
    names.map((name) => `urlRewrite.${name}`),
    { type: 'URLRewrite', urlRewrite },
    {
      wire: refusal,
      overlay: { hasRefusal: true, urlRewrite: overlay },
    },
  );
rewrite(['hostname'], { hostname: 'v1.example' }, { host: 'v1.example' });
rewrite(['path.type', 'path.replaceFullPath'], FULL, { full: '/x' });
rewrite(['path.type', 'path.replacePrefixMatch'], PREFIX, { prefix: '/x' });

const copy = (names: string[], requestMirror: object, more: object) => {
  const to = {
    authority: 'v1.app.svc.cluster.local:80',
    group: 'core',
    kind: 'Service',
    namespace: 'app',
    name: 'v1',
    port: 80,
  };
  const mirror = { ...to, numerator: 100, denominator: 100, ...more };
  const fields = names.map((name) => `requestMirror.${name}`);
  addFilter(
    ['http', 'grpc'],
    fields,
    { type: 'RequestMirror', requestMirror: { backendRef: V1, ...requestMirror } },
    { overlay: { mirrors: [mirror] } },
  );
};
copy(
  ['backendRef.name', 'backendRef.port', 'backendRef.group', 'backendRef.kind'],
  { backendRef: { group: '', kind: 'Service', ...V1 } },
  {},
);
const inData = { namespace: 'data', authority: 'v1.data.svc.cluster.local:80' };
copy(['backendRef.namespace'], { backendRef: { ...V1, namespace: 'data' } }, inData);
copy(['percent'], { percent: 5 }, { numerator: 5 });
copy(
  ['fraction.numerator', 'fraction.denominator'],
  { fraction: { numerator: 1, denominator: 3 } },
  { numerator: 1, denominator: 3 },
);

/** Nobody carries these out, so what they are for fails. */
for (const [type, body, parts] of [
  ['ExtensionRef', 'extensionRef', ['group', 'kind', 'name']],
  [
    'CORS',
    'cors',
    ['allowOrigins[]', 'allowCredentials', 'allowMethods[]', 'allowHeaders[]', 'exposeHeaders[]', 'maxAge'],
  ],
  [
    'ExternalAuth',
    'externalAuth',
    [
      'protocol',
      ...['group', 'kind', 'name', 'namespace', 'port'].map((part) => `backendRef.${part}`),
      'grpc.allowedHeaders[]',
      'http.path',
      'http.allowedHeaders[]',
      'http.allowedResponseHeaders[]',
      'forwardBody.maxSize',
    ],
  ],
] as [string, string, string[]][]) {
  const kinds: Kind[] = type === 'ExtensionRef' ? ['http', 'grpc'] : ['http'];
  const failed = (prefix: string, rule: object, ...path: Path) =>
    add(
      kinds,
      parts.map((part) => `spec.rules[].${prefix}filters[].${body}.${part}`),
      (kind) => {
        const injector = at(ruleOf(kind, rule), ...path, 'filters', 0, 'failureInjector');
        const isNamed = String(at(injector, 'message')).includes(`.type: found "${type}"`);
        return isNamed && at(injector, ...(kind === 'grpc' ? ['code'] : ['status'])) === (kind === 'grpc' ? 14 : 500);
      },
      true,
    );
  const filters = [{ type }];
  failed('', { filters });
  const ofBackend = ['backends', 'randomAvailable', 'backends', 0, 'backend'];
  failed('backendRefs[].', { backendRefs: [{ ...V1, filters }] }, ...ofBackend);
}

const backendOf = (backend: object) => (kind: Kind) => {
  const found = at(ruleOf(kind, { backendRefs: [backend] }), 'backends', 'randomAvailable', 'backends', 0);
  const message =
    at(found, 'backend', 'filters', 0, 'failureInjector', 'message') ??
    at(found, 'backend', 'filters', 0, 'invalid', 'message');
  return [
    at(found, 'weight') ?? 0,
    at(found, 'backend', 'backend', 'balancer', 'discovery', 'dst', 'path') ?? message,
  ] as JsonValue;
};
const backend = (fields: string[], ref: object, wire: JsonValue) =>
  add(
    ALL,
    fields.map((field) => `spec.rules[].backendRefs[].${field}`),
    backendOf(ref),
    wire,
  );
backend(['name', 'port'], V1, [1, 'v1.app.svc.cluster.local:80']);
backend(['namespace'], { ...V1, namespace: 'data' }, [1, 'v1.data.svc.cluster.local:80']);
backend(['weight'], { ...V1, weight: 0 }, [0, 'v1.app.svc.cluster.local:80']);
backend(['weight'], { ...V1, weight: 9 }, [9, 'v1.app.svc.cluster.local:80']);
backend(['group', 'kind'], { ...V1, group: 'apps', kind: 'Deployment' }, [
  1,
  'unsupported backend type apps Deployment',
]);

const HTTP_RULE = 'spec.rules[].';
const timeouts = { timeouts: { request: '1m30s', backendRequest: '2s' } };
add(HTTP, [`${HTTP_RULE}timeouts.request`], (kind) => at(ruleOf(kind, timeouts), 'timeouts'), { request: '90s' });
// That of each try is checked against the whole, and has no effect, as in Linkerd.
add(HTTP, [`${HTTP_RULE}timeouts.backendRequest`], (kind) => at(ruleOf(kind, timeouts), 'retry'), undefined);
const retried = (retry: object) => (kind: Kind) => at(ruleOf(kind, { retry }), 'retry');
const backoff = { minBackoff: '0.025s', maxBackoff: '0.250s', jitterRatio: 1 };
const tries = {
  maxRetries: 1,
  maxRequestBytes: 65536,
  conditions: { statusRanges: [{ start: 502, end: 504 }] },
  backoff,
};
add(['http'], `${HTTP_RULE}retry.attempts`, retried({ attempts: 3 }), { ...tries, maxRetries: 3 });
const codes = {
  statusRanges: [
    { start: 500, end: 500 },
    { start: 429, end: 429 },
  ],
};
add(['http'], `${HTTP_RULE}retry.codes[]`, retried({ codes: [500, 429] }), { ...tries, conditions: codes });
add(['http'], `${HTTP_RULE}retry.backoff`, retried({ backoff: '1s' }), {
  ...tries,
  backoff: { ...backoff, minBackoff: '1s', maxBackoff: '1s' },
});

const session = (fields: string[], sessionPersistence: object, wire: object) =>
  add(
    ['http', 'grpc'],
    fields.map((field) => `${HTTP_RULE}sessionPersistence.${field}`),
    (kind) => at(overlayOf(kind, { sessionPersistence }), 'sessionPersistence'),
    wire as JsonValue,
  );
session(['sessionName'], { sessionName: 'id' }, { name: 'id' });
session(['type'], { sessionName: 'X-Id', type: 'Header' }, { kind: 'HEADER', name: 'X-Id' });
session(
  ['absoluteTimeout'],
  { sessionName: 'id', absoluteTimeout: '1h' },
  { name: 'id', absoluteTimeoutMs: '3600000' },
);
session(['idleTimeout'], { sessionName: 'id', idleTimeout: '5m' }, { name: 'id', idleTimeoutMs: '300000' });
const permanent = { sessionName: 'id', absoluteTimeout: '1h', cookieConfig: { lifetimeType: 'Permanent' } };
session(['cookieConfig.lifetimeType'], permanent, { name: 'id', absoluteTimeoutMs: '3600000', isPermanent: true });

for (const { fields, kinds, read, wire } of rows) {
  for (const kind of kinds) {
    const title = fields.length > 2 ? `${fields[0]} and ${fields.length - 1} beside it` : fields.join(' and ');
    test(`${kind}: ${title || 'a match of nothing'}`, () => assert.deepEqual(read(kind), wire));
  }
}

const EGRESS: [field: string, spec: object, targets: Record<string, string>][] = [
  ['spec.trafficPolicy', { trafficPolicy: 'Allow' }, { '8.8.8.8:80': 'http-egress-allow' }],
  ['spec.trafficPolicy', { trafficPolicy: 'Deny' }, { '8.8.8.8:80': 'http-egress-deny' }],
  [
    'spec.networks[].cidr',
    { trafficPolicy: 'Deny', networks: [{ cidr: '8.0.0.0/8' }, { cidr: '2001:db8::/32' }] },
    { '8.8.8.8:80': 'http-egress-deny', '2001:db8::1:80': 'http-egress-deny', '9.9.9.9:80': 'egress-fallback' },
  ],
  [
    'spec.networks[].except[]',
    { trafficPolicy: 'Deny', networks: [{ cidr: '8.0.0.0/8', except: ['8.8.0.0/16'] }] },
    { '8.1.1.1:80': 'http-egress-deny', '8.8.8.8:80': 'egress-fallback' },
  ],
];

for (const [field, spec, targets] of EGRESS) {
  test(`EgressNetwork: ${field} ${JSON.stringify(spec)}`, () => {
    const world = new OutboundWorld([egressNetwork(EGRESS_PARENT.name, spec as Record<string, unknown>)]);
    const names = Object.keys(targets).map((target) => [
      target,
      at(world.wire(target), ...ROUTES.http, 0, 'metadata', 'default'),
    ]);
    assert.deepEqual(Object.fromEntries(names), targets);
  });
}

for (const kind of ALL) {
  test(`every field of ${CRDS[kind]} has a row`, () => {
    const told = new Set(rows.filter(({ kinds }) => kinds.includes(kind)).flatMap(({ fields }) => fields));
    assert.deepEqual(
      fieldsOf(CRDS[kind]).filter((field) => !told.has(field)),
      [],
    );
  });
}

test('every field of egress-network has a row', () => {
  const told = new Set(EGRESS.map(([field]) => field));
  assert.deepEqual(
    fieldsOf('egress-network').filter((field) => !told.has(field)),
    [],
  );
});
