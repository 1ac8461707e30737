/** Annotations, backends and defaults of routes and EgressNetworks on the wire; field-table.test.ts has the fields. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import { service } from '../../testing/objects.ts';
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

/** The one rule of the one HTTP route of `app/web:80`. */
function httpRule(rules: object[], options: Parameters<typeof route>[3] = {}, kind: 'http' | 'policy-http' = 'http') {
  return rule(http(new OutboundWorld([...BASE, route(kind, 'r', rules, options)]).wire('10.96.0.1:80')));
}

function grpcRule(rules: object[], options: Parameters<typeof route>[3] = {}) {
  const wire = new OutboundWorld([...BASE, route('grpc', 'r', rules, options)]).wire('10.96.0.1:80');
  return rule(at(wire, 'protocol', 'grpc', 'routes'));
}

const annotated = (annotations: Record<string, string>) => httpRule([{}], { annotations });

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

const accrualBackoff = { minBackoff: '1s', maxBackoff: '60s', jitterRatio: 0.5 };
const PART = 'balancer.linkerd.io/failure-accrual-consecutive';
const RATE = 'balancer.alpha.linkerd.io/failure-accrual-success-rate';
const HONOR = 'balancer.alpha.linkerd.io/failure-accrual-honor-retry-after';
const consecutive = (more: object = {}, part: object = {}) => ({
  consecutiveFailures: { maxFailures: 7, backoff: { ...accrualBackoff, ...part }, ...more },
});
const unified = (more: object) => ({
  unified: {
    successRateThreshold: 0.8,
    decay: '10s',
    minRequests: 5,
    maxConsecutiveFailures: 7,
    backoff: accrualBackoff,
    ...more,
  },
});
const ACCRUAL: [mode: string | undefined, key: string, value: string, wire: JsonValue | undefined][] = [
  ['consecutive', '', '', consecutive()],
  [undefined, `${PART}-max-failures`, '3', undefined],
  ['sometimes', '', '', undefined],
  ['consecutive', `${PART}-max-failures`, '3', consecutive({ maxFailures: 3 })],
  ['consecutive', `${PART}-min-penalty`, '5s', consecutive({}, { minBackoff: '5s' })],
  ['consecutive', `${PART}-max-penalty`, '10m', consecutive({}, { maxBackoff: '600s' })],
  ['consecutive', `${PART}-jitter-ratio`, '1.0', consecutive({}, { jitterRatio: 1 })],
  ['consecutive', HONOR, 'True', consecutive({}, { respectRetryAfterHint: true })],
  ['consecutive', `${RATE}-threshold`, '0.5', consecutive()],
  ['unified', '', '', unified({})],
  ['unified', `${PART}-max-failures`, '0', unified({ maxConsecutiveFailures: undefined })],
  ['unified', `${RATE}-threshold`, '0.95', unified({ successRateThreshold: 0.95 })],
  ['unified', `${RATE}-window`, '30s', unified({ decay: '30s' })],
  ['unified', `${RATE}-min-requests`, '20', unified({ minRequests: 20 })],
  ['unified', HONOR, '1', unified({ backoff: { ...accrualBackoff, respectRetryAfterHint: true } })],
];

for (const [mode, key, value, wire] of ACCRUAL) {
  test(`annotation failure-accrual ${mode ?? 'not set'} ${key} ${value}, of a Service and of an EgressNetwork`, () => {
    const set = { ...(mode ? { 'balancer.linkerd.io/failure-accrual': mode } : {}), ...(key ? { [key]: value } : {}) };
    const annotations = Object.fromEntries(Object.entries(set)) as Record<string, string>;
    const world = new OutboundWorld([
      clusterService('web', '10.96.0.1', { annotations }),
      egressNetwork('outside', { trafficPolicy: 'Allow' }, { annotations }),
    ]);
    for (const target of ['10.96.0.1:80', '93.184.216.34:80']) {
      const detect = at(world.wire(target), 'protocol', 'detect');
      for (const http of ['http1', 'http2']) {
        assert.deepEqual(
          at(detect, http, 'failureAccrual'),
          wire && JSON.parse(JSON.stringify(wire)),
          `${target} ${http}`,
        );
      }
    }
  });
}

const PENALTY = { defaultRtt: '0.030s', decay: '10s', penalty: '5s', maxRetryAfter: '300s', penaltyDecay: '10s' };
const ALPHA = 'balancer.alpha.linkerd.io';
const LOADS: [annotations: Record<string, string>, wire: object][] = [
  [{ [`${ALPHA}/penalize-failures`]: 'true' }, { penaltyPeakEwma: PENALTY }],
  [{ [`${ALPHA}/penalize-failures`]: 'false' }, { peakEwma: { defaultRtt: '0.030s', decay: '10s' } }],
  [{ [`${ALPHA}/load-biaser-penalty`]: '1s' }, { peakEwma: { defaultRtt: '0.030s', decay: '10s' } }],
  [
    { [`${ALPHA}/penalize-failures`]: 'T', [`${ALPHA}/load-biaser-penalty`]: '1s' },
    { penaltyPeakEwma: { ...PENALTY, penalty: '1s' } },
  ],
  [
    { [`${ALPHA}/penalize-failures`]: 't', [`${ALPHA}/load-biaser-max-retry-after`]: '1m' },
    { penaltyPeakEwma: { ...PENALTY, maxRetryAfter: '60s' } },
  ],
];

for (const [annotations, wire] of LOADS) {
  test(`annotations ${JSON.stringify(annotations)} of a Service`, () => {
    const world = new OutboundWorld([clusterService('web', '10.96.0.1', { annotations })]);
    const path = ['backends', 'firstAvailable', 'backends', 0, 'backend', 'balancer'] as const;
    const { discovery: _, ...load } = at(rule(http(world.wire('10.96.0.1:80'))), ...path) as Record<string, JsonValue>;
    assert.deepEqual(load, wire);
  });
}

const APP_PROTOCOLS: [appProtocol: string | undefined, opaquePorts: string | undefined, wire: string][] = [
  [undefined, undefined, 'detect'],
  [undefined, '80', 'opaque'],
  ['http', undefined, 'http1'],
  ['HTTP', '80', 'http1'],
  ['kubernetes.io/h2c', undefined, 'http2'],
  ['linkerd.io/tcp', undefined, 'opaque'],
  ['linkerd.io/opaque', undefined, 'opaque'],
  ['grpc', undefined, 'detect'],
  ['grpc', '80', 'opaque'],
  ['mongo', undefined, 'opaque'],
  ['https', '', 'opaque'],
];

for (const [appProtocol, opaquePorts, wire] of APP_PROTOCOLS) {
  test(`appProtocol ${appProtocol} of a port with opaque-ports ${opaquePorts}`, () => {
    const annotations: Record<string, string> =
      opaquePorts === undefined ? {} : { 'config.linkerd.io/opaque-ports': opaquePorts };
    const ports = [{ name: 'a', port: 80, appProtocol }];
    const web: WorldObject = ['Service', service('web', { clusterIPs: ['10.96.0.1'], ports, annotations })];
    const protocol = at(new OutboundWorld([web]).wire('10.96.0.1:80'), 'protocol');
    assert.deepEqual(Object.keys(protocol as object), [wire]);
  });
}

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
    const tlsRoute = route('tls', 'r', [{}], { parents: [EGRESS_PARENT], hostnames: ['a.example'] });
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
    parents: [EGRESS_PARENT],
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
