/** Circuit breaking, balancing, retries and timeouts as annotations of a Service write them. */
import { parseDuration } from '../duration.ts';

export interface TrafficSettings {
  accrual?: FailureAccrual;
  penalty?: { penaltyMs: number; retryAfterMsMax: number };
  retry?: HttpRetry;
  timeouts: { requestMs?: number; responseMs?: number; idleMs?: number };
  problems: string[];
}

export interface Backoff {
  minMs: number;
  maxMs: number;
  jitterRatio: number;
  honoursRetryAfter: boolean;
}

export type FailureAccrual =
  | { kind: 'consecutive'; failuresMax: number; backoff: Backoff }
  | {
      kind: 'unified';
      successRateThreshold: number;
      windowMs: number;
      requestsMin: number;
      failuresMax: number;
      backoff: Backoff;
    };

export interface HttpRetry {
  limit: number;
  timeoutMs?: number;
  statuses: { start: number; end: number }[];
}

const ACCRUAL = 'balancer.linkerd.io/failure-accrual';
const ALPHA = 'balancer.alpha.linkerd.io';
/** Go's ParseBool. */
const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);
const U32_MAX = 0xffff_ffff;

/** What cannot be read counts as not set and is named in `problems`; an accrual with a bad part is left out as a whole. */
export function parseTrafficAnnotations(annotations: Readonly<Record<string, string>>): TrafficSettings {
  const problems: string[] = [];
  const read = <T>(key: string, parse: (text: string) => T | undefined, expected: string): T | undefined => {
    const text = annotations[key]?.trim();
    if (text === undefined || text === '') return undefined;
    const value = parse(text);
    if (value === undefined) problems.push(`annotation ${key}: "${text}" is not ${expected}`);
    return value;
  };
  const duration = (key: string) => read(key, parseDuration, 'a duration such as 500ms or 10s');
  const timeouts = {
    requestMs: duration('timeout.linkerd.io/request'),
    responseMs: duration('timeout.linkerd.io/response'),
    idleMs: duration('timeout.linkerd.io/idle'),
  };
  const retry = readRetry(
    read('retry.linkerd.io/http', parseStatuses, 'a list of statuses such as 5xx,429'),
    read('retry.linkerd.io/limit', (text) => parseNumber(text, 0, 0xffff, true), 'a number up to 65535'),
    duration('retry.linkerd.io/timeout'),
  );
  const before = problems.length;
  const accrual = readAccrual(read);
  return {
    accrual: problems.length === before ? accrual : undefined,
    penalty: readPenalty(read),
    retry,
    timeouts,
    problems,
  };
}

type Read = <T>(key: string, parse: (text: string) => T | undefined, expected: string) => T | undefined;

/** Any one of the three asks for retries. */
function readRetry(
  statuses: HttpRetry['statuses'] | undefined,
  limit: number | undefined,
  timeoutMs: number | undefined,
): HttpRetry | undefined {
  if (statuses === undefined && !limit && timeoutMs === undefined) return undefined;
  return { limit: limit || 1, timeoutMs, statuses: statuses ?? [] };
}

function readAccrual(read: Read): FailureAccrual | undefined {
  const mode = read(
    ACCRUAL,
    (text) => (text === 'consecutive' || text === 'unified' ? text : undefined),
    'a known mode',
  );
  if (!mode) return undefined;
  const part = `${ACCRUAL}-consecutive`;
  const minMs = read(`${part}-min-penalty`, parseDuration, 'a duration') ?? 1_000;
  const maxMs = read(`${part}-max-penalty`, parseDuration, 'a duration') ?? 60_000;
  read(`${part}-max-penalty`, () => (minMs <= maxMs && maxMs > 0 ? true : undefined), 'at least the minimum');
  const backoff: Backoff = {
    minMs,
    maxMs,
    jitterRatio: read(`${part}-jitter-ratio`, (text) => parseNumber(text, 0, 100), 'a number from 0 to 100') ?? 0.5,
    honoursRetryAfter: read(`${ALPHA}/failure-accrual-honor-retry-after`, parseBool, 'true or false') ?? false,
  };
  const count = (text: string) => parseNumber(text, 0, U32_MAX, true);
  const failuresMax = read(`${part}-max-failures`, count, 'a number') ?? 7;
  if (mode === 'consecutive') return { kind: 'consecutive', failuresMax, backoff };
  const rate = `${ALPHA}/failure-accrual-success-rate`;
  return {
    kind: 'unified',
    successRateThreshold: read(`${rate}-threshold`, (text) => parseNumber(text, 0, 1), 'a number from 0 to 1') ?? 0.8,
    windowMs:
      read(`${rate}-window`, (text) => atLeast(parseDuration(text), 10), 'a duration of 10ms or more') ?? 10_000,
    requestsMin: read(`${rate}-min-requests`, (text) => parseNumber(text, 0, 1e6, true), 'a number up to 1000000') ?? 5,
    failuresMax,
    backoff,
  };
}

function readPenalty(read: Read): TrafficSettings['penalty'] {
  if (!read(`${ALPHA}/penalize-failures`, parseBool, 'true or false')) return undefined;
  return {
    penaltyMs: read(`${ALPHA}/load-biaser-penalty`, parseDuration, 'a duration') ?? 5_000,
    retryAfterMsMax: read(`${ALPHA}/load-biaser-max-retry-after`, parseDuration, 'a duration') ?? 300_000,
  };
}

function parseStatuses(text: string): HttpRetry['statuses'] | undefined {
  const ranges = text.split(',').map((part) => parseStatus(part.trim()));
  return ranges.every((range) => range !== undefined) ? ranges : undefined;
}

function parseStatus(text: string): { start: number; end: number } | undefined {
  if (text === '5xx') return { start: 500, end: 599 };
  if (text === 'gateway-error') return { start: 502, end: 504 };
  const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(text);
  if (!match) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2] ?? match[1]);
  return start <= end ? { start, end } : undefined;
}

function parseNumber(text: string, min: number, max: number, isWhole = false): number | undefined {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max && (!isWhole || Number.isInteger(value)) ? value : undefined;
}

function parseBool(text: string): boolean | undefined {
  return TRUE.has(text) ? true : FALSE.has(text) ? false : undefined;
}

function atLeast(value: number | undefined, min: number): number | undefined {
  return value !== undefined && value >= min ? value : undefined;
}
