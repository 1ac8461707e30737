/** Every rule of admission of routes, accepted and refused, with what the author is told. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { KubeObject } from '../kubernetes.ts';
import { parseEgressNetwork, readEgressNetwork } from '../policy/egress-network.ts';
import { parseGrpcRoute } from './grpc-route.ts';
import { parseHttpRoute, readHttpRoute } from './http-route.ts';
import { isGranted, parseReferenceGrant } from './reference-grant.ts';
import { parseTcpRoute } from './tcp-route.ts';
import { parseTlsRoute } from './tls-route.ts';

const SERVICE = { group: 'core', kind: 'Service', name: 'web', port: 80 };
const SERVER = { group: 'policy.linkerd.io', kind: 'Server', name: 'web' };
const EGRESS = { group: 'policy.linkerd.io', kind: 'EgressNetwork', name: 'out', port: 443 };

const TYPES = {
  policy: ['policy.linkerd.io/v1beta3', 'HTTPRoute', parseHttpRoute],
  http: ['gateway.networking.k8s.io/v1', 'HTTPRoute', parseHttpRoute],
  grpc: ['gateway.networking.k8s.io/v1', 'GRPCRoute', parseGrpcRoute],
  tls: ['gateway.networking.k8s.io/v1alpha2', 'TLSRoute', parseTlsRoute],
  tcp: ['gateway.networking.k8s.io/v1alpha2', 'TCPRoute', parseTcpRoute],
} as const;
type Type = keyof typeof TYPES;

function object(type: Type, spec: object, annotations: Record<string, string> = {}): KubeObject {
  const [apiVersion, kind] = TYPES[type];
  return { apiVersion, kind, metadata: { name: 'r', namespace: 'app', annotations }, spec };
}

/** What is said of a route; empty where it is let in. */
function told(type: Type, spec: object, annotations?: Record<string, string>): string {
  try {
    TYPES[type][2](object(type, { parentRefs: [SERVICE], ...spec }, annotations));
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

const withRule = (rule: object) => ({ rules: [rule] });
const withMatch = (match: object) => withRule({ matches: [match] });
const withFilter = (filter: object, more: object = {}) => withRule({ filters: [filter], ...more });
const backend = { name: 'v1', port: 80 };

const HTTP_REFUSED: [spec: object, message: string][] = [
  [
    { parentRefs: [{ ...EGRESS, port: undefined }] },
    'spec.parentRefs[0].port: found nothing, allowed is 1 to 65535: a parent of kind EgressNetwork needs one',
  ],
  [{ parentRefs: [{ ...SERVICE, port: 65536 }] }, 'spec.parentRefs[0].port: found 65536, allowed is 1 to 65535'],
  [
    { parentRefs: [{ ...SERVICE, name: undefined }] },
    'spec.parentRefs[0].name: found nothing, allowed is the name of an object',
  ],
  [
    { hostnames: ['10.0.0.1'] },
    'spec.hostnames[0]: found "10.0.0.1", allowed is a DNS name, or *. and one, and no address',
  ],
  [{ hostnames: ['a.*.b'] }, 'spec.hostnames[0]: found "a.*.b", allowed is a DNS name, or *. and one, and no address'],
  [
    withMatch({ path: { type: 'Exact', value: 'foo' } }),
    'spec.rules[0].matches[0].path.value: found "foo", allowed is an absolute path of at most 4096 characters',
  ],
  [
    withMatch({ path: { type: 'RegularExpression', value: '(' } }),
    'spec.rules[0].matches[0].path.value: found "(", allowed is a regular expression',
  ],
  [
    withMatch({ path: { type: 'RegularExpression', value: '(?=a)' } }),
    'spec.rules[0].matches[0].path.value: found "(?=a)", allowed is a regular expression',
  ],
  [
    withMatch({ headers: [{ name: 'a b', value: '1' }] }),
    'spec.rules[0].matches[0].headers[0].name: found "a b", allowed is the name of a header',
  ],
  [
    withMatch({ headers: [{ type: 'RegularExpression', name: 'a', value: '[' }] }),
    'spec.rules[0].matches[0].headers[0].value: found "[", allowed is a regular expression',
  ],
  [
    withMatch({ queryParams: [{ type: 'Sometimes', name: 'a', value: '1' }] }),
    'spec.rules[0].matches[0].queryParams[0].type: found "Sometimes", allowed is one of Exact, RegularExpression',
  ],
  [
    withFilter({ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'é', value: '1' }] } }),
    'spec.rules[0].filters[0].requestHeaderModifier.set[0].name: found "é", allowed is the name of a header',
  ],
  [
    withFilter({ type: 'RequestHeaderModifier', requestHeaderModifier: { add: [{ name: 'a', value: 'x\ny' }] } }),
    'spec.rules[0].filters[0].requestHeaderModifier.add[0].value: found "x\\ny", allowed is a value of a header',
  ],
  [
    withFilter({ type: 'RequestHeaderModifier' }),
    'spec.rules[0].filters[0].requestHeaderModifier: found nothing, allowed is an object that says what a RequestHeaderModifier does',
  ],
  [
    withFilter({
      type: 'RequestRedirect',
      requestRedirect: { path: { type: 'ReplaceFullPath', replaceFullPath: 'foo/bar' } },
    }),
    'spec.rules[0].filters[0].requestRedirect.path.replaceFullPath: found "foo/bar", allowed is an absolute path of at most 4096 characters',
  ],
  [
    withFilter(
      { type: 'RequestRedirect', requestRedirect: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/x' } } },
      { matches: [{ path: { type: 'Exact', value: '/a' } }] },
    ),
    'spec.rules[0].filters[0].requestRedirect.path.type: found "ReplacePrefixMatch", allowed is ReplaceFullPath where a match of the rule is not by PathPrefix',
  ],
  [
    withFilter({ type: 'RequestRedirect', requestRedirect: { statusCode: 200 } }),
    'spec.rules[0].filters[0].requestRedirect.statusCode: found 200, allowed is one of 301, 302, 303, 307, 308',
  ],
  [
    withRule({ timeouts: { request: '-1s' } }),
    'spec.rules[0].timeouts.request: found "-1s", allowed is a duration such as 10s, not negative',
  ],
  [
    withRule({ timeouts: { request: '1s', backendRequest: '2s' } }),
    'spec.rules[0].timeouts.backendRequest: found "2s", allowed is no more than timeouts.request',
  ],
  [
    withRule({ backendRefs: [{ ...backend, weight: -1 }] }),
    'spec.rules[0].backendRefs[0].weight: found -1, allowed is 0 to 1000000',
  ],
];

