/** What routes and Services ask for beyond the proxy API, in our own fields, and what stock proxies get instead. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import { at, clusterService, OutboundWorld, route, type WorldObject } from '../../testing/outbound-world.ts';

const BASE = [
  clusterService('web', '10.96.0.1'),
  clusterService('v1', '10.96.0.2'),
  clusterService('copy', '10.96.0.3'),
];
const WEB = '10.96.0.1:80';
const REFUSAL = { status: 500, message: "needs Tulle's proxy", ratio: { numerator: 1, denominator: 1 } };
const rewrite = (urlRewrite: object) => ({ type: 'URLRewrite', urlRewrite });
const mirror = (more: object = {}) => ({
  type: 'RequestMirror',
  requestMirror: { backendRef: { name: 'copy', port: 80 }, ...more },
});
const world = (...objects: WorldObject[]) => new OutboundWorld([...BASE, ...objects]);
const rules = (json: JsonValue) => at(json, 'httpRules');

const filtersOf = (json: JsonValue, ...path: (string | number)[]) =>
  at(json, 'protocol', 'detect', 'http1', 'routes', 0, 'rules', 0, ...path, 'filters');

test('says nothing where nothing is asked for', () => {
  assert.deepEqual(world(route('http', 'r', [{ backendRefs: [{ name: 'v1', port: 80 }] }])).overlay(WEB), {});
});

test('URLRewrite: host and path, refused by stock proxies', () => {
  const path = { type: 'ReplacePrefixMatch', replacePrefixMatch: '/v2' };
  const full = { type: 'ReplaceFullPath', replaceFullPath: '/all' };
  const routes = world(
    route('http', 'r', [
      { filters: [rewrite({ hostname: 'v1.example', path })] },
      { filters: [rewrite({ path: full })] },
    ]),
  );
  assert.deepEqual(rules(routes.overlay(WEB)), [
    { hasRefusal: true, urlRewrite: { host: 'v1.example', prefix: '/v2' } },
    { rule: 1, hasRefusal: true, urlRewrite: { full: '/all' } },
  ]);
  assert.deepEqual(filtersOf(routes.wire(WEB)), [{ failureInjector: REFUSAL }]);
});

test('URLRewrite of a backend is refused by that backend alone', () => {
  const filters = [rewrite({ hostname: 'v1.example' })];
  const backendRefs = [
    { name: 'v1', port: 80 },
    { name: 'v1', port: 81, filters },
  ];
  const routes = world(route('http', 'r', [{ backendRefs }]));
  assert.deepEqual(rules(routes.overlay(WEB)), [
    { backends: [{ backend: 1, hasRefusal: true, urlRewrite: { host: 'v1.example' } }] },
  ]);
  const path = (backend: number) => ['backends', 'randomAvailable', 'backends', backend, 'backend'] as const;
  assert.equal(filtersOf(routes.wire(WEB)), undefined);
  assert.equal(filtersOf(routes.wire(WEB), ...path(0)), undefined);
  assert.deepEqual(filtersOf(routes.wire(WEB), ...path(1)), [{ failureInjector: REFUSAL }]);
});

test('RequestMirror: all, a percentage or a fraction; safe to skip', () => {
  const to = {
    authority: 'copy.app.svc.cluster.local:80',
    group: 'core',
    kind: 'Service',
    namespace: 'app',
    name: 'copy',
    port: 80,
  };
  const filters = [mirror(), mirror({ percent: 5 }), mirror({ fraction: { numerator: 1, denominator: 3 } })];
  const routes = world(route('http', 'r', [{ filters }]));
  assert.deepEqual(rules(routes.overlay(WEB)), [
    {
      mirrors: [
        { ...to, numerator: 100, denominator: 100 },
        { ...to, numerator: 5, denominator: 100 },
        { ...to, numerator: 1, denominator: 3 },
      ],
    },
  ]);
  assert.equal(filtersOf(routes.wire(WEB)), undefined);
  const gone = mirror({ backendRef: { name: 'gone', port: 80 } });
  const grpc = world(route('grpc', 'g', [{}, { filters: [mirror(), gone] }]));
  assert.deepEqual(rules(grpc.overlay(WEB)), [{ rule: 1, mirrors: [{ ...to, numerator: 100, denominator: 100 }] }]);
});

test('response headers of gRPC, for which the proxy API has no filter', () => {
  const filters = [
    { type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'A', value: '1' }], remove: ['B'] } },
  ];
  const modifier = { set: { headers: [{ name: 'a', value: 'MQ==' }] }, remove: ['b'] };
  const backendRefs = [{ name: 'v1', port: 80, filters }];
  const grpc = world(route('grpc', 'g', [{ filters, backendRefs }]));
  assert.deepEqual(rules(grpc.overlay(WEB)), [
    { responseHeaders: [modifier], backends: [{ responseHeaders: [modifier] }] },
  ]);
  assert.deepEqual(world(route('http', 'h', [{ filters }])).overlay(WEB), {});
});

test('session persistence by cookie and by header, refused by stock proxies', () => {
  const cookie = {
    sessionName: 'id',
    absoluteTimeout: '24h',
    idleTimeout: '1h',
    cookieConfig: { lifetimeType: 'Permanent' },
  };
  const routes = world(
    route('http', 'r', [
      { sessionPersistence: cookie },
      { sessionPersistence: { type: 'Header', sessionName: 'X-Id' } },
    ]),
  );
  assert.deepEqual(rules(routes.overlay(WEB)), [
    {
      hasRefusal: true,
      sessionPersistence: { name: 'id', absoluteTimeoutMs: '86400000', idleTimeoutMs: '3600000', isPermanent: true },
    },
    { rule: 1, hasRefusal: true, sessionPersistence: { kind: 'HEADER', name: 'X-Id' } },
  ]);
});

test('counts rules as they are written: a named rule is a route', () => {
  const filters = [rewrite({ hostname: 'v1.example' })];
  const routes = world(
    route('http', 'a', [{}, { name: 'b', filters }, {}, { filters }]),
    route('http', 'z', [{ filters }]),
  );
  const places = (rules(routes.overlay(WEB)) as { route?: number; rule?: number }[]).map(({ route = 0, rule = 0 }) => [
    route,
    rule,
  ]);
  assert.deepEqual(places, [
    [1, 0],
    [2, 1],
    [3, 0],
  ]);
});

test('an invalid rule does nothing more than fail', () => {
  const filters = [rewrite({ hostname: 'v1.example' }), { type: 'ExtensionRef' }];
  assert.deepEqual(world(route('http', 'r', [{ filters }])).overlay(WEB), {});
});

const HASHES: [annotation: string, value: string, hash: object][] = [
  ['hash-header', 'X-User', { header: 'x-user' }],
  ['hash-cookie', 'id', { cookie: 'id' }],
  ['hash-query', 'user', { queryParameter: 'user' }],
  ['hash-source-address', 'true', { sourceAddress: true }],
];

for (const [annotation, value, hash] of HASHES) {
  test(`annotation ${annotation} of a Service, also as a backend`, () => {
    const annotations = { [`balancer.tulle.mesh/${annotation}`]: value, 'balancer.tulle.mesh/hash-load-factor': '1.5' };
    const hashed = clusterService('hashed', '10.96.0.9', { annotations });
    const balancer = { path: 'hashed.app.svc.cluster.local:80', hash, loadFactor: 1.5 };
    const backendRefs = [
      { name: 'hashed', port: 80 },
      { name: 'v1', port: 80 },
    ];
    const routes = world(hashed, route('http', 'r', [{ backendRefs }, { backendRefs }]));
    assert.deepEqual(routes.overlay('10.96.0.9:80'), { balancers: [balancer] });
    assert.deepEqual(routes.overlay(WEB), { balancers: [balancer] });
  });
}
