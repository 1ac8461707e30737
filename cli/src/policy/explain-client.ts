/** The client's side of an explanation: route or profile, backends, timeouts, retries, balancing. */
import type { ObjectRef } from '@tulle/api/object-ref.ts';
import { parseRegex } from '@tulle/api/routes/regex.ts';
import {
  type GrpcRetryCode,
  type Retry,
  type StatusRange,
  TIMEOUT_ANNOTATIONS,
  type Timeouts,
} from '@tulle/api/routes/traffic-annotations.ts';
import type { RequestMatch } from '@tulle/api/service-profile.ts';
import type { EffectiveProfile } from '@tulle/control-plane/destination/profile-index.ts';
import type { EvaluatedBackend, OutboundEvaluation } from '@tulle/control-plane/policy/outbound/evaluate.ts';
import type {
  PolicyParent,
  RoutedPolicy,
  Source,
  Sourced,
  UndefinedPort,
} from '@tulle/control-plane/policy/outbound/outbound-policy.ts';
import type { Service } from '@tulle/control-plane/workloads/service.ts';
import type { FailureAccrual, TrafficSettings } from '@tulle/control-plane/workloads/traffic-annotations.ts';
import type { ClusterView } from './cluster-view.ts';
import { durationText, filterText, matchText, objectText, originOf, percentText } from './explain-text.ts';
import type { ExplainedRequest, Fact, Origin } from './explanation.ts';

const PROTOCOLS: Record<OutboundEvaluation['protocol'], string> = {
  detect: 'HTTP, TLS or bytes, by what the client sends',
  opaque: 'bytes, not looked into',
  http1: 'HTTP/1',
  http2: 'HTTP/2',
  grpc: 'gRPC',
  tls: 'TLS, by the name that the client asks for',
};

/** Of a policy that a Service or an EgressNetwork is the parent of. */
export function clientFacts(
  view: ClusterView,
  policy: RoutedPolicy | UndefinedPort,
  evaluated: OutboundEvaluation,
): Fact[] {
  const { route, field, match, outcome, failure, timeouts, retry, sessionPersistence, accrual } = evaluated;
  const of = policy.parent;
  const fieldOf = (name: string) => (field ? `${field}.${name}` : undefined);
  const from = (name?: string): Origin | undefined => route && sourceOrigin(route, name ?? field);
  const facts: Fact[] = [];
  if (policy.kind === 'routed')
    facts.push({
      label: 'protocol',
      value: PROTOCOLS[evaluated.protocol],
      from: protocolOrigin(view, of),
    });
  if (route) {
    const value = match ? matchText(match) : 'every connection';
    facts.push({ label: 'route', value: route.kind === 'default' ? 'none of its own' : value, from: from() });
  }
  if (outcome !== 'sent' && outcome !== 'redirected') {
    const isConnection = evaluated.protocol === 'opaque' || evaluated.protocol === 'tls';
    const how = isConnection ? 'the connection is closed' : failure?.status;
    const text = failure ? `${failure.message} (${how})` : 'no route takes it';
    facts.push({ label: 'refused', value: text, tone: 'bad', ...(from() ? { from: from()! } : {}) });
  }
  for (const filter of evaluated.filters)
    facts.push({ label: 'filter', value: filterText(filter), from: from(fieldOf('filters')) });
  for (const { namespace, name, port, numerator, denominator } of evaluated.mirrors) {
    const share = percentText(numerator / (denominator || 1));
    facts.push({
      label: 'copy',
      value: `${share} to ${namespace}/${name}:${port} (Tulle's proxy only)`,
      from: from(fieldOf('filters')),
    });
  }
  if (outcome === 'sent') facts.push(...evaluated.backends.flatMap((backend) => backendFacts(backend, route, of)));
  if (timeouts) facts.push(...timeoutFacts(view, of, timeouts, field));
  if (retry)
    facts.push({
      label: 'retries',
      value: retryText(retry.value),
      from: sourceOrigin(retry.from, retryPlace(view, of, retry.from, field)),
    });
  if (sessionPersistence) {
    const { kind, name } = sessionPersistence;
    facts.push({
      label: 'session',
      value: `by ${kind} ${name} (Tulle's proxy only)`,
      from: from(fieldOf('sessionPersistence')),
    });
  }
  if (accrual)
    facts.push({
      label: 'breaker',
      value: accrualText(accrual),
      from: { object: objectText(of), field: 'metadata.annotations[balancer.linkerd.io/…]' },
    });
  for (const { source, field: place, reason } of evaluated.shadowed) {
    facts.push({ label: 'hidden', value: reason, from: sourceOrigin(source, place), tone: 'quiet' });
  }
  return facts;
}