for (const [spec, message] of HTTP_REFUSED) {
  test(`an HTTPRoute of either group is refused: ${message}`, () => {
    assert.equal(told('http', spec), message);
    assert.equal(told('policy', spec), message);
  });
}

const REFUSED: [type: Type, spec: object, message: string][] = [
  [
    'http',
    withRule({ backendRefs: [{ name: 'v1' }] }),
    'spec.rules[0].backendRefs[0].port: found nothing, allowed is 1 to 65535: a backend of kind Service needs one',
  ],
  [
    'grpc',
    withRule({ backendRefs: [{ group: 'core', kind: 'Service', name: 'v1' }] }),
    'spec.rules[0].backendRefs[0].port: found nothing, allowed is 1 to 65535: a backend of kind Service needs one',
  ],
  [
    'http',
    withFilter({ type: 'ExtensionRef' }),
    'spec.rules[0].filters[0].type: found "ExtensionRef", allowed is one of RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite, RequestMirror',
  ],
  [
    'policy',
    withFilter({ type: 'URLRewrite', urlRewrite: {} }),
    'spec.rules[0].filters[0].type: found "URLRewrite", allowed is one of RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect',
  ],
  [
    'http',
    withRule({
      filters: [
        { type: 'URLRewrite', urlRewrite: {} },
        { type: 'RequestRedirect', requestRedirect: {} },
      ],
    }),
    'spec.rules[0].filters: found [{"type":"URLRewrite","urlRewrite":{}},{"type":"RequestRedirect","requestRedirec…, allowed is a URLRewrite or a RequestRedirect, not both',
  ],
  [
    'http',
    withFilter({ type: 'RequestMirror', requestMirror: { backendRef: backend, percent: 101 } }),
    'spec.rules[0].filters[0].requestMirror.percent: found 101, allowed is 0 to 100',
  ],
  [
    'http',
    withFilter({
      type: 'RequestMirror',
      requestMirror: { backendRef: backend, fraction: { numerator: 3, denominator: 2 } },
    }),
    'spec.rules[0].filters[0].requestMirror.fraction.numerator: found 3, allowed is 0 to the denominator, 2',
  ],
  [
    'http',
    withRule({ sessionPersistence: { cookieConfig: { lifetimeType: 'Permanent' } } }),
    'spec.rules[0].sessionPersistence.absoluteTimeout: found nothing, allowed is a duration: a Permanent cookie needs one',
  ],
  [
    'grpc',
    withMatch({ method: { type: 'RegularExpression', service: 'a.*' } }),
    'spec.rules[0].matches[0].method.type: found "RegularExpression", allowed is Exact; spec.rules[0].matches[0].method.service: found "a.*", allowed is a name of gRPC such as app.Votes',
  ],
  [
    'grpc',
    withMatch({ method: {} }),
    'spec.rules[0].matches[0].method: found {}, allowed is a service, a method or both',
  ],
  ['tls', { rules: [{}, {}] }, 'spec.rules: found [{},{}], allowed is exactly one rule'],
  ['tcp', { rules: [] }, 'spec.rules: found [], allowed is exactly one rule'],
  [
    'tcp',
    { parentRefs: [{ ...EGRESS, port: undefined }], rules: [{}] },
    'spec.parentRefs[0].port: found nothing, allowed is 1 to 65535: a parent of kind EgressNetwork needs one',
  ],
  [
    'http',
    { rules: [{ retry: { attempts: -1, codes: [99], backoff: 'soon' } }] },
    'spec.rules[0].retry.codes[0]: found 99, allowed is 400 to 599; spec.rules[0].retry.backoff: found "soon", allowed is a duration such as 10s, not negative; spec.rules[0].retry.attempts: found -1, allowed is 0 to 65535',
  ],
];

