/** What a policy does with one request or connection, with where each part came from and what it hid: for `explain`. */
import type { GrpcMatch, HttpMatch } from '@tulle/api/routes/http-match.ts';
import type { SessionPersistence } from '@tulle/api/routes/session-persistence.ts';
import type { GrpcRetryCode, Retry, StatusRange, Timeouts } from '@tulle/api/routes/traffic-annotations.ts';
import type { FailureAccrual } from '../../workloads/traffic-annotations.ts';
import { type FoundRoute, findByHost, findGrpcRoutes, findHttpRoutes, type RequestFacts } from '../find-route.ts';
import {
  type BackendTarget,
  type ConnectionPolicyRoute,
  type ConnectionPolicyRule,
  type Failure,
  type GrpcPolicyRoute,
  type HttpPolicyRoute,
  type Mirror,
  NOT_ALLOWED,
  type OutboundPolicy,
  type PolicyBackend,
  type PolicyFilter,
  type RequestBackend,
  type RoutedPolicy,
  type Source,
  type Sourced,
} from './outbound-policy.ts';

export interface OutboundRequest extends Partial<RequestFacts> {
  /** The name that a TLS connection asks for. */
  sni?: string;
}

/** `not-found`: no route takes it; `failed`: it is answered with `failure`, or cut where it is a connection. */
export type OutboundOutcome = 'sent' | 'redirected' | 'not-found' | 'failed';

export interface OutboundEvaluation {
  outcome: OutboundOutcome;
  protocol: RoutedPolicy['protocol'];
  failure?: Failure;
  route?: Source;
  /** Of the rule in its route, and where it stands. */
  section?: string;
  field?: string;
  match?: HttpMatch | GrpcMatch;
  filters: readonly PolicyFilter[];
  mirrors: readonly Mirror[];
  backends: readonly EvaluatedBackend[];
  timeouts?: Sourced<Timeouts>;
  retry?: Sourced<Retry<StatusRange | GrpcRetryCode>>;
  sessionPersistence?: SessionPersistence;
  accrual?: FailureAccrual;
  /** What would have taken it too, or would have been in force, and why it does not. */
  shadowed: readonly { source: Source; field?: string; reason: string }[];
}

export interface EvaluatedBackend {
  target: BackendTarget;
  field?: string;
  /** Of 1. */
  share: number;
  failure?: string;
  filters: readonly PolicyFilter[];
  mirrors: readonly Mirror[];
}

const NOTHING = { filters: [], mirrors: [], backends: [], shadowed: [] };
const NO_ROUTE: Failure = { status: 404, code: 5, message: 'no route takes the request' };

/** An opaque connection needs nothing of the request; a request without a path asks for `/`. */
export function evaluateOutbound(policy: OutboundPolicy, request: OutboundRequest): OutboundEvaluation {
  switch (policy.kind) {
    case 'undefined-port':
      return {
        ...NOTHING,
        outcome: 'failed',
        protocol: 'opaque',
        failure: { ...NOT_ALLOWED, message: 'the Service has no such port' },
      };
    case 'endpoint':
    case 'external':
      return {
        ...NOTHING,
        outcome: 'sent',
        protocol: policy.kind === 'endpoint' && policy.isOpaque ? 'opaque' : 'detect',
      };
    case 'routed': {
      const evaluated = evaluateRouted(policy, request);
      const hidden = policy.shadowed.map(({ ref, reason }) => ({ source: { kind: 'object', ref } as const, reason }));
      return { ...evaluated, accrual: policy.accrual, shadowed: [...evaluated.shadowed, ...hidden] };
    }
  }
}

function evaluateRouted(policy: RoutedPolicy, request: OutboundRequest): OutboundEvaluation {
  const { protocol } = policy;
  const { method = 'GET', path = '/', host = '' } = request;
  const named = Object.entries(request.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]);
  const facts = { method, path, host, headers: Object.fromEntries(named) };
  switch (protocol) {
    case 'opaque':
      return connection(protocol, policy.opaque);
    case 'tls':
      return connection(protocol, findByHost(policy.tls, request.sni ?? host));
    case 'grpc':
      return chosen(protocol, policy.grpc, findGrpcRoutes(policy.grpc, facts));
    default:
      return chosen(protocol, policy.http, findHttpRoutes(policy.http, facts));
  }
}

function chosen(
  protocol: RoutedPolicy['protocol'],
  routes: readonly HttpPolicyRoute[] | readonly GrpcPolicyRoute[],
  found: readonly FoundRoute[],
): OutboundEvaluation {
  const [best, ...rest] = found;
  const route = best && routes[best.route];
  const rule = best && route?.rules[best.rule];
  if (!route || !rule) return { ...NOTHING, outcome: 'not-found', protocol, failure: NO_ROUTE };
  const isRedirected = rule.filters.some(({ kind }) => kind === 'redirect');
  return {
    outcome: rule.failure ? 'failed' : isRedirected ? 'redirected' : 'sent',
    protocol,
    failure: rule.failure,
    route: route.source,
    section: rule.section,
    field: rule.field,
    match: rule.matches[best.match],
    filters: rule.filters,
    mirrors: rule.mirrors,
    backends: shares(rule.backends, rule.isWeighted),
    timeouts: rule.timeouts,
    retry: rule.retry,
    sessionPersistence: rule.sessionPersistence,
    shadowed: rest.flatMap((other) => {
      const hidden = routes[other.route]!;
      const { field } = hidden.rules[other.rule]!;
      return [{ source: hidden.source, field, reason: 'it takes the request too, but less exactly or later in order' }];
    }),
  };
}

function connection(protocol: 'opaque' | 'tls', found: readonly ConnectionPolicyRoute[]): OutboundEvaluation {
  // One without a rule takes nothing.
  const [route, ...rest] = found.filter(({ rules }) => rules.length > 0);
  const rule: ConnectionPolicyRule | undefined = route?.rules[0];
  if (!route || !rule) return { ...NOTHING, outcome: 'not-found', protocol, failure: NO_ROUTE };
  const { refusal } = rule;
  const failure = refusal && { ...NOT_ALLOWED, ...(refusal.kind === 'invalid' ? { message: refusal.message } : {}) };
  return {
    ...NOTHING,
    outcome: refusal ? 'failed' : 'sent',
    protocol,
    failure,
    route: route.source,
    field: rule.field,
    backends: shares(rule.backends, rule.isWeighted),
    shadowed: rest.map(({ source }) => ({
      source,
      reason: 'it takes the connection too, but less exactly or later in order',
    })),
  };
}

function shares(backends: readonly (PolicyBackend | RequestBackend)[], isWeighted: boolean): EvaluatedBackend[] {
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  return backends.map((backend) => ({
    target: backend.target,
    field: backend.field,
    share: isWeighted ? (total === 0 ? 0 : backend.weight / total) : 1,
    failure: backend.invalid,
    filters: 'filters' in backend ? backend.filters : [],
    mirrors: 'mirrors' in backend ? backend.mirrors : [],
  }));
}
