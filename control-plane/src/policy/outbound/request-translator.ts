/** Routes of requests as the policy API writes them: HTTP's and gRPC's, which differ in their filters and conditions. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { GrpcRouteSchema, HttpRouteSchema } from '@tulle/api/gen/outbound_pb.ts';
import type { GrpcRetryCode, Retry, StatusRange, Timeouts } from '@tulle/api/routes/traffic-annotations.ts';
import { toGrpcMatch, toHeaderModifier, toHostMatch, toHttpMatch, toRedirect } from '../../wire/http-route.ts';
import { toDuration } from '../../wire/net.ts';
import type { Backoff } from '../../workloads/traffic-annotations.ts';
import { sourceMetadata, toBackend, toBackoff } from './backend-translator.ts';
import type {
  Failure,
  GrpcPolicyRoute,
  GrpcPolicyRule,
  HttpPolicyRoute,
  HttpPolicyRule,
  PolicyFilter,
  RequestBackend,
} from './outbound-policy.ts';
import { needsOwnProxy } from './overlay-translator.ts';
import { bySection } from './sections.ts';

export type HttpRouteInit = MessageInitShape<typeof HttpRouteSchema>;
export type GrpcRouteInit = MessageInitShape<typeof GrpcRouteSchema>;
type HttpRuleInit = NonNullable<HttpRouteInit['rules']>[number];
type GrpcRuleInit = NonNullable<GrpcRouteInit['rules']>[number];
type HttpFilterInit = NonNullable<HttpRuleInit['filters']>[number];
type GrpcFilterInit = NonNullable<GrpcRuleInit['filters']>[number];

/** Bodies up to this size are kept to be sent again. */
const RETRY_BODY_BYTES_MAX = 64 * 1024;
const RETRY_BACKOFF: Backoff = { minMs: 25, maxMs: 250, jitterRatio: 1, honoursRetryAfter: false };
/** What a proxy answers that would do something else than was asked for. */
const REFUSAL = "needs Tulle's proxy";
const EVERY_REQUEST = { numerator: 1, denominator: 1 };

export function toHttpRoutes(routes: readonly HttpPolicyRoute[], clusterDomain: string): HttpRouteInit[] {
  return bySection(routes).map(({ source, section, hostnames, rules }) => ({
    metadata: sourceMetadata(source, section),
    hosts: hostnames.map(toHostMatch),
    rules: rules.map((rule) => toHttpRule(rule, clusterDomain)),
  }));
}

export function toGrpcRoutes(routes: readonly GrpcPolicyRoute[], clusterDomain: string): GrpcRouteInit[] {
  return bySection(routes).map(({ source, section, hostnames, rules }) => ({
    metadata: sourceMetadata(source, section),
    hosts: hostnames.map(toHostMatch),
    rules: rules.map((rule) => toGrpcRule(rule, clusterDomain)),
  }));
}

function toHttpRule(rule: HttpPolicyRule, clusterDomain: string): HttpRuleInit {
  const filters = filtersOf(rule, toHttpFilter, httpInjector);
  return {
    matches: rule.matches.map(toHttpMatch),
    filters,
    backends: toDistribution(rule, clusterDomain, toHttpFilter, httpInjector),
    ...commonParts(rule),
    retry: rule.retry && { ...toRetry(rule.retry.value), conditions: toStatuses(rule.retry.value) },
  } as HttpRuleInit;
}

function toGrpcRule(rule: GrpcPolicyRule, clusterDomain: string): GrpcRuleInit {
  const filters = filtersOf(rule, toGrpcFilter, grpcInjector);
  return {
    matches: rule.matches.map(toGrpcMatch),
    filters,
    backends: toDistribution(rule, clusterDomain, toGrpcFilter, grpcInjector),
    ...commonParts(rule),
    retry: rule.retry && { ...toRetry(rule.retry.value), conditions: toCodes(rule.retry.value) },
  } as GrpcRuleInit;
}

type ToFilter<F> = (filter: PolicyFilter) => F[];
type ToInjector<F> = (failure: Failure, ratio?: typeof EVERY_REQUEST) => F;
const OWN_PROXY: Failure = { status: 500, code: 14, message: REFUSAL };