for (const [type, spec, message] of REFUSED) {
  test(`a ${type} route is refused: ${message}`, () => assert.equal(told(type, spec), message));
}

const ANNOTATIONS: [type: Type, key: string, value: string, allowed: string][] = [
  ['http', 'retry.linkerd.io/http', 'nonsense', 'a list such as 5xx,gateway-error,429,500-504'],
  ['http', 'retry.linkerd.io/http', '504-500', 'a list such as 5xx,gateway-error,429,500-504'],
  ['http', 'retry.linkerd.io/grpc', 'internal', 'retry.linkerd.io/http on an HTTPRoute'],
  ['grpc', 'retry.linkerd.io/http', '5xx', 'retry.linkerd.io/grpc on a GRPCRoute'],
  [
    'grpc',
    'retry.linkerd.io/grpc',
    'not-found',
    'a list of cancelled, deadline-exceeded, internal, resource-exhausted, unavailable',
  ],
  ['policy', 'retry.linkerd.io/limit', '65536', '0 to 65535'],
  ['policy', 'retry.linkerd.io/timeout', '1.5s', 'a whole number and ms, s, m, h or d'],
  ['http', 'timeout.linkerd.io/request', '-1s', 'a whole number and ms, s, m, h or d'],
  ['grpc', 'timeout.linkerd.io/response', '10', 'a whole number and ms, s, m, h or d'],
  ['http', 'timeout.linkerd.io/idle', 'soon', 'a whole number and ms, s, m, h or d'],
];

for (const [type, key, value, allowed] of ANNOTATIONS) {
  test(`a ${type} route of a Service is refused for ${key}: ${value}`, () => {
    assert.equal(
      told(type, {}, { [key]: value }),
      `metadata.annotations[${key}]: found "${value}", allowed is ${allowed}`,
    );
    assert.equal(told(type, { parentRefs: [SERVER] }, { [key]: value }), '');
  });
}

const ACCEPTED: [type: Type, spec: object, annotations?: Record<string, string>][] = [
  ['http', {}],
  ['policy', withMatch({ path: { value: '/a' }, headers: [{ name: 'A', value: '1' }], method: 'GET' })],
  ['policy', { parentRefs: [EGRESS], hostnames: ['*.example.com', 'EXAMPLE.org'] }],
  ['policy', withRule({ backendRefs: [{ name: 'v1' }] })],
  ['http', withRule({ backendRefs: [{ group: 'alien.example.com', kind: 'ExoService', name: 'x' }] })],
  ['http', withRule({ timeouts: { request: '0s', backendRequest: '5s' } })],
  [
    'http',
    withFilter({
      type: 'RequestMirror',
      requestMirror: { backendRef: { ...backend, namespace: 'other' }, percent: 100 },
    }),
  ],
  [
    'http',
    withFilter({
      type: 'URLRewrite',
      urlRewrite: { hostname: 'foo', path: { type: 'ReplaceFullPath', replaceFullPath: 'baz' } },
    }),
  ],
  ['http', { parentRefs: [SERVER], ...withFilter({ type: 'ExtensionRef' }) }],
  ['grpc', withMatch({ method: { method: 'foo', service: 'boo', type: 'Exact' } })],
  [
    'tls',
    {
      parentRefs: [EGRESS],
      rules: [{ backendRefs: [{ kind: 'EgressNetwork', group: 'policy.linkerd.io', name: 'out' }] }],
    },
  ],
  ['tcp', { rules: [{ backendRefs: [backend] }] }],
  [
    'http',
    {},
    {
      'retry.linkerd.io/http': '5xx,gateway-error,500-504',
      'retry.linkerd.io/limit': '0',
      'timeout.linkerd.io/idle': '1d',
    },
  ],
];

