import assert from 'node:assert/strict';
import test from 'node:test';
import { parseTrafficAnnotations } from './traffic-annotations.ts';

const ACCRUAL = 'balancer.linkerd.io/failure-accrual';

test('reads nothing from nothing', () => {
  const timeouts = { requestMs: undefined, responseMs: undefined, idleMs: undefined };
  const none = { accrual: undefined, penalty: undefined, retry: undefined, timeouts, problems: [] };
  assert.deepEqual(parseTrafficAnnotations({ other: 'x' }), none);
});

test('fills in the defaults of circuit breaking', () => {
  const backoff = { minMs: 1_000, maxMs: 60_000, jitterRatio: 0.5, honoursRetryAfter: false };
  assert.deepEqual(parseTrafficAnnotations({ [ACCRUAL]: 'consecutive' }).accrual, {
    kind: 'consecutive',
    failuresMax: 7,
    backoff,
  });
  const unified = parseTrafficAnnotations({
    [ACCRUAL]: 'unified',
    [`${ACCRUAL}-consecutive-max-failures`]: '0',
    'balancer.alpha.linkerd.io/failure-accrual-success-rate-threshold': '0.95',
    'balancer.alpha.linkerd.io/failure-accrual-honor-retry-after': 'T',
  });
  assert.deepEqual(unified.accrual, {
    kind: 'unified',
    successRateThreshold: 0.95,
    windowMs: 10_000,
    requestsMin: 5,
    failuresMax: 0,
    backoff: { ...backoff, honoursRetryAfter: true },
  });
});

test('leaves out a circuit breaker with a bad part, and names it', () => {
  const { accrual, problems } = parseTrafficAnnotations({
    [ACCRUAL]: 'consecutive',
    [`${ACCRUAL}-consecutive-min-penalty`]: '2m',
    [`${ACCRUAL}-consecutive-max-penalty`]: '1m',
  });
  assert.equal(accrual, undefined);
  assert.deepEqual(problems, [`annotation ${ACCRUAL}-consecutive-max-penalty: "1m" is not at least the minimum`]);
  assert.equal(parseTrafficAnnotations({ [ACCRUAL]: 'sometimes' }).problems.length, 1);
});

test('reads retries and timeouts', () => {
  const { retry, timeouts, problems } = parseTrafficAnnotations({
    'retry.linkerd.io/http': '5xx,gateway-error,429,400-404',
    'retry.linkerd.io/limit': '3',
    'retry.linkerd.io/timeout': '250ms',
    'timeout.linkerd.io/request': '10s',
    'timeout.linkerd.io/idle': '1.5s',
  });
  assert.deepEqual(retry, {
    limit: 3,
    timeoutMs: 250,
    statuses: [
      { start: 500, end: 599 },
      { start: 502, end: 504 },
      { start: 429, end: 429 },
      { start: 400, end: 404 },
    ],
  });
  assert.deepEqual(timeouts, { requestMs: 10_000, responseMs: undefined, idleMs: undefined });
  assert.deepEqual(problems, ['annotation timeout.linkerd.io/idle: "1.5s" is not a duration such as 500ms or 10s']);
  assert.deepEqual(parseTrafficAnnotations({ 'retry.linkerd.io/timeout': '1s' }).retry, {
    limit: 1,
    timeoutMs: 1_000,
    statuses: [],
  });
});

test('penalizes failures where asked to', () => {
  const { penalty } = parseTrafficAnnotations({
    'balancer.alpha.linkerd.io/penalize-failures': 'true',
    'balancer.alpha.linkerd.io/load-biaser-penalty': '1s',
  });
  assert.deepEqual(penalty, { penaltyMs: 1_000, retryAfterMsMax: 300_000 });
});