/** A failure comes first: nothing is done with requests that fail. */
function filtersOf<F>(
  rule: Pick<HttpPolicyRule, 'failure' | 'filters' | 'sessionPersistence'>,
  toFilter: ToFilter<F>,
  toInjector: ToInjector<F>,
): F[] {
  if (rule.failure) return [toInjector(rule.failure)];
  const filters = rule.filters.flatMap(toFilter);
  return needsOwnProxy(rule) ? [toInjector(OWN_PROXY, EVERY_REQUEST), ...filters] : filters;
}

function toDistribution<F>(
  rule: Pick<HttpPolicyRule, 'backends' | 'isWeighted'>,
  clusterDomain: string,
  toFilter: ToFilter<F>,
  toInjector: ToInjector<F>,
) {
  const toRouteBackend = (backend: RequestBackend) => {
    const failure = backend.invalid === undefined ? undefined : { ...OWN_PROXY, message: backend.invalid };
    return {
      backend: toBackend(backend, clusterDomain),
      filters: filtersOf({ ...backend, failure }, toFilter, toInjector),
    };
  };
  if (!rule.isWeighted)
    return { kind: { case: 'firstAvailable', value: { backends: rule.backends.map(toRouteBackend) } } };
  const backends = rule.backends.map((backend) => ({ weight: backend.weight, backend: toRouteBackend(backend) }));
  return { kind: { case: 'randomAvailable', value: { backends } } };
}

/** The deprecated timeout of requests is for old proxies. */
function commonParts({ timeouts, allowsRequestHeaders }: Pick<HttpPolicyRule, 'timeouts' | 'allowsRequestHeaders'>) {
  return {
    requestTimeout: optionalDuration(timeouts.value.requestMs),
    timeouts: toTimeouts(timeouts.value),
    allowL5dRequestHeaders: allowsRequestHeaders,
  };
}

function toTimeouts({ requestMs, responseMs, idleMs }: Timeouts) {
  return {
    request: optionalDuration(requestMs),
    response: optionalDuration(responseMs),
    idle: optionalDuration(idleMs),
  };
}

function optionalDuration(ms: number | undefined) {
  return ms === undefined ? undefined : toDuration(ms);
}

function toRetry({ limit, timeoutMs, backoffMs: minMs = RETRY_BACKOFF.minMs }: Retry<unknown>) {
  const backoff: Backoff = { ...RETRY_BACKOFF, minMs, maxMs: Math.max(RETRY_BACKOFF.maxMs, minMs) };
  return {
    maxRetries: limit,
    maxRequestBytes: RETRY_BODY_BYTES_MAX,
    timeout: optionalDuration(timeoutMs),
    backoff: toBackoff(backoff),
  };
}

function toStatuses({ conditions }: Retry<StatusRange>) {
  return { statusRanges: conditions.map(({ start, end }) => ({ start, end })) };
}

function toCodes({ conditions }: Retry<GrpcRetryCode>) {
  const has = (code: GrpcRetryCode) => conditions.includes(code);
  return {
    cancelled: has('cancelled'),
    deadineExceeded: has('deadline-exceeded'), // spelled so in the API
    resourceExhausted: has('resource-exhausted'),
    internal: has('internal'),
    unavailable: has('unavailable'),
  };
}

function toHttpFilter(filter: PolicyFilter): HttpFilterInit[] {
  switch (filter.kind) {
    case 'request-headers':
      return [{ kind: { case: 'requestHeaderModifier', value: toHeaderModifier(filter) } }];
    case 'response-headers':
      return [{ kind: { case: 'responseHeaderModifier', value: responseModifier(filter) } }];
    case 'redirect':
      return [{ kind: { case: 'redirect', value: toRedirect(filter) } }];
    case 'rewrite':
      return []; // in the overlay
  }
}

/** The same message under another name. */
function responseModifier(filter: Parameters<typeof toHeaderModifier>[0]) {
  const { add, set, remove } = toHeaderModifier(filter);
  return { add, set, remove };
}

function toGrpcFilter(filter: PolicyFilter): GrpcFilterInit[] {
  if (filter.kind !== 'request-headers') return []; // in the overlay
  return [{ kind: { case: 'requestHeaderModifier', value: toHeaderModifier(filter) } }];
}

function httpInjector({ status, message }: Failure, ratio?: typeof EVERY_REQUEST): HttpFilterInit {
  return { kind: { case: 'failureInjector', value: { status, message, ratio } } };
}

function grpcInjector({ code, message }: Failure, ratio?: typeof EVERY_REQUEST): GrpcFilterInit {
  return { kind: { case: 'failureInjector', value: { code, message, ratio } } };
}
