import assert from 'node:assert/strict';
import test from 'node:test';
import { parseTrafficAnnotations } from './traffic-annotations.ts';

const ACCRUAL = 'balancer.linkerd.io/failure-accrual';

test('reads nothing from nothing', () => {
  const timeouts = { requestMs: undefined, responseMs: undefined, idleMs: undefined };
  const retries = { httpRetry: undefined, grpcRetry: undefined };
  const none = { accrual: undefined, penalty: undefined, hash: undefined, ...retries, timeouts, problems: [] };
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
  assert.deepEqual(problems, [
    `metadata.annotations[${ACCRUAL}-consecutive-max-penalty]: found "1m", allowed is at least the minimum`,
  ]);
  assert.equal(parseTrafficAnnotations({ [ACCRUAL]: 'sometimes' }).problems.length, 1);
});

test('a success rate of 0 turns that part off, whatever it would be measured by', () => {
  const rate = 'balancer.alpha.linkerd.io/failure-accrual-success-rate';
  const measured = { [ACCRUAL]: 'unified', [`${rate}-window`]: '5ms', [`${rate}-min-requests`]: '2000000' };
  const off = parseTrafficAnnotations({ ...measured, [`${rate}-threshold`]: '0' });
  assert.deepEqual(off.problems, []);
  assert.equal(off.accrual?.kind === 'unified' && off.accrual.windowMs, 5);
  assert.equal(parseTrafficAnnotations(measured).problems.length, 2);
});

test('reads numbers as they may be written, and refuses a penalty that no proxy can count', () => {
  const jitter = (text: string) =>
    parseTrafficAnnotations({ [ACCRUAL]: 'consecutive', [`${ACCRUAL}-consecutive-jitter-ratio`]: text }).accrual
      ?.backoff.jitterRatio;
  assert.deepEqual(['1', '1.0', '.5', '1.', '1e-1', '-1', 'NaN', '101'].map(jitter), [
    1,
    1,
    0.5,
    1,
    0.1,
    undefined,
    undefined,
    undefined,
  ]);
  const penalty = (text: string) =>
    parseTrafficAnnotations({
      'balancer.alpha.linkerd.io/penalize-failures': 'true',
      'balancer.alpha.linkerd.io/load-biaser-penalty': text,
    }).penalty?.penaltyMs;
  assert.deepEqual([penalty('49d'), penalty('50d')], [49 * 86_400_000, undefined]);
});

test('reads retries and timeouts for both protocols', () => {
  const { httpRetry, grpcRetry, timeouts, problems } = parseTrafficAnnotations({
    'retry.linkerd.io/http': '5xx,gateway-error,429,400-404',
    'retry.linkerd.io/grpc': 'cancelled, unavailable',
    'retry.linkerd.io/limit': '3',
    'retry.linkerd.io/timeout': '250ms',
    'timeout.linkerd.io/request': '10s',
    'timeout.linkerd.io/idle': '1.5s',
  });
  const conditions = [
    { start: 500, end: 599 },
    { start: 502, end: 504 },
    { start: 429, end: 429 },
    { start: 400, end: 404 },
  ];
  assert.deepEqual(httpRetry, { limit: 3, timeoutMs: 250, conditions });
  assert.deepEqual(grpcRetry, { limit: 3, timeoutMs: 250, conditions: ['cancelled', 'unavailable'] });
  assert.deepEqual(timeouts, { requestMs: 10_000, responseMs: undefined, idleMs: undefined });
  assert.deepEqual(problems, [
    'metadata.annotations[timeout.linkerd.io/idle]: found "1.5s", allowed is a whole number and ms, s, m, h or d',
  ]);
  const onlyTimeout = { limit: 1, timeoutMs: 1_000, conditions: [] };
  assert.deepEqual(parseTrafficAnnotations({ 'retry.linkerd.io/timeout': '1s' }).httpRetry, onlyTimeout);
});

test('hashes by one key, and by none where several are given', () => {
  const hash = (annotations: Record<string, string>) => parseTrafficAnnotations(annotations);
  assert.deepEqual(hash({ 'balancer.tulle.mesh/hash-header': 'X-User' }).hash, {
    source: { kind: 'header', name: 'x-user' },
    loadFactor: 1.25,
  });
  assert.deepEqual(
    hash({ 'balancer.tulle.mesh/hash-source-address': 'true', 'balancer.tulle.mesh/hash-load-factor': '2' }).hash,
    { source: { kind: 'source-address' }, loadFactor: 2 },
  );
  const both = hash({ 'balancer.tulle.mesh/hash-cookie': 'a', 'balancer.tulle.mesh/hash-query': 'b' });
  assert.equal(both.hash, undefined);
  assert.equal(both.problems.length, 2);
});

test('penalizes failures where asked to', () => {
  const { penalty } = parseTrafficAnnotations({
    'balancer.alpha.linkerd.io/penalize-failures': 'true',
    'balancer.alpha.linkerd.io/load-biaser-penalty': '1s',
  });
  assert.deepEqual(penalty, { penaltyMs: 1_000, retryAfterMsMax: 300_000 });
});
