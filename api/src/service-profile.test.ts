import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from './kubernetes.ts';
import { MeshError } from './mesh-error.ts';
import { parseServiceProfile } from './service-profile.ts';
import { serviceProfileProblem } from './service-profile-validation.ts';

const NAME = 'web.app.svc.cluster.local';
const profile = (spec: unknown, name = NAME): KubeObject => ({ metadata: { name, namespace: 'app' }, spec });
const condition = { method: 'GET', pathRegex: '/books/\\d+' };

test('reads routes, classes, budget and overrides', () => {
  const parsed = parseServiceProfile(
    profile({
      routes: [
        {
          name: 'book',
          condition,
          isRetryable: true,
          timeout: '1m0.5s',
          responseClasses: [{ condition: { status: { min: 500 } }, isFailure: true }],
        },
      ],
      retryBudget: { retryRatio: 0.5, minRetriesPerSecond: 5, ttl: '10s' },
      dstOverrides: [
        { authority: 'a', weight: '500m' },
        { authority: 'b:1', weight: 1 },
        { authority: 'c', weight: '100m' },
      ],
      opaquePorts: ['25', '7000-7010'],
    }),
  );
  assert.equal(parsed.ref.group, 'linkerd.io');
  assert.deepEqual(parsed.routes, [
    {
      name: 'book',
      condition: {
        kind: 'all',
        matches: [
          { kind: 'method', method: 'GET' },
          { kind: 'path', regex: '/books/\\d+' },
        ],
      },
      responseClasses: [{ condition: { kind: 'status', min: 500, max: 0 }, isFailure: true }],
      isRetryable: true,
      timeoutMs: 60_500,
    },
  ]);
  assert.deepEqual(parsed.retryBudget, { retryRatio: 0.5, minRetriesPerSecond: 5, ttlMs: 10_000 });
  assert.deepEqual(
    parsed.dstOverrides.map(({ weight }) => weight),
    [5_000, 10_000, 1_000],
  );
  assert.deepEqual(parsed.opaquePorts, [
    { from: 25, to: 25 },
    { from: 7000, to: 7010 },
  ]);
});

test('names every field that it cannot read', () => {
  const spec = {
    routes: [{ name: '', condition: {}, timeout: '5' }],
    retryBudget: { retryRatio: -1, minRetriesPerSecond: 1.5 },
    dstOverrides: [{ weight: 'many' }],
  };
  assert.throws(
    () => parseServiceProfile(profile(spec)),
    (error) => {
      assert.ok(error instanceof MeshError);
      for (const path of [
        'spec.routes[0].name',
        'spec.routes[0].condition',
        'spec.routes[0].timeout',
        'spec.retryBudget.retryRatio',
        'spec.retryBudget.minRetriesPerSecond',
        'spec.retryBudget.ttl',
        'spec.dstOverrides[0].authority',
        'spec.dstOverrides[0].weight',
      ]) {
        assert.ok(error.message.includes(`${path}: found`), `${path} in ${error.message}`);
      }
      return true;
    },
  );
});

const decoding = 'failed to validate ServiceProfile: error unmarshaling JSON: while decoding JSON: json: ';
const route = (more: object) => ({ routes: [{ name: 'r', condition, ...more }] });
const classes = (match: unknown) => route({ responseClasses: [{ condition: match }] });

const REFUSED: [spec: unknown, problem: string][] = [
  [{ ...route({}), foo: 'bar' }, `${decoding}unknown field "foo"`],
  [route({ foo: 'bar' }), `${decoding}unknown field "foo"`],
  [route({ condition: { foo: 'bar' } }), `${decoding}unknown field "foo"`],
  [{ routes: [null] }, 'has a nil route'],
  [{ routes: [{ name: 'r' }] }, 'has a route with no condition'],
  [{ routes: [{ name: 'r', condition: null }] }, 'has a route with no condition'],
  [{ routes: [{ condition }] }, 'has a route with no name'],
  [
    route({ condition: { method: null } }),
    'has a route with an invalid condition: A request match must have a field set',
  ],
  [
    route({ condition: { all: [null] } }),
    'has a route with an invalid condition: A request match must have a field set',
  ],
  [route({ timeout: 'foo' }), 'has a route with an invalid timeout: time: invalid duration "foo"'],
  [route({ timeout: '10' }), 'has a route with an invalid timeout: time: missing unit in duration "10"'],
  [route({ timeout: '10x' }), 'has a route with an invalid timeout: time: unknown unit "x" in duration "10x"'],
  [classes(null), 'has a response class with no condition'],
  [
    classes({ all: [{ status: null }] }),
    'has a response class with an invalid condition: A response match must have a field set',
  ],
  [
    classes({ status: { min: 500, max: 600 } }),
    'has a response class with an invalid condition: Range maximum must be between 100 and 599, inclusive',
  ],
  [
    classes({ not: { status: { min: 300, max: 200 } } }),
    'has a response class with an invalid condition: Range maximum cannot be smaller than minimum',
  ],
  [
    classes({ not: { status: { min: 1 } } }),
    'has a response class with an invalid condition: Range minimum must be between 100 and 599, inclusive',
  ],
  [
    classes({ all: [{ not: { status: { min: false } } }] }),
    `${decoding}cannot unmarshal bool into Go struct field Range.spec.routes.responseClasses.condition.all.not.status.min of type uint32`,
  ],
  [{ retryBudget: { retryRatio: 0.2, minRetriesPerSecond: 5 } }, 'RetryBudget missing TTL field'],
  [{ retryBudget: { ttl: 'foo' } }, 'RetryBudget: time: invalid duration "foo"'],
  [{ retryBudget: { retryRatio: -0.2, ttl: '10s' } }, 'RetryBudget RetryRatio must be non-negative: -0.200000'],
  [
    { retryBudget: { minRetriesPerSecond: -5, ttl: '10s' } },
    `${decoding}cannot unmarshal number -5 into Go struct field RetryBudget.spec.retryBudget.minRetriesPerSecond of type uint32`,
  ],
];

for (const [spec, problem] of REFUSED) {
  test(`admission refuses: ${problem.slice(-90)}`, () => {
    const expected = problem.startsWith(decoding) ? problem : `ServiceProfile "${NAME}" ${problem}`;
    assert.equal(serviceProfileProblem(profile(spec)), expected);
  });
}

test('admission refuses a name that is none', () => {
  assert.equal(
    serviceProfileProblem(profile({}, '^.^')),
    'ServiceProfile "^.^" has invalid name: a DNS-1123 subdomain must consist of lower case alphanumeric characters, ' +
      "'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation " +
      "is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
  );
});

test('admission takes what is right, and refuses what no proxy could follow', () => {
  assert.equal(serviceProfileProblem(profile({})), undefined);
  assert.equal(
    serviceProfileProblem(profile({ ...route({}), dstOverrides: [{ authority: 'a', weight: 1 }] })),
    undefined,
  );
  const nested = { any: [{ all: [{ method: 'POST' }, { pathRegex: '/a' }] }, { not: { method: 'DELETE' } }] };
  assert.equal(serviceProfileProblem(profile(route({ condition: nested }))), undefined);
  assert.match(
    serviceProfileProblem(profile(route({ condition: { pathRegex: '(' } }))) ?? '',
    /spec\.routes\[0\]\.condition\.pathRegex: found "\("/,
  );
});
