/** Retries and timeouts as annotations of routes, Services and EgressNetworks write them. */
import { parseDuration } from '../duration.ts';
import { Field } from '../field.ts';

export interface Timeouts {
  readonly requestMs?: number;
  readonly responseMs?: number;
  readonly idleMs?: number;
}

export interface StatusRange {
  readonly start: number;
  readonly end: number;
}

export const GRPC_RETRY_CODES = [
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const;
export type GrpcRetryCode = (typeof GRPC_RETRY_CODES)[number];

/** No conditions: only tries that time out are made again. */
export interface Retry<Condition> {
  readonly limit: number;
  readonly timeoutMs?: number;
  /** What is waited at least before a try; not set where the mesh decides. */
  readonly backoffMs?: number;
  readonly conditions: readonly Condition[];
}

export interface TrafficAnnotations {
  readonly timeouts: Timeouts;
  readonly httpRetry?: Retry<StatusRange>;
  readonly grpcRetry?: Retry<GrpcRetryCode>;
}

export const TIMEOUT_ANNOTATIONS = {
  requestMs: 'timeout.linkerd.io/request',
  responseMs: 'timeout.linkerd.io/response',
  idleMs: 'timeout.linkerd.io/idle',
} as const satisfies Record<keyof Timeouts, string>;
export const HTTP_RETRY_ANNOTATION = 'retry.linkerd.io/http';
export const GRPC_RETRY_ANNOTATION = 'retry.linkerd.io/grpc';
export const RETRY_LIMIT_ANNOTATION = 'retry.linkerd.io/limit';
export const RETRY_TIMEOUT_ANNOTATION = 'retry.linkerd.io/timeout';

export const RETRY_LIMIT_DEFAULT = 1;
export const RETRY_LIMIT_MAX = 0xffff;
export const GATEWAY_ERROR: StatusRange = { start: 502, end: 504 };
const DURATION = 'a whole number and ms, s, m, h or d';

type Annotations = Readonly<Record<string, unknown>>;

/**
 * What cannot be read counts as not set and is a problem; retries with a bad part are left out as a whole. `protocol` is what a route is for; annotations for the other
 * are a problem on it. Services and EgressNetworks have both.
 */
export function readTrafficAnnotations(
  annotations: Annotations,
  problems: string[],
  protocol?: 'http' | 'grpc',
): TrafficAnnotations {
  const field = (key: string) => new Field(`metadata.annotations[${key}]`, trimmed(annotations[key]), problems);
  const duration = (key: string) => {
    const text = field(key).text(DURATION);
    if (text === undefined) return undefined;
    // Zero is no time limit, as in the Gateway API.
    return (parseDuration(text) ?? field(key).refuse(DURATION)) || undefined;
  };
  const timeouts = {
    requestMs: duration(TIMEOUT_ANNOTATIONS.requestMs),
    responseMs: duration(TIMEOUT_ANNOTATIONS.responseMs),
    idleMs: duration(TIMEOUT_ANNOTATIONS.idleMs),
  };
  const before = problems.length;
  const limit = readLimit(field(RETRY_LIMIT_ANNOTATION));
  const timeoutMs = duration(RETRY_TIMEOUT_ANNOTATION);
  const http = field(HTTP_RETRY_ANNOTATION);
  const grpc = field(GRPC_RETRY_ANNOTATION);
  if (protocol === 'grpc' && http.isSet) http.refuse(`${GRPC_RETRY_ANNOTATION} on a GRPCRoute`);
  if (protocol === 'http' && grpc.isSet) grpc.refuse(`${HTTP_RETRY_ANNOTATION} on an HTTPRoute`);
  const statuses =
    protocol === 'grpc' ? undefined : readList(http, parseStatus, 'a list such as 5xx,gateway-error,429,500-504');
  const codes = protocol === 'http' ? undefined : readList(grpc, parseCode, `a list of ${GRPC_RETRY_CODES.join(', ')}`);
  // A part of what was asked for could be more than what was asked for.
  const isReadable = problems.length === before;
  return {
    timeouts,
    httpRetry: isReadable && protocol !== 'grpc' ? retryOf(limit, timeoutMs, statuses) : undefined,
    grpcRetry: isReadable && protocol !== 'http' ? retryOf(limit, timeoutMs, codes) : undefined,
  };
}

/** Any one of the three asks for retries. */
function retryOf<C>(
  limit: number | undefined,
  timeoutMs: number | undefined,
  conditions: readonly C[] | undefined,
): Retry<C> | undefined {
  if (limit === undefined && timeoutMs === undefined && conditions === undefined) return undefined;
  return { limit: limit ?? RETRY_LIMIT_DEFAULT, timeoutMs, conditions: conditions ?? [] };
}

/** Zero counts as not set. */
function readLimit(field: Field): number | undefined {
  const allowed = `0 to ${RETRY_LIMIT_MAX}`;
  const text = field.text(allowed);
  if (text === undefined) return undefined;
  const limit = /^\d{1,5}$/.test(text) ? Number(text) : RETRY_LIMIT_MAX + 1;
  return limit > RETRY_LIMIT_MAX ? field.refuse(allowed) : limit || undefined;
}

function readList<T>(field: Field, parse: (text: string) => T | undefined, allowed: string): T[] | undefined {
  const text = field.text(allowed);
  if (text === undefined) return undefined;
  const values = text.split(',').map((part) => parse(part.trim().toLowerCase()));
  return values.every((value) => value !== undefined) ? values : field.refuse(allowed);
}

function parseStatus(text: string): StatusRange | undefined {
  if (text === '5xx') return { start: 500, end: 599 };
  if (text === 'gateway-error') return GATEWAY_ERROR;
  const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(text);
  if (!match) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2] ?? match[1]);
  return start <= end ? { start, end } : undefined;
}

function parseCode(text: string): GrpcRetryCode | undefined {
  return GRPC_RETRY_CODES.find((code) => code === text);
}

/** An empty annotation is how tools unset one. */
function trimmed(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const text = value.trim();
  return text === '' ? undefined : text;
}
