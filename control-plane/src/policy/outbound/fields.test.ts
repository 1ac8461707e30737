/** Each field of a route, an EgressNetwork or an annotation, and what it becomes on the wire. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
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
const BACKENDS = [
  clusterService('v1', '10.96.0.2'),
  clusterService('v2', '10.96.0.3'),
  clusterService('db', '10.96.0.4', { namespace: 'data' }),
];
const BASE = [WEB, ...BACKENDS];
const V1 = { name: 'v1', port: 80 };

const http = (json: JsonValue) => at(json, 'protocol', 'detect', 'http1', 'routes');
const rule = (routes: JsonValue | undefined) => at(routes, 0, 'rules', 0);
const bytes = (text: string) => Buffer.from(text).toString('base64');

/** The one rule of the one HTTP route of `app/web:80`. */
function httpRule(rules: object[], options: Parameters<typeof route>[3] = {}, kind: 'http' | 'policy-http' = 'http') {
  return rule(http(new OutboundWorld([...BASE, route(kind, 'r', rules, options)]).wire('10.96.0.1:80')));
}

function grpcRule(rules: object[], options: Parameters<typeof route>[3] = {}) {
  const wire = new OutboundWorld([...BASE, route('grpc', 'r', rules, options)]).wire('10.96.0.1:80');
  return rule(at(wire, 'protocol', 'grpc', 'routes'));
}

const match = (value: object) => at(httpRule([{ matches: [value] }]), 'matches', 0);
const filter = (value: object) => at(httpRule([{ filters: [value] }]), 'filters', 0);
const annotated = (annotations: Record<string, string>) => httpRule([{}], { annotations });

const MATCHES: [title: string, field: object, wire: JsonValue][] = [
  ['nothing', {}, { path: { prefix: '/' } }],
  ['path Exact', { path: { type: 'Exact', value: '/a' } }, { path: { exact: '/a' } }],
  ['path PathPrefix', { path: { type: 'PathPrefix', value: '/a' } }, { path: { prefix: '/a' } }],
  ['path RegularExpression', { path: { type: 'RegularExpression', value: '/a+' } }, { path: { regex: '/a+' } }],
  ['a path without a type', { path: { value: '/b' } }, { path: { prefix: '/b' } }],
  [
    'header Exact',
    { headers: [{ name: 'X-A', value: '1' }] },
    { path: { prefix: '/' }, headers: [{ name: 'x-a', exact: bytes('1') }] },
  ],
  [
    'header RegularExpression',
    { headers: [{ type: 'RegularExpression', name: 'x', value: '.*' }] },
    { path: { prefix: '/' }, headers: [{ name: 'x', regex: '.*' }] },
  ],
  [
    'query Exact',
    { queryParams: [{ name: 'q', value: '1' }] },
    { path: { prefix: '/' }, queryParams: [{ name: 'q', exact: '1' }] },
  ],
  [
    'query RegularExpression',
    { queryParams: [{ type: 'RegularExpression', name: 'q', value: '[12]' }] },
    { path: { prefix: '/' }, queryParams: [{ name: 'q', regex: '[12]' }] },
  ],
  ['method', { method: 'DELETE' }, { path: { prefix: '/' }, method: { registered: 'DELETE' } }],
];

for (const [title, field, wire] of MATCHES) {
  test(`a match of ${title}`, () => assert.deepEqual(match(field), wire));
}

