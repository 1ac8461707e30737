/** A row for each field of a ServiceProfile: what is written, and what of it is on the wire. No field lacks one. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { create, type JsonValue, toJson } from '@bufbuild/protobuf';
import { DestinationProfileSchema } from '@tulle/api/gen/destination_pb.ts';
import { fieldsOf } from '../testing/crd-fields.ts';
import { service } from '../testing/objects.ts';
import { MESH } from '../testing/outbound-world.ts';
import { WorkloadIndex } from '../workloads/workload-index.ts';
import { profileOf } from './profile.ts';
import { ProfileIndex } from './profile-index.ts';
import { toProfile } from './translator.ts';

const NAME = 'web.app.svc.cluster.local';

/** The profile of `app/web:80`. */
function wireOf(spec: object): Record<string, JsonValue> {
  const index = new WorkloadIndex();
  index.apply({ kind: 'Service', type: 'set', object: service('web', { ports: [{ name: 'http', port: 80 }] }) });
  const profiles = new ProfileIndex(MESH.clusterDomain);
  profiles.apply({ kind: 'ServiceProfile', type: 'set', object: { metadata: { name: NAME, namespace: 'app' }, spec } });
  const authority = {
    kind: 'service',
    namespace: 'app',
    name: 'web',
    serviceKey: 'app/web',
    fullName: NAME,
    port: 80,
  } as const;
  const profile = profileOf({ index, profiles, mesh: MESH }, authority, 'client');
  return toJson(
    DestinationProfileSchema,
    create(DestinationProfileSchema, toProfile(profile, undefined, MESH.clusterDomain)),
  ) as Record<string, JsonValue>;
}

const GET = { method: 'GET' };
const WIRE_GET = { method: { registered: 'GET' } };
const routeOf = (route: object) =>
  (wireOf({ routes: [{ name: 'r', condition: GET, ...route }] }).routes as JsonValue[])[0] as Record<string, JsonValue>;
const conditionOf = (condition: object) => routeOf({ condition }).condition;
const classOf = (responseClass: object) =>
  (routeOf({ responseClasses: [responseClass] }).responseClasses as JsonValue[])[0];
const responseOf = (condition: object) => (classOf({ condition }) as Record<string, JsonValue>).condition;
const overridesOf = (override: object) => wireOf({ dstOverrides: [override] }).dstOverrides;
const budgetOf = (budget: object) =>
  wireOf({ retryBudget: { retryRatio: 0.5, minRetriesPerSecond: 3, ttl: '20s', ...budget } }).retryBudget;
const BUDGET = { retryRatio: 0.5, minRetriesPerSecond: 3, ttl: '20s' };
const S500 = { status: { min: 500, max: 599 } };
const ref = (name: string, port: number) => ({
  resource: { group: 'core', kind: 'Service', namespace: 'app', name, port },
});