for (const [type, spec, annotations] of ACCEPTED) {
  test(`a ${type} route is let in: ${JSON.stringify([spec, annotations])}`, () => {
    assert.equal(told(type, spec, annotations), '');
  });
}

test('what is let in unsupported fails the rule all the same', () => {
  const spec = { parentRefs: [SERVER], rules: [{ filters: [{ type: 'CORS' }] }, {}] };
  const { route, problems } = readHttpRoute(object('http', spec));
  assert.deepEqual(problems, []);
  assert.match(route.rules[0]?.invalid ?? '', /found "CORS"/);
  assert.equal(route.rules[1]?.invalid, undefined);
});

test('input of any shape is refused and not thrown at', () => {
  const shapes: unknown[] = [null, 1, 'x', [], {}, [null], [1], { a: [] }];
  const fields = ['parentRefs', 'hostnames', 'rules'];
  const ofRule = ['name', 'matches', 'filters', 'backendRefs', 'timeouts', 'sessionPersistence'];
  for (const shape of shapes) {
    for (const type of Object.keys(TYPES) as Type[]) {
      for (const field of fields) assert.doesNotThrow(() => told(type, { [field]: shape }));
      for (const field of ofRule) assert.doesNotThrow(() => told(type, withRule({ [field]: shape })));
    }
  }
});

test('reads an EgressNetwork, and closes what it cannot read', () => {
  const network = (spec: object) => ({ metadata: { name: 'n', namespace: 'app' }, spec }) as KubeObject;
  const networks = [{ cidr: '10.1.1.0/24', except: ['10.1.1.0/28'] }];
  assert.equal(parseEgressNetwork(network({ trafficPolicy: 'Allow', networks })).networks?.length, 1);
  const refused: [spec: object, message: string][] = [
    [{}, 'spec.trafficPolicy: found nothing, allowed is Allow or Deny'],
    [
      { trafficPolicy: 'Allow', networks: [] },
      'spec.networks: found [], allowed is at least one network, or no such field',
    ],
    [
      { trafficPolicy: 'Deny', networks: [{ cidr: '10.0.0.0/33' }] },
      'spec.networks[0].cidr: found "10.0.0.0/33", allowed is an address or a network such as 10.0.0.0/8',
    ],
    [
      { trafficPolicy: 'Deny', networks: [{ cidr: '10.0.0.0/8', except: ['11.0.0.0/8'] }] },
      'spec.networks[0].except[0]: found "11.0.0.0/8", allowed is a part of the cidr',
    ],
  ];
  for (const [spec, message] of refused) {
    assert.throws(() => parseEgressNetwork(network(spec)), { code: 'INVALID_ARGUMENT', message });
    const read = readEgressNetwork(network(spec)).network;
    assert.ok(read.trafficPolicy === 'Deny' ? read.networks === undefined : read.networks?.length === 0);
  }
});

test('grants by kind and namespace of the route, and by kind and name of the target', () => {
  const route = { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'app', name: 'r', createdAtMs: 0 };
  const target = { group: '', kind: 'Service', namespace: 'data', name: 'db' };
  const from = { group: route.group, kind: route.kind, namespace: 'app' };
  const granted = (namespace: string, more: object, to: object) => {
    const spec = { from: [{ ...from, ...more }], to: [to] };
    return isGranted(parseReferenceGrant({ metadata: { name: 'g', namespace }, spec }), route, target);
  };
  assert.equal(granted('data', {}, { group: '', kind: 'Service' }), true);
  assert.equal(granted('data', {}, { group: '', kind: 'Service', name: 'db' }), true);
  assert.equal(granted('data', {}, { group: '', kind: 'Service', name: 'x' }), false);
  assert.equal(granted('app', {}, { group: '', kind: 'Service' }), false);
  assert.equal(granted('data', { kind: 'GRPCRoute' }, { group: '', kind: 'Service' }), false);
  assert.equal(granted('data', { namespace: 'x' }, { group: '', kind: 'Service' }), false);
});
