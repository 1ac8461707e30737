/** What a ServiceProfile adds to a profile on the wire. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RequestMatchSchema, ResponseMatchSchema, RetryBudgetSchema } from '@tulle/api/gen/destination_pb.ts';
import { HttpMethod_Registered, type HttpMethodSchema } from '@tulle/api/gen/http_types_pb.ts';
import type { RequestMatch, ResponseMatch, RetryBudget } from '@tulle/api/service-profile.ts';
import { coreMetadata, type MetadataInit, toDuration } from '../wire/net.ts';
import { overridesOf } from './overrides.ts';
import type { EffectiveProfile } from './profile-index.ts';

/** What retries of a Service may add to its load: a fifth, and ten a second, over ten seconds. */
export const RETRY_BUDGET_DEFAULT: MessageInitShape<typeof RetryBudgetSchema> = toRetryBudget({
  retryRatio: 0.2,
  minRetriesPerSecond: 10,
  ttlMs: 10_000,
});

/** `port` is the one that was asked for; overrides without a port of their own keep it. */
export function toProfileRoutes(profile: EffectiveProfile, port: number, clusterDomain: string) {
  return {
    routes: profile.routes.map((route) => ({
      condition: toRequestMatch(route.condition),
      responseClasses: route.responseClasses.map(({ condition, isFailure }) => ({
        condition: toResponseMatch(condition),
        isFailure,
      })),
      metricsLabels: { route: route.name },
      isRetryable: route.isRetryable,
      timeout: route.timeoutMs === undefined ? undefined : toDuration(route.timeoutMs),
    })),
    retryBudget: profile.retryBudget ? toRetryBudget(profile.retryBudget) : RETRY_BUDGET_DEFAULT,
    dstOverrides: overridesOf(profile, port, clusterDomain).map(({ authority, weight, service }) => ({
      authority,
      weight,
      backendRef: service && coreMetadata('Service', service, service.port),
    })),
    profileRef: toRef(profile),
  };
}

function toRetryBudget({ retryRatio, minRetriesPerSecond, ttlMs }: RetryBudget) {
  return { retryRatio, minRetriesPerSecond, ttl: toDuration(ttlMs) };
}

function toRef({ ref: { group, kind, name, namespace } }: EffectiveProfile): MetadataInit {
  return { kind: { case: 'resource', value: { group, kind, name, namespace } } };
}

function toRequestMatch(match: RequestMatch): MessageInitShape<typeof RequestMatchSchema> {
  switch (match.kind) {
    case 'all':
    case 'any':
      return { match: { case: match.kind, value: { matches: match.matches.map(toRequestMatch) } } };
    case 'not':
      return { match: { case: 'not', value: toRequestMatch(match.match) } };
    case 'method':
      return { match: { case: 'method', value: toMethod(match.method) } };
    case 'path':
      return { match: { case: 'path', value: { regex: match.regex } } };
  }
}

function toResponseMatch(match: ResponseMatch): MessageInitShape<typeof ResponseMatchSchema> {
  switch (match.kind) {
    case 'all':
    case 'any':
      return { match: { case: match.kind, value: { matches: match.matches.map(toResponseMatch) } } };
    case 'not':
      return { match: { case: 'not', value: toResponseMatch(match.match) } };
    case 'status':
      return { match: { case: 'status', value: { min: match.min, max: match.max } } };
  }
}

function toMethod(name: string): MessageInitShape<typeof HttpMethodSchema> {
  const upper = name.toUpperCase();
  const registered = Object.hasOwn(HttpMethod_Registered, upper)
    ? HttpMethod_Registered[upper as keyof typeof HttpMethod_Registered]
    : undefined;
  return {
    type:
      typeof registered === 'number'
        ? { case: 'registered', value: registered }
        : { case: 'unregistered', value: upper },
  };
}
