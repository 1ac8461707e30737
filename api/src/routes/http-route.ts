/**
 * HTTPRoute of policy.linkerd.io (every version; earlier ones lack backends, then timeouts) and of
 * gateway.networking.k8s.io (v1beta1, v1).
 */
import { parseGoDuration } from '../duration.ts';
import type { Field } from '../field.ts';
import { HTTP_ROUTES, type Kind, POLICY_HTTP_ROUTES } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { groupOf } from '../object-ref.ts';
import { GATEWAY_GROUP } from '../policy/target-ref.ts';
import { GATEWAY_HTTP_FILTERS, type HttpFilter, POLICY_FILTERS, readFilters } from './http-filter.ts';
import { type HttpMatch, readHttpMatches } from './http-match.ts';
import {
  type BackendRef,
  hasOutboundParent,
  type Read,
  type Route,
  type Rule,
  readBackends,
  readRouteHead,
  readRules,
  valid,
} from './route.ts';
import { readSessionPersistence, type SessionPersistence } from './session-persistence.ts';
import {
  GATEWAY_ERROR,
  RETRY_LIMIT_DEFAULT,
  RETRY_LIMIT_MAX,
  type Retry,
  readTrafficAnnotations,
  type StatusRange,
  type TrafficAnnotations,
} from './traffic-annotations.ts';

export interface HttpRoute extends Route {
  readonly rules: readonly HttpRule[];
  /** What the route's annotations say for all its rules. */
  readonly traffic: TrafficAnnotations;
}

export interface HttpRule extends Rule {
  /** Any of them; at least one. */
  readonly matches: readonly HttpMatch[];
  readonly filters: readonly HttpFilter[];
  /** Empty: what the parent stands for. */
  readonly backends: readonly HttpBackendRef[];
  /** `timeouts.request`; not set where there is none. */
  readonly requestTimeoutMs?: number;
  /** That of the field, under the annotations'. */
  readonly retry?: Retry<StatusRange>;
  readonly sessionPersistence?: SessionPersistence;
}

export interface HttpBackendRef extends BackendRef {
  readonly filters: readonly HttpFilter[];
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseHttpRoute(object: KubeObject): HttpRoute {
  return valid(readHttpRoute(object));
}

/**
 * As much of it as can be read: rules with problems are `invalid`, annotations and parents with problems are left out,
 * and a route none of whose host names can be read has no rules. `kind` is that of a list's items, which leave it out.
 */
export function readHttpRoute(object: KubeObject, kind: Kind = POLICY_HTTP_ROUTES): Read<HttpRoute> {
  const isGateway = groupOf(object.apiVersion ?? kind.apiVersion) === GATEWAY_GROUP;
  const served = isGateway ? HTTP_ROUTES : POLICY_HTTP_ROUTES;
  const { route, isNothing, spec, problems } = readRouteHead(object, served);
  const { ref } = route;
  const supported = isGateway ? GATEWAY_HTTP_FILTERS : POLICY_FILTERS;
  const isOutbound = hasOutboundParent(route);
  const rules = readRules(spec, problems, true, (rule, { index, ofBackends, admitted }) => {
    const matches = readHttpMatches(rule);
    const isPrefixMatch = matches.every(({ path }) => path.kind === 'prefix');
    const options = { ref, supported, isPrefixMatch };
    return {
      matches,
      filters: readFilters(rule, isOutbound ? options : { ...options, admitted }),
      backends: readBackends(rule, ref, ofBackends, (backend) => ({ filters: readFilters(backend, options) })),
      requestTimeoutMs: readTimeouts(rule.get('timeouts')),
      retry: isGateway ? readRetry(rule.get('retry')) : undefined,
      sessionPersistence: isGateway ? readSessionPersistence(rule, ref, index) : undefined,
    };
  });
  const annotations = isOutbound ? (object.metadata.annotations ?? {}) : {};
  const traffic = readTrafficAnnotations(annotations, problems, 'http');
  return { route: { ...route, rules: isNothing ? [] : rules, traffic }, problems };
}

/** That of the whole request; the one of each try is checked and has no effect, as in Linkerd. Zero is none. */
function readTimeouts(timeouts: Field): number | undefined {
  if (!timeouts.object()) return undefined;
  const requestMs = readTimeout(timeouts.get('request'));
  const backend = timeouts.get('backendRequest');
  const backendMs = readTimeout(backend);
  if (requestMs && backendMs && backendMs > requestMs) backend.refuse('no more than timeouts.request');
  return requestMs || undefined;
}

/** The Gateway API leaves open what is sent again without codes: here what no server has answered. */
function readRetry(retry: Field): Retry<StatusRange> | undefined {
  if (!retry.object()) return undefined;
  const codes = retry.get('codes').items('a list of statuses');
  const statuses = codes.flatMap((item) => item.integer(400, 599) ?? []);
  const backoffMs = readTimeout(retry.get('backoff'));
  const limit = retry.get('attempts').integer(0, RETRY_LIMIT_MAX) ?? RETRY_LIMIT_DEFAULT;
  const conditions = codes.length === 0 ? [GATEWAY_ERROR] : statuses.map((code) => ({ start: code, end: code }));
  return { limit, backoffMs, conditions };
}

function readTimeout(field: Field): number | undefined {
  const allowed = 'a duration such as 10s, not negative';
  const text = field.text(allowed);
  return text === undefined ? undefined : (parseGoDuration(text) ?? field.refuse(allowed));
}