const headers = { set: [{ name: 'A', value: '1' }], add: [{ name: 'B', value: '2' }], remove: ['C'] };
const wireHeaders = {
  set: { headers: [{ name: 'a', value: bytes('1') }] },
  add: { headers: [{ name: 'b', value: bytes('2') }] },
  remove: ['c'],
};
const redirect = (body: object) => ({ type: 'RequestRedirect', requestRedirect: body });
const FILTERS: [title: string, field: object, wire: JsonValue][] = [
  [
    'RequestHeaderModifier',
    { type: 'RequestHeaderModifier', requestHeaderModifier: headers },
    { requestHeaderModifier: wireHeaders },
  ],
  [
    'ResponseHeaderModifier',
    { type: 'ResponseHeaderModifier', responseHeaderModifier: headers },
    { responseHeaderModifier: wireHeaders },
  ],
  ['RequestRedirect by default', redirect({}), { redirect: { status: 302 } }],
  [
    'RequestRedirect scheme',
    redirect({ scheme: 'https' }),
    { redirect: { scheme: { registered: 'HTTPS' }, status: 302 } },
  ],
  ['RequestRedirect hostname', redirect({ hostname: 'B.example' }), { redirect: { host: 'b.example', status: 302 } }],
  ['RequestRedirect port', redirect({ port: 8443, statusCode: 301 }), { redirect: { port: 8443, status: 301 } }],
  [
    'RequestRedirect of the full path',
    redirect({ path: { type: 'ReplaceFullPath', replaceFullPath: '/x' } }),
    { redirect: { path: { full: '/x' }, status: 302 } },
  ],
  [
    'RequestRedirect of the prefix',
    redirect({ path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/x' } }),
    { redirect: { path: { prefix: '/x' }, status: 302 } },
  ],
];

for (const [title, field, wire] of FILTERS) {
  test(`filter ${title}`, () => assert.deepEqual(filter(field), wire));
}

test('timeouts.request of a rule, and not backendRequest', () => {
  const read = httpRule([{ timeouts: { request: '1m30s', backendRequest: '2s' } }]);
  assert.deepEqual(at(read, 'timeouts'), { request: '90s' });
  assert.deepEqual(at(read, 'requestTimeout'), '90s');
  assert.deepEqual(at(httpRule([{ timeouts: { request: '0s' } }]), 'timeouts'), {});
});

const backoff = { minBackoff: '0.025s', maxBackoff: '0.250s', jitterRatio: 1 };
const retry = (more: object) => ({ maxRetries: 1, maxRequestBytes: 65536, backoff, ...more });
const ANNOTATIONS: [title: string, annotations: Record<string, string>, part: 'retry' | 'timeouts', wire: JsonValue][] =
  [
    [
      'retry http 5xx',
      { 'retry.linkerd.io/http': '5xx' },
      'retry',
      retry({ conditions: { statusRanges: [{ start: 500, end: 599 }] } }),
    ],
    [
      'retry http list',
      { 'retry.linkerd.io/http': 'gateway-error,429,500-504' },
      'retry',
      retry({
        conditions: {
          statusRanges: [
            { start: 502, end: 504 },
            { start: 429, end: 429 },
            { start: 500, end: 504 },
          ],
        },
      }),
    ],
    [
      'only a limit: no statuses',
      { 'retry.linkerd.io/limit': '3' },
      'retry',
      { ...retry({ conditions: {} }), maxRetries: 3 },
    ],
    [
      'only a timeout: no statuses',
      { 'retry.linkerd.io/timeout': '400ms' },
      'retry',
      retry({ conditions: {}, timeout: '0.400s' }),
    ],
    ['timeout request', { 'timeout.linkerd.io/request': '5s' }, 'timeouts', { request: '5s' }],
    ['timeout response', { 'timeout.linkerd.io/response': '5s' }, 'timeouts', { response: '5s' }],
    ['timeout idle', { 'timeout.linkerd.io/idle': '1h' }, 'timeouts', { idle: '3600s' }],
  ];

for (const [title, annotations, part, wire] of ANNOTATIONS) {
  test(`annotation ${title}, of a route and of a Service`, () => {
    assert.deepEqual(at(annotated(annotations), part), wire);
    const onService = new OutboundWorld([clusterService('web', '10.96.0.1', { annotations })]);
    assert.deepEqual(at(rule(http(onService.wire('10.96.0.1:80'))), part), wire);
  });
}

test('a limit of 0 asks for nothing', () =>
  assert.equal(at(annotated({ 'retry.linkerd.io/limit': '0' }), 'retry'), undefined));

test('annotations of gRPC: conditions by their names', () => {
  const annotations = {
    'retry.linkerd.io/grpc': 'cancelled,deadline-exceeded,internal,resource-exhausted,unavailable',
  };
  const all = { cancelled: true, deadineExceeded: true, internal: true, resourceExhausted: true, unavailable: true };
  assert.deepEqual(at(grpcRule([{}], { annotations }), 'retry', 'conditions'), all);
  const onService = [clusterService('web', '10.96.0.1', { annotations }), ...BACKENDS, route('grpc', 'r', [{}])];
  const wire = new OutboundWorld(onService).wire('10.96.0.1:80');
  assert.deepEqual(at(rule(at(wire, 'protocol', 'grpc', 'routes')), 'retry', 'conditions'), all);
});

test('annotations of a route win over those of its Service, each kind as a whole', () => {
  const annotations = {
    'timeout.linkerd.io/idle': '1s',
    'retry.linkerd.io/http': '500',
    'retry.linkerd.io/limit': '7',
  };
  const web = clusterService('web', '10.96.0.1', { annotations });
  const read = (own: Record<string, string>) =>
    rule(http(new OutboundWorld([web, route('http', 'r', [{}], { annotations: own })]).wire('10.96.0.1:80')));
  assert.deepEqual(at(read({}), 'timeouts'), { idle: '1s' });
  assert.equal(at(read({}), 'retry', 'maxRetries'), 7);
  const own = read({ 'timeout.linkerd.io/request': '2s', 'retry.linkerd.io/http': '5xx' });
  assert.deepEqual(at(own, 'timeouts'), { request: '2s' });
  assert.equal(at(own, 'retry', 'maxRetries'), 1);
  const rules = [{ timeouts: { request: '9s' } }];
  const byField = new OutboundWorld([web, route('http', 'r', rules)]).wire('10.96.0.1:80');
  assert.deepEqual(at(rule(http(byField)), 'timeouts'), { request: '9s' });
  const both = { annotations: { 'timeout.linkerd.io/request': '3s' } };
  assert.deepEqual(at(httpRule(rules, both), 'timeouts'), { request: '3s' });
});

test('hostnames: exact, and a suffix by its labels from the right', () => {
  const world = new OutboundWorld([
    ...BASE,
    route('http', 'r', [{}], { hostnames: ['A.example.com', '*.example.org'] }),
  ]);
  assert.deepEqual(at(http(world.wire('10.96.0.1:80')), 0, 'hosts'), [
    { exact: 'a.example.com' },
    { suffix: { reverseLabels: ['org', 'example'] } },
  ]);
});

test('gRPC matches by service, method and headers', () => {
  const read = (value: object) => at(grpcRule([{ matches: [value] }]), 'matches', 0);
  assert.deepEqual(read({ method: { service: 'a.B', method: 'C' } }), { rpc: { service: 'a.B', method: 'C' } });
  assert.deepEqual(read({ method: { type: 'Exact', service: 'a.B' } }), { rpc: { service: 'a.B' } });
  assert.deepEqual(read({ headers: [{ name: 'X', value: '1' }] }), { headers: [{ name: 'x', exact: bytes('1') }] });
  assert.deepEqual(at(grpcRule([{}]), 'matches'), [{}]);
});

const balancer = (name: string, namespace = 'app', port = 80) => ({
  metadata: { resource: { group: 'core', kind: 'Service', namespace, name, port } },
  queue: { capacity: 100, failfastTimeout: '3s' },
  balancer: {
    discovery: { dst: { path: `${name}.${namespace}.svc.cluster.local:${port}` } },
    peakEwma: { defaultRtt: '0.030s', decay: '10s' },
  },
});
const failing = (metadata: JsonValue, message: string, status = 500) => ({
  backend: { metadata, queue: { capacity: 100, failfastTimeout: '3s' } },
  filters: [{ failureInjector: { status, message } }],
});
const named = (name: string, more: object = {}) => ({
  resource: { group: 'core', kind: 'Service', namespace: 'app', name, port: 80, ...more },
});
const INVALID = { default: 'invalid' };

test('no backendRefs: the parent', () => {
  assert.deepEqual(at(httpRule([{}]), 'backends'), { firstAvailable: { backends: [{ backend: balancer('web') }] } });
});

test('backendRefs: name, namespace, port and weight, also 0', () => {
  const backendRefs = [
    { ...V1, weight: 0 },
    { name: 'v2', port: 81, weight: 9 },
    { name: 'db', namespace: 'data', port: 80 },
  ];
  assert.deepEqual(at(httpRule([{ backendRefs }]), 'backends', 'randomAvailable', 'backends'), [
    { backend: { backend: balancer('v1') } },
    { weight: 9, backend: { backend: balancer('v2', 'app', 81) } },
    { weight: 1, backend: { backend: balancer('db', 'data') } },
  ]);
});

test('a backend that is nothing fails its share, in HTTP and in gRPC', () => {
  const backendRefs: [object, JsonValue, string][] = [
    [{ name: 'gone', port: 80 }, named('gone'), 'Service not found gone'],
    [{ name: 'v1' }, INVALID, 'missing port for backend Service v1'],
    [{ group: 'apps', kind: 'Deployment', name: 'v1', port: 1 }, INVALID, 'unsupported backend type apps Deployment'],
    [
      { group: 'policy.linkerd.io', kind: 'EgressNetwork', name: 'none', port: 443 },
      { resource: { group: 'policy.linkerd.io', kind: 'EgressNetwork', namespace: 'app', name: 'none', port: 443 } },
      'EgressNetwork not found none',
    ],
  ];
  for (const [ref, metadata, message] of backendRefs) {
    const rules = [{ backendRefs: [ref, V1] }];
    const path = ['backends', 'randomAvailable', 'backends', 0] as const;
    assert.deepEqual(at(httpRule(rules), ...path), { weight: 1, backend: failing(metadata, message) });
    assert.deepEqual(at(grpcRule(rules), ...path, 'backend', 'filters'), [{ failureInjector: { code: 14, message } }]);
  }
});

test('filters of a backend', () => {
  const filters = [{ type: 'RequestHeaderModifier', requestHeaderModifier: headers }];
  const path = ['backends', 'randomAvailable', 'backends', 0, 'backend', 'filters'] as const;
  const backendRefs = [{ ...V1, filters }];
  assert.deepEqual(at(httpRule([{ backendRefs }]), ...path), [{ requestHeaderModifier: wireHeaders }]);
  assert.deepEqual(at(httpRule([{ backendRefs }], {}, 'policy-http'), ...path), [
    { requestHeaderModifier: wireHeaders },
  ]);
  assert.deepEqual(at(grpcRule([{ backendRefs }]), ...path), [{ requestHeaderModifier: wireHeaders }]);
});

test('a filter that nobody carries out fails the rule, or the share of its backend', () => {
  const filters = [{ type: 'ExtensionRef', extensionRef: { group: 'x', kind: 'Y', name: 'z' } }];
  const message = (path: string) =>
    `${path}.filters[0].type: found "ExtensionRef", allowed is one of RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite, RequestMirror`;
  assert.deepEqual(at(httpRule([{ filters }]), 'filters'), [
    { failureInjector: { status: 500, message: message('spec.rules[0]') } },
  ]);
  const [only] = at(
    httpRule([{ backendRefs: [{ ...V1, filters }] }]),
    'backends',
    'randomAvailable',
    'backends',
  ) as JsonValue[];
  assert.deepEqual(at(only, 'backend', 'filters'), [
    { failureInjector: { status: 500, message: message('spec.rules[0].backendRefs[0]') } },
  ]);
  assert.equal(at(grpcRule([{ filters }]), 'filters', 0, 'failureInjector', 'code'), 14);
});

test('metadata of a route: group, kind, namespace, name, and the section of a named rule', () => {
  const rules = [{}, { name: 'second' }, {}];
  const world = new OutboundWorld([...BASE, route('policy-http', 'r', rules)]);
  const metadata = (http(world.wire('10.96.0.1:80')) as JsonValue[]).map((one) => at(one, 'metadata', 'resource'));
  const ref = { group: 'policy.linkerd.io', kind: 'HTTPRoute', namespace: 'app', name: 'r' };
  assert.deepEqual(metadata, [ref, { ...ref, section: 'second' }, ref]);
});

test('annotations of circuit breaking and balancing of a Service', () => {
  const annotations = {
    'balancer.linkerd.io/failure-accrual': 'consecutive',
    'balancer.linkerd.io/failure-accrual-consecutive-max-failures': '3',
    'balancer.alpha.linkerd.io/penalize-failures': 'true',
  };
  const world = new OutboundWorld([clusterService('web', '10.96.0.1', { annotations })]);
  const detect = at(world.wire('10.96.0.1:80'), 'protocol', 'detect');
  const accrual = {
    consecutiveFailures: { maxFailures: 3, backoff: { minBackoff: '1s', maxBackoff: '60s', jitterRatio: 0.5 } },
  };
  assert.deepEqual(at(detect, 'http1', 'failureAccrual'), accrual);
  assert.deepEqual(at(detect, 'http2', 'failureAccrual'), accrual);
  const path = ['backends', 'firstAvailable', 'backends', 0, 'backend', 'balancer', 'penaltyPeakEwma'] as const;
  assert.deepEqual(at(rule(at(detect, 'http1', 'routes')), ...path), {
    defaultRtt: '0.030s',
    decay: '10s',
    penalty: '5s',
    maxRetryAfter: '300s',
    penaltyDecay: '10s',
  });
  const unified = { 'balancer.linkerd.io/failure-accrual': 'unified' };
  const other = new OutboundWorld([clusterService('web', '10.96.0.1', { annotations: unified })]);
  assert.deepEqual(at(other.wire('10.96.0.1:80'), 'protocol', 'detect', 'http1', 'failureAccrual', 'unified'), {
    successRateThreshold: 0.8,
    decay: '10s',
    minRequests: 5,
    maxConsecutiveFailures: 7,
    backoff: { minBackoff: '1s', maxBackoff: '60s', jitterRatio: 0.5 },
  });
});

test('what the parent says of endpoints that refuse for load holds for the backends of its requests, and for those alone', () => {
  const annotations = { 'balancer.alpha.linkerd.io/penalize-failures': 'true' };
  const [plain, penal] = [clusterService('web', '10.96.0.1'), clusterService('web', '10.96.0.1', { annotations })];
  const load = (world: OutboundWorld, ...path: (string | number)[]) => {
    const found = at(world.wire('10.96.0.1:80'), 'protocol', ...path, 'rules', 0, 'backends');
    const kind = Object.keys(found as object)[0]!;
    const first = at(found, kind, 'backends', 0, 'backend');
    return Object.keys(at(at(first, 'backend') ?? first, 'balancer') as object)[1];
  };
  const routed = (web: WorldObject, kind: 'http' | 'tcp', rule: object) =>
    new OutboundWorld([web, clusterService('v1', '10.96.0.2', { annotations }), route(kind, 'r', [rule])]);
  const http1 = ['detect', 'http1', 'routes', 0];
  const opaque = ['opaque', 'routes', 0];
  assert.equal(load(routed(penal, 'http', { backendRefs: [V1] }), ...http1), 'penaltyPeakEwma');
  assert.equal(load(routed(plain, 'http', { backendRefs: [V1] }), ...http1), 'peakEwma');
  assert.equal(load(routed(penal, 'tcp', { backendRefs: [V1] }), ...opaque), 'peakEwma');
  assert.equal(load(new OutboundWorld([penal]), 'detect', ...opaque), 'penaltyPeakEwma');
  const asOpaque = { annotations: { ...annotations, 'config.linkerd.io/opaque-ports': '80' } };
  assert.equal(load(new OutboundWorld([clusterService('web', '10.96.0.1', asOpaque)]), ...opaque), 'peakEwma');
});

test('TLSRoute: names, and backends of connections', () => {
  const tls = route('tls', 'r', [{ backendRefs: [V1, { name: 'gone', port: 80 }] }], {
    hostnames: ['a.example', '*.b.example'],
  });
  assert.deepEqual(at(new OutboundWorld([...BASE, tls]).wire('10.96.0.1:80'), 'protocol', 'tls', 'routes'), [
    {
      metadata: { resource: { group: 'gateway.networking.k8s.io', kind: 'TLSRoute', namespace: 'app', name: 'r' } },
      snis: [{ exact: 'a.example' }, { suffix: { reverseLabels: ['example', 'b'] } }],
      rules: [
        {
          backends: {
            randomAvailable: {
              backends: [
                { weight: 1, backend: { backend: balancer('v1') } },
                {
                  weight: 1,
                  backend: {
                    backend: { metadata: named('gone'), queue: { capacity: 100, failfastTimeout: '3s' } },
                    filters: [{ invalid: { message: 'Service not found gone' } }],
                  },
                },
              ],
            },
          },
        },
      ],
    },
  ]);
});

test('TCPRoute: backends of connections, without looking at what they carry', () => {
  const tcp = route('tcp', 'r', [{ backendRefs: [{ ...V1, weight: 2 }] }]);
  const routes = at(new OutboundWorld([...BASE, tcp]).wire('10.96.0.1:80'), 'protocol', 'opaque', 'routes');
  assert.deepEqual(at(routes, 0, 'rules', 0, 'backends', 'randomAvailable', 'backends'), [
    { weight: 2, backend: { backend: balancer('v1') } },
  ]);
});

const forward = (name: string) => ({
  metadata: { resource: { group: 'policy.linkerd.io', kind: 'EgressNetwork', namespace: 'app', name, port: 443 } },
  queue: { capacity: 100, failfastTimeout: '3s' },
  forward: { addr: { ip: { ipv4: 1572395042 }, port: 443 }, weight: 1 },
});
const OUTSIDE = '93.184.216.34:443';

for (const [trafficPolicy, verdict] of [
  ['Allow', 'allow'],
  ['Deny', 'deny'],
] as const) {
  test(`trafficPolicy ${trafficPolicy} of an EgressNetwork`, () => {
    const wire = new OutboundWorld([egressNetwork('outside', { trafficPolicy })]).wire(OUTSIDE);
    assert.deepEqual(at(wire, 'metadata'), forward('outside').metadata);
    const backends = { firstAvailable: { backends: [{ backend: forward('outside') }] } };
    const injector = { filters: [{ failureInjector: { status: 403, message: 'traffic not allowed' } }] };
    assert.deepEqual(http(wire), [
      {
        metadata: { default: `http-egress-${verdict}` },
        rules: [
          { matches: [{ path: { prefix: '/' } }], ...(verdict === 'deny' ? injector : {}), backends, timeouts: {} },
        ],
      },
    ]);
    const filters = verdict === 'deny' ? { filters: [{ forbidden: {} }] } : {};
    assert.deepEqual(at(wire, 'protocol', 'detect', 'opaque', 'routes'), [
      { metadata: { default: `tcp-egress-${verdict}` }, rules: [{ backends, ...filters }] },
    ]);
    const tlsRoute = route('tls', 'r', [{}], { parents: [{ ...EGRESS_PARENT, port: 443 }], hostnames: ['a.example'] });
    const tls = new OutboundWorld([egressNetwork('outside', { trafficPolicy }), tlsRoute]).wire(OUTSIDE);
    const last = at(tls, 'protocol', 'tls', 'routes', 1);
    assert.deepEqual(last, { metadata: { default: `tls-egress-${verdict}` }, rules: [{ backends, ...filters }] });
    const grpcOf = route('grpc', 'r', [{}], { parents: [EGRESS_PARENT] });
    const grpc = new OutboundWorld([egressNetwork('outside', { trafficPolicy }), grpcOf]).wire(OUTSIDE);
    assert.deepEqual(at(grpc, 'protocol', 'grpc', 'routes', 1, 'metadata'), { default: `grpc-egress-${verdict}` });
  });
}

test('annotations of an EgressNetwork: opaque ports, timeouts and retries', () => {
  const annotations = { 'config.linkerd.io/opaque-ports': '443', 'timeout.linkerd.io/request': '3s' };
  const world = new OutboundWorld([egressNetwork('outside', { trafficPolicy: 'Deny' }, { annotations })]);
  assert.deepEqual(at(world.wire(OUTSIDE), 'protocol', 'opaque', 'routes', 0, 'metadata'), {
    default: 'tcp-egress-deny',
  });
  assert.deepEqual(at(rule(http(world.wire('93.184.216.34:80'))), 'timeouts'), { request: '3s' });
});

test('an EgressNetwork without the annotation has the ports that are opaque by default, one with it only its own', () => {
  const of = (annotations: Record<string, string>) => {
    const world = new OutboundWorld([egressNetwork('outside', { trafficPolicy: 'Allow' }, { annotations })]);
    return Object.keys(at(world.wire('93.184.216.34:3306'), 'protocol') as object);
  };
  assert.deepEqual(of({}), ['opaque']);
  assert.deepEqual(of({ 'config.linkerd.io/opaque-ports': '443' }), ['detect']);
});

test('an EgressNetwork as a backend: of its own routes only', () => {
  const backendRefs = [{ group: 'policy.linkerd.io', kind: 'EgressNetwork', name: 'outside', port: 443, weight: 1 }];
  const network = egressNetwork('outside', { trafficPolicy: 'Deny' });
  const allowed = route('http', 'r', [{ backendRefs }], {
    parents: [{ ...EGRESS_PARENT, port: 443 }],
    hostnames: ['a.example'],
  });
  const path = ['backends', 'randomAvailable', 'backends', 0] as const;
  const wire = new OutboundWorld([network, allowed]).wire(OUTSIDE);
  assert.deepEqual(at(rule(http(wire)), ...path), { weight: 1, backend: { backend: forward('outside') } });
  const objects: WorldObject[] = [
    ...BASE,
    network,
    route('http', 'r', [{ backendRefs }], { parents: [SERVICE_PARENT] }),
  ];
  const ofService = rule(http(new OutboundWorld(objects).wire('10.96.0.1:80')));
  assert.equal(
    at(ofService, ...path, 'backend', 'filters', 0, 'failureInjector', 'message'),
    'EgressNetwork backends attach to EgressNetwork parents only',
  );
});