const ROUTE = 'spec.routes[].';
const CLASS = `${ROUTE}responseClasses[].`;
const ROWS: [field: string, read: () => JsonValue | undefined, wire: JsonValue | undefined][] = [
  [`${ROUTE}name`, () => routeOf({ name: 'GET /' }).metricsLabels, { route: 'GET /' }],
  [`${ROUTE}condition.method`, () => conditionOf({ method: 'post' }), { method: { registered: 'POST' } }],
  [`${ROUTE}condition.method`, () => conditionOf({ method: 'PURGE' }), { method: { unregistered: 'PURGE' } }],
  [`${ROUTE}condition.pathRegex`, () => conditionOf({ pathRegex: '/a/[^/]*' }), { path: { regex: '/a/[^/]*' } }],
  [
    `${ROUTE}condition.all[]`,
    () => conditionOf({ all: [GET, { pathRegex: '/' }] }),
    { all: { matches: [WIRE_GET, { path: { regex: '/' } }] } },
  ],
  [`${ROUTE}condition.any[]`, () => conditionOf({ any: [GET] }), { any: { matches: [WIRE_GET] } }],
  [`${ROUTE}condition.not`, () => conditionOf({ not: GET }), { not: WIRE_GET }],
  [
    `${ROUTE}condition.not`,
    () => conditionOf({ ...GET, not: { any: [GET] } }),
    { all: { matches: [WIRE_GET, { not: { any: { matches: [WIRE_GET] } } }] } },
  ],
  [`${ROUTE}isRetryable`, () => routeOf({ isRetryable: true }).isRetryable, true],
  [`${ROUTE}isRetryable`, () => routeOf({}).isRetryable, undefined],
  [`${ROUTE}timeout`, () => routeOf({ timeout: '1m0.5s' }).timeout, '60.500s'],
  [`${ROUTE}timeout`, () => routeOf({ timeout: '0s' }).timeout, undefined],
  [`${CLASS}condition.status.min`, () => responseOf({ status: { min: 500 } }), { status: { min: 500 } }],
  [`${CLASS}condition.status.max`, () => responseOf({ status: { max: 299 } }), { status: { max: 299 } }],
  [`${CLASS}condition.all[]`, () => responseOf({ all: [S500] }), { all: { matches: [S500] } }],
  [
    `${CLASS}condition.any[]`,
    () => responseOf({ any: [S500, { status: { min: 429, max: 429 } }] }),
    { any: { matches: [S500, { status: { min: 429, max: 429 } }] } },
  ],
  [`${CLASS}condition.not`, () => responseOf({ not: S500 }), { not: S500 }],
  [`${CLASS}isFailure`, () => classOf({ condition: S500, isFailure: true }), { condition: S500, isFailure: true }],
  [`${CLASS}isFailure`, () => classOf({ condition: S500 }), { condition: S500 }],
  ['spec.retryBudget.retryRatio', () => budgetOf({ retryRatio: 2 }), { ...BUDGET, retryRatio: 2 }],
  ['spec.retryBudget.minRetriesPerSecond', () => budgetOf({ minRetriesPerSecond: 0 }), { retryRatio: 0.5, ttl: '20s' }],
  ['spec.retryBudget.ttl', () => budgetOf({ ttl: '1m' }), { ...BUDGET, ttl: '60s' }],
  ['spec.retryBudget', () => wireOf({}).retryBudget, { retryRatio: 0.2, minRetriesPerSecond: 10, ttl: '10s' }],
  [
    'spec.dstOverrides[].authority',
    () => overridesOf({ authority: 'v1.app.svc.cluster.local:81', weight: 1 }),
    [{ authority: 'v1.app.svc.cluster.local:81', weight: 10_000, backendRef: ref('v1', 81) }],
  ],
  [
    'spec.dstOverrides[].authority',
    () => overridesOf({ authority: 'v1.app.svc.cluster.local', weight: 1 }),
    [{ authority: 'v1.app.svc.cluster.local:80', weight: 10_000, backendRef: ref('v1', 80) }],
  ],
  [
    'spec.dstOverrides[].weight',
    () => overridesOf({ authority: 'example.com', weight: '500m' }),
    [{ authority: 'example.com:80', weight: 5_000 }],
  ],
  [
    'spec.dstOverrides[].weight',
    () => overridesOf({ authority: 'example.com', weight: '0' }),
    [{ authority: 'example.com:80' }],
  ],
  ['spec.opaquePorts[]', () => wireOf({ opaquePorts: ['80'] }).opaqueProtocol, true],
  ['spec.opaquePorts[]', () => wireOf({ opaquePorts: ['1-79', '81'] }).opaqueProtocol, undefined],
];

for (const [field, read, wire] of ROWS) {
  test(`${field} on the wire: ${JSON.stringify(wire)}`, () => assert.deepEqual(read(), wire));
}

test('every field of service-profile has a row', () => {
  const told = new Set(ROWS.map(([field]) => field));
  assert.deepEqual(
    fieldsOf('service-profile').filter((field) => !told.has(field)),
    [],
  );
});