export function profileFacts(
  view: ClusterView,
  input: {
    service: Service;
    profile: EffectiveProfile;
    request: ExplainedRequest;
    port: number;
    evaluated: OutboundEvaluation;
  },
): Fact[] {
  const { service, profile, request, port, evaluated } = input;
  const index = profile.routes.findIndex(({ condition }) => profileMatches(condition, request));
  const route = profile.routes[index];
  const at = (name = '') => originOf(profile.ref, `spec.routes[${index}]${name}`);
  const facts: Fact[] = [
    { label: 'profile', value: 'decides, and no route of the Service does', from: originOf(profile.ref) },
    route
      ? { label: 'route', value: route.name, from: at() }
      : { label: 'route', value: 'none of the profile takes it', from: originOf(profile.ref, 'spec.routes') },
  ];
  if (route?.timeoutMs !== undefined)
    facts.push({ label: 'timeout', value: durationText(route.timeoutMs), from: at('.timeout') });
  if (route?.isRetryable) {
    const { retryRatio, minRetriesPerSecond } = profile.retryBudget ?? { retryRatio: 0.2, minRetriesPerSecond: 10 };
    const budget = `at most ${percentText(retryRatio)} more requests and ${minRetriesPerSecond} a second`;
    facts.push({ label: 'retries', value: budget, from: at('.isRetryable') });
  }
  const total = profile.dstOverrides.reduce((sum, { weight }) => sum + weight, 0);
  const splitFrom = profile.split
    ? originOf(profile.split, 'spec.backends')
    : originOf(profile.ref, 'spec.dstOverrides');
  for (const { authority, weight } of profile.dstOverrides) {
    facts.push({ label: 'backend', value: `${authority} ${percentText(total ? weight / total : 0)}`, from: splitFrom });
  }
  if (profile.dstOverrides.length === 0)
    facts.push({ label: 'backend', value: `${service.namespace}/${service.name}:${port}` });
  const hidden = [...view.routes.attached('service', service)].map(({ route: { ref } }) => ref);
  const splits = view.routes.splitRoutes(service, port)?.http.map(({ ref }) => ref) ?? [];
  for (const ref of new Set([...splits, ...hidden])) {
    facts.push({
      label: 'hidden',
      value: 'the profile has routes or overrides, and takes its place',
      from: originOf(ref),
      tone: 'quiet',
    });
  }
  if (evaluated.accrual)
    facts.push({
      label: 'hidden',
      value: 'circuit breaking does not go with a profile',
      from: originOf(
        { group: '', kind: 'Service', namespace: service.namespace, name: service.name, createdAtMs: 0 },
        'metadata.annotations[balancer.linkerd.io/…]',
      ),
      tone: 'quiet',
    });
  return facts;
}

function profileMatches(match: RequestMatch, request: ExplainedRequest): boolean {
  switch (match.kind) {
    case 'all':
      return match.matches.every((each) => profileMatches(each, request));
    case 'any':
      return match.matches.some((each) => profileMatches(each, request));
    case 'not':
      return !profileMatches(match.match, request);
    case 'method':
      return match.method.toUpperCase() === request.method.toUpperCase();
    case 'path':
      return parseRegex(match.regex)?.test(request.path.split('?')[0]!) ?? false;
  }
}

function backendFacts(
  backend: EvaluatedBackend,
  route: Source | undefined,
  parent: Pick<PolicyParent, 'kind' | 'namespace' | 'name'>,
): Fact[] {
  const { target, share, field, failure, filters, mirrors } = backend;
  const from = field && route ? sourceOrigin(route, field) : undefined;
  const named = target.kind === 'none' ? target.named : target;
  const kindOf = named && named.kind !== 'service' ? `${named.kind} ` : '';
  const name =
    target.kind === 'egress-network'
      ? 'where it was going'
      : named
        ? `${kindOf}${named.namespace}/${named.name}:${named.port}`
        : `${parent.namespace}/${parent.name}`;
  const value = `${name} ${percentText(share)}`;
  const facts: Fact[] = [
    failure === undefined
      ? { label: 'backend', value, ...(from ? { from } : {}) }
      : { label: 'backend', value: `${value} fails: ${failure}`, tone: 'bad', ...(from ? { from } : {}) },
  ];
  const filterFrom = from && { from: { ...from, field: `${field}.filters` } };
  for (const filter of filters) facts.push({ label: 'filter', value: filterText(filter), ...filterFrom });
  for (const one of mirrors)
    facts.push({
      label: 'copy',
      value: `to ${one.namespace}/${one.name}:${one.port} (Tulle's proxy only)`,
      ...filterFrom,
    });
  if (target.kind === 'service') facts.push(...balancingFacts(target, parent));
  return facts;
}

