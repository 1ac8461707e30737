/** Circuit breaking, balancing, retries and timeouts as annotations of Services and EgressNetworks write them. */
import { parseDuration } from '@tulle/api/duration.ts';
import { isHeaderName } from '@tulle/api/routes/http-match.ts';
import { readTrafficAnnotations, type TrafficAnnotations } from '@tulle/api/routes/traffic-annotations.ts';

export interface TrafficSettings extends TrafficAnnotations {
  accrual?: FailureAccrual;
  penalty?: { penaltyMs: number; retryAfterMsMax: number };
  /** Requests that agree in it go to the same endpoint; beyond Linkerd. */
  hash?: HashSettings;
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

export interface HashSettings {
  source: { kind: 'header' | 'cookie' | 'query'; name: string } | { kind: 'source-address' };
  /** No endpoint takes more than this many times the mean of the requests in flight. */
  loadFactor: number;
}

const ACCRUAL = 'balancer.linkerd.io/failure-accrual';
const ALPHA = 'balancer.alpha.linkerd.io';
const HASH = 'balancer.tulle.mesh/hash';
/** Go's ParseBool. */
const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);
const U32_MAX = 0xffff_ffff;
const LOAD_FACTOR_DEFAULT = 1.25;
/** Above it the bound is none. */
const LOAD_FACTOR_MAX = 100;

type Read = <T>(key: string, parse: (text: string) => T | undefined, allowed: string) => T | undefined;

/** What cannot be read counts as not set and is named in `problems`; an accrual or a hash with a bad part is left out as a whole. */
export function parseTrafficAnnotations(annotations: Readonly<Record<string, string>>): TrafficSettings {
  const problems: string[] = [];
  const read = reader(annotations, problems);
  const whole = <T>(part: (read: Read) => T | undefined): T | undefined => {
    const before = problems.length;
    const value = part(read);
    return problems.length === before ? value : undefined;
  };
  return {
    ...readTrafficAnnotations(annotations, problems),
    accrual: whole(readAccrual),
    penalty: whole(readPenalty),
    hash: whole(readHash),
    problems,
  };
}

/** What is wrong with the annotations of failure accrual; routes have them checked, though they count on Services alone. */
export function accrualProblems(annotations: Readonly<Record<string, string>>): string[] {
  const problems: string[] = [];
  readAccrual(reader(annotations, problems));
  return problems;
}

function reader(annotations: Readonly<Record<string, string>>, problems: string[]): Read {
  return (key, parse, allowed) => {
    const text = annotations[key]?.trim();
    if (text === undefined || text === '') return undefined;
    const value = parse(text);
    if (value === undefined) problems.push(`metadata.annotations[${key}]: found "${text}", allowed is ${allowed}`);
    return value;
  };
}

function readAccrual(read: Read): FailureAccrual | undefined {
  const mode = read(
    ACCRUAL,
    (text) => (text === 'consecutive' || text === 'unified' ? text : undefined),
    'consecutive or unified',
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
  const successRateThreshold =
    read(`${rate}-threshold`, (text) => parseNumber(text, 0, 1), 'a number from 0 to 1') ?? 0.8;
  // A threshold of 0 turns this part off, and what it would be measured by does not matter.
  const [windowMsMin, requestsMax] = successRateThreshold === 0 ? [1, U32_MAX] : [10, 1_000_000];
  const window = (text: string) => atLeast(parseDuration(text), windowMsMin);
  const requests = (text: string) => parseNumber(text, 0, requestsMax, true);
  return {
    kind: 'unified',
    successRateThreshold,
    windowMs: read(`${rate}-window`, window, `a duration of ${windowMsMin}ms or more`) ?? 10_000,
    requestsMin: read(`${rate}-min-requests`, requests, `a number up to ${requestsMax}`) ?? 5,
    failuresMax,
    backoff,
  };
}

function readPenalty(read: Read): TrafficSettings['penalty'] {
  if (!read(`${ALPHA}/penalize-failures`, parseBool, 'true or false')) return undefined;
  return {
    penaltyMs:
      read(`${ALPHA}/load-biaser-penalty`, (text) => atMost(parseDuration(text), U32_MAX), 'a duration below 50d') ??
      5_000,
    retryAfterMsMax: read(`${ALPHA}/load-biaser-max-retry-after`, parseDuration, 'a duration') ?? 300_000,
  };
}

function readHash(read: Read): HashSettings | undefined {
  const name = (text: string) => (isHeaderName(text) ? text : undefined);
  const header = read(`${HASH}-header`, (text) => name(text)?.toLowerCase(), 'the name of a header');
  const cookie = read(`${HASH}-cookie`, name, 'the name of a cookie');
  const query = read(`${HASH}-query`, (text) => text, 'the name of a query parameter');
  const isByAddress = read(`${HASH}-source-address`, parseBool, 'true or false') ?? false;
  const number = (text: string) => parseNumber(text, 1, LOAD_FACTOR_MAX);
  const loadFactor = read(`${HASH}-load-factor`, number, `a number from 1 to ${LOAD_FACTOR_MAX}`);
  const sources: HashSettings['source'][] = [
    ...(header === undefined ? [] : [{ kind: 'header' as const, name: header }]),
    ...(cookie === undefined ? [] : [{ kind: 'cookie' as const, name: cookie }]),
    ...(query === undefined ? [] : [{ kind: 'query' as const, name: query }]),
    ...(isByAddress ? [{ kind: 'source-address' as const }] : []),
  ];
  if (sources.length > 1) {
    for (const { kind } of sources) read(`${HASH}-${kind}`, () => undefined, 'one key to hash by, not several');
  }
  const source = sources.length === 1 ? sources[0] : undefined;
  return source && { source, loadFactor: loadFactor ?? LOAD_FACTOR_DEFAULT };
}

function parseNumber(text: string, min: number, max: number, isWhole = false): number | undefined {
  const value = (isWhole ? /^\+?\d+$/ : /^\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i).test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max && (!isWhole || Number.isInteger(value)) ? value : undefined;
}

function parseBool(text: string): boolean | undefined {
  return TRUE.has(text) ? true : FALSE.has(text) ? false : undefined;
}

function atMost(value: number | undefined, max: number): number | undefined {
  return value !== undefined && value <= max ? value : undefined;
}

function atLeast(value: number | undefined, min: number): number | undefined {
  return value !== undefined && value >= min ? value : undefined;
}
