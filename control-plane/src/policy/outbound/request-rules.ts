/** Rules for requests: those of routes, with the parent's settings under their own, and those that hold where there are none. */
import type { ObjectRef } from '@tulle/api/object-ref.ts';
import type { GrpcRoute, GrpcRule } from '@tulle/api/routes/grpc-route.ts';
import { ANY_GRPC, ANY_HTTP } from '@tulle/api/routes/http-match.ts';
import type { HttpRoute, HttpRule } from '@tulle/api/routes/http-route.ts';
import type { Retry, Timeouts } from '@tulle/api/routes/traffic-annotations.ts';
import type { TrafficSettings } from '../../workloads/traffic-annotations.ts';
import { type BackendContext, parentBackend, resolveFilters, resolveRequestBackend } from './backends.ts';
import {
  brokenFailure,
  type Failure,
  type GrpcPolicyRoute,
  type GrpcPolicyRule,
  type HttpPolicyRoute,
  type HttpPolicyRule,
  type RequestRule,
  type Source,
  type Sourced,
} from './outbound-policy.ts';

export interface ParentSettings {
  source: Source;
  traffic: TrafficSettings;
  /** Whether applications may set timeouts and retries by request headers. */
  allowsRequestHeaders: boolean;
}

export function httpRoute(context: BackendContext, settings: ParentSettings, route: HttpRoute): HttpPolicyRoute {
  const from: Source = { kind: 'object', ref: route.ref };
  const rules = route.rules.map((rule): HttpPolicyRule => {
    const annotated = route.traffic.timeouts;
    const own = { ...annotated, requestMs: annotated.requestMs ?? rule.requestTimeoutMs };
    return {
      ...requestRule(context, settings, route.ref, rule),
      matches: rule.matches,
      timeouts: timeoutsOf(own, from, settings),
      retry: retryOf(route.traffic.httpRetry ?? rule.retry, from, settings.traffic.httpRetry, settings.source),
    };
  });
  return { source: from, hostnames: route.hostnames, rules };
}

export function grpcRoute(context: BackendContext, settings: ParentSettings, route: GrpcRoute): GrpcPolicyRoute {
  const from: Source = { kind: 'object', ref: route.ref };
  const rules = route.rules.map(
    (rule): GrpcPolicyRule => ({
      ...requestRule(context, settings, route.ref, rule),
      matches: rule.matches,
      timeouts: timeoutsOf(route.traffic.timeouts, from, settings),
      retry: retryOf(route.traffic.grpcRetry, from, settings.traffic.grpcRetry, settings.source),
    }),
  );
  return { source: from, hostnames: route.hostnames, rules };
}

/** What takes every request that no route takes; with a failure, what refuses it. */
export function defaultHttpRoute(
  context: BackendContext,
  settings: ParentSettings,
  name: string,
  failure?: Failure,
  match = ANY_HTTP,
): HttpPolicyRoute {
  const rule = { ...defaultRule(context, settings, failure), matches: [match] };
  const retry = retryOf(undefined, settings.source, settings.traffic.httpRetry, settings.source);
  return { source: { kind: 'default', name }, hostnames: [], rules: [{ ...rule, retry }] };
}

/** As `defaultHttpRoute`. */
export function defaultGrpcRoute(
  context: BackendContext,
  settings: ParentSettings,
  name: string,
  failure?: Failure,
): GrpcPolicyRoute {
  const rule = { ...defaultRule(context, settings, failure), matches: [ANY_GRPC] };
  const retry = retryOf(undefined, settings.source, settings.traffic.grpcRetry, settings.source);
  return { source: { kind: 'default', name }, hostnames: [], rules: [{ ...rule, retry }] };
}

function defaultRule(context: BackendContext, settings: ParentSettings, failure?: Failure) {
  return {
    filters: [],
    mirrors: [],
    backends: [parentBackend(context)],
    isWeighted: false,
    timeouts: { value: settings.traffic.timeouts, from: settings.source },
    allowsRequestHeaders: settings.allowsRequestHeaders,
    ...(failure ? { failure } : {}),
  };
}

type SharedParts = Omit<RequestRule<never, never>, 'matches' | 'timeouts' | 'retry'>;

function requestRule(
  context: BackendContext,
  settings: ParentSettings,
  route: ObjectRef,
  rule: HttpRule | GrpcRule,
): SharedParts {
  const named = rule.backends.map((backend) => resolveRequestBackend(context, route, backend));
  return {
    section: rule.name,
    field: rule.field,
    ...resolveFilters(context, route, rule.filters),
    backends: named.length > 0 ? named : [parentBackend(context)],
    isWeighted: named.length > 0,
    sessionPersistence: rule.sessionPersistence,
    allowsRequestHeaders: settings.allowsRequestHeaders,
    ...(rule.invalid === undefined ? {} : { failure: brokenFailure(rule.invalid) }),
  };
}

/** A route that sets one timeout has none of the parent's. */
function timeoutsOf(own: Timeouts, from: Source, parent: ParentSettings): Sourced<Timeouts> {
  const isOwn = own.requestMs !== undefined || own.responseMs !== undefined || own.idleMs !== undefined;
  return isOwn ? { value: own, from } : { value: parent.traffic.timeouts, from: parent.source };
}

function retryOf<C>(
  own: Retry<C> | undefined,
  from: Source,
  ofParent: Retry<C> | undefined,
  parent: Source,
): Sourced<Retry<C>> | undefined {
  if (own) return { value: own, from };
  return ofParent && { value: ofParent, from: parent };
}