/** By what requests of one session are told is the backend's to say, what counts as slow the parent's. */
function balancingFacts(
  target: { namespace: string; name: string; traffic: Pick<TrafficSettings, 'penalty' | 'hash'> },
  parent: Pick<PolicyParent, 'kind' | 'namespace' | 'name'>,
): Fact[] {
  const object = objectText({ kind: 'Service', ...target });
  const { hash, penalty } = target.traffic;
  const facts: Fact[] = [];
  if (hash) {
    const by =
      hash.source.kind === 'source-address' ? "the client's address" : `${hash.source.kind} ${hash.source.name}`;
    facts.push({
      label: 'balancing',
      value: `by ${by}, at most ${hash.loadFactor} times the mean load (Tulle's proxy only)`,
      from: { object, field: 'metadata.annotations[balancer.tulle.mesh/hash-…]' },
    });
  }
  if (penalty) {
    const value = `endpoints that refuse for load count ${durationText(penalty.penaltyMs)} slower`;
    facts.push({
      label: 'balancing',
      value,
      from: { object: objectText(parent), field: 'metadata.annotations[balancer.alpha.linkerd.io/penalize-failures]' },
    });
  }
  return facts;
}

function timeoutFacts(
  view: ClusterView,
  parent: PolicyParent,
  { value, from }: Sourced<Timeouts>,
  field: string | undefined,
): Fact[] {
  const annotated = from.kind === 'object' ? annotationsOf(view, parent, from.ref) : undefined;
  const facts: Fact[] = [];
  for (const [name, key] of Object.entries(TIMEOUT_ANNOTATIONS) as [keyof Timeouts, string][]) {
    const ms = value[name];
    if (ms === undefined) continue;
    const isField =
      name === 'requestMs' && field !== undefined && annotated !== undefined && annotated.requestMs === undefined;
    const place = isField ? `${field}.timeouts.request` : `metadata.annotations[${key}]`;
    facts.push({
      label: 'timeout',
      value: `${key.split('/')[1]} ${durationText(ms)}`,
      from: sourceOrigin(from, place),
    });
  }
  return facts;
}

function retryPlace(view: ClusterView, parent: PolicyParent, from: Source, field: string | undefined): string {
  const attached = [...view.routes.attached(parent.kind === 'Service' ? 'service' : 'egress', parent)];
  const isField = attached.some(
    ({ kind, route }) =>
      kind === 'http' &&
      from.kind === 'object' &&
      route.ref === from.ref &&
      !route.traffic.httpRetry &&
      route.rules.some((rule) => rule.field === field && rule.retry),
  );
  return isField ? `${field}.retry` : 'metadata.annotations[retry.linkerd.io/…]';
}

/** What the annotations of a route say of timeouts; undefined for an object that is no route of the parent. */
function annotationsOf(view: ClusterView, parent: PolicyParent, ref: ObjectRef): Timeouts | undefined {
  for (const { kind, route } of view.routes.attached(parent.kind === 'Service' ? 'service' : 'egress', parent)) {
    const isIt =
      route.ref.name === ref.name &&
      route.ref.namespace === ref.namespace &&
      route.ref.kind === ref.kind &&
      route.ref.group === ref.group;
    if (isIt && (kind === 'http' || kind === 'grpc')) return route.traffic.timeouts;
  }
  return undefined;
}

function retryText({ limit, timeoutMs, conditions }: Retry<StatusRange | GrpcRetryCode>): string {
  const on = conditions.map((one) =>
    typeof one === 'string' ? one : one.start === one.end ? `${one.start}` : `${one.start}-${one.end}`,
  );
  const why = on.length ? ` on ${on.join(', ')}` : '';
  const each = timeoutMs === undefined ? '' : `${why ? ',' : ''} each try within ${durationText(timeoutMs)}`;
  return `up to ${limit}${why}${each}${why || each ? '' : ', but on no condition'}`;
}

function accrualText(accrual: FailureAccrual): string {
  const { minMs, maxMs } = accrual.backoff;
  const off = `off for ${durationText(minMs)} to ${durationText(maxMs)}`;
  if (accrual.kind === 'consecutive') return `${accrual.failuresMax} failures in a row take an endpoint ${off}`;
  const { successRateThreshold, windowMs, requestsMin } = accrual;
  return `below ${percentText(successRateThreshold)} success of ${requestsMin} or more in ${durationText(windowMs)} take an endpoint ${off}`;
}

function protocolOrigin(view: ClusterView, parent: PolicyParent): Origin {
  const { kind, namespace, name, port } = parent;
  const object = objectText(parent);
  const annotation = 'metadata.annotations[config.linkerd.io/opaque-ports]';
  if (kind === 'EgressNetwork') {
    const isOpaque = view.routes.egressNetwork(`${namespace}/${name}`)?.opaquePorts?.has(port);
    return isOpaque ? { object, field: annotation } : { object: 'default' };
  }
  const service = view.workloads.service(`${namespace}/${name}`);
  const index = service?.ports.findIndex((each) => each.port === port) ?? -1;
  if (service?.ports[index]?.appProtocol) return { object, field: `spec.ports[${index}].appProtocol` };
  if (service?.opaquePorts) return { object, field: annotation };
  if (view.workloads.namespace(namespace)?.opaquePorts) return { object: `Namespace ${namespace}`, field: annotation };
  return { object: 'default' };
}

export function sourceOrigin(source: Source, field?: string): Origin {
  return source.kind === 'default' ? { object: `default ${source.name}` } : originOf(source.ref, field);
}
