/** What a Server comes to, the same for every workload that it selects. */
import type { ObjectRef } from '@tulle/api/object-ref.ts';
import type { HttpFilter } from '@tulle/api/routes/http-filter.ts';
import { ANY_GRPC, ANY_HTTP, type GrpcMatch, type HttpMatch } from '@tulle/api/routes/http-match.ts';
import type { Rule } from '@tulle/api/routes/route.ts';
import { identityName } from '../../workloads/mesh-names.ts';
import type { AttachmentSet, StoredRoute } from './attachment-set.ts';
import { type Authorization, accessPolicyAuthorizations, type PolicySource } from './authorization.ts';
import type { AuthorizationSet, AuthorizationSettings, Resolved } from './authorization-set.ts';
import type { StoredRateLimit, StoredServer } from './stand-ins.ts';

export interface ResolvedServer {
  readonly server: StoredServer;
  readonly authorizations: readonly Authorization[];
  /** Empty: no HTTPRoute is attached. */
  readonly httpRoutes: readonly InboundRoute<HttpMatch>[];
  readonly grpcRoutes: readonly InboundRoute<GrpcMatch>[];
  readonly rateLimit?: InboundRateLimit;
  /** Objects that are for this Server and have no effect. */
  readonly ineffective: Resolved['ineffective'];
}

export interface InboundRoute<M> {
  readonly source: PolicySource;
  /** None: every host. */
  readonly hostnames: readonly string[];
  readonly rules: readonly InboundRule<M>[];
  /** Beside those of the server. */
  readonly authorizations: readonly Authorization[];
}

export interface InboundRule<M> {
  /** Where it stands in the route; empty for a default. */
  readonly field: string;
  /** Any of them. */
  readonly matches: readonly M[];
  readonly filters: readonly HttpFilter[];
  /** Set: every request that it takes fails, for this reason. */
  readonly refused?: string;
}

export interface InboundRateLimit {
  readonly source: ObjectRef;
  readonly total?: number;
  readonly identity?: number;
  readonly overrides: readonly { readonly requestsPerSecond: number; readonly identities: readonly string[] }[];
}

export const DEFAULT_HTTP_ROUTE: InboundRoute<HttpMatch> = {
  source: 'default',
  hostnames: [],
  rules: [{ field: '', matches: [ANY_HTTP], filters: [] }],
  authorizations: [],
};

export const DEFAULT_GRPC_ROUTE: InboundRoute<GrpcMatch> = {
  source: 'default',
  hostnames: [],
  rules: [{ field: '', matches: [ANY_GRPC], filters: [] }],
  authorizations: [],
};

export function resolveServer(
  server: StoredServer,
  authorizations: AuthorizationSet,
  attachments: AttachmentSet,
  settings: AuthorizationSettings,
): ResolvedServer {
  const { ref, labels, accessPolicy, refused } = server;
  const key = `${ref.namespace}/${ref.name}`;
  const ineffective: Resolved['ineffective'] = [];
  const given = refused === undefined ? authorizations.ofServer(ref, labels) : NOBODY;
  ineffective.push(...given.ineffective);

  const httpRoutes: InboundRoute<HttpMatch>[] = [];
  const grpcRoutes: InboundRoute<GrpcMatch>[] = [];
  for (const stored of attachments.routesOf(key)) {
    const ofRoute = refused === undefined ? authorizations.ofRoute(stored.route.ref) : NOBODY;
    ineffective.push(...ofRoute.ineffective);
    if (stored.kind === 'http') httpRoutes.push(httpRoute(stored, ofRoute.authorizations));
    else grpcRoutes.push(grpcRoute(stored, ofRoute.authorizations));
  }

  const [limit, ...shadowed] = attachments.rateLimitsOf(key);
  for (const { ref: source } of shadowed) {
    const problem = `HTTPLocalRateLimitPolicy ${limit?.ref.name} is older and for the same Server`;
    ineffective.push({ source, problem });
  }
  return {
    server,
    // The default comes last: what an authorization allows counts as allowed by it, also where the default would.
    authorizations: [...given.authorizations, ...accessPolicyAuthorizations(accessPolicy, settings.clusterNetworks)],
    httpRoutes,
    grpcRoutes,
    rateLimit: limit && rateLimit(limit, settings),
    ineffective,
  };
}

const NOBODY: Resolved = { authorizations: [], ineffective: [] };

function httpRoute(
  { route }: Extract<StoredRoute, { kind: 'http' }>,
  authorizations: readonly Authorization[],
): InboundRoute<HttpMatch> {
  const rules = route.rules.map((rule) => ({ ...ruleOf(rule), matches: rule.matches }));
  return { source: route.ref, hostnames: route.hostnames, rules, authorizations };
}

function grpcRoute(
  { route }: Extract<StoredRoute, { kind: 'grpc' }>,
  authorizations: readonly Authorization[],
): InboundRoute<GrpcMatch> {
  const rules = route.rules.map((rule) => ({ ...ruleOf(rule), matches: rule.matches }));
  return { source: route.ref, hostnames: route.hostnames, rules, authorizations };
}

/** Response headers and mirrors are nothing that a proxy does to requests that arrive, and safe to leave out. */
function ruleOf({ field, invalid, filters }: Rule & { readonly filters: readonly HttpFilter[] }): {
  field: string;
  filters: HttpFilter[];
  refused?: string;
} {
  const isRewritten = filters.some(({ kind }) => kind === 'rewrite');
  const refused =
    invalid ?? (isRewritten ? `${field}.filters: URLRewrite is not done to requests that arrive` : undefined);
  return {
    field,
    filters: filters.filter(({ kind }) => kind === 'request-headers' || kind === 'redirect'),
    ...(refused === undefined ? {} : { refused }),
  };
}

function rateLimit(policy: StoredRateLimit, settings: AuthorizationSettings): InboundRateLimit {
  const { ref, total, identity, overrides } = policy;
  return {
    source: ref,
    total,
    identity,
    overrides: overrides.map(({ requestsPerSecond, serviceAccounts }) => ({
      requestsPerSecond,
      identities: serviceAccounts.map(({ name, namespace }) => identityName(name, namespace, settings)),
    })),
  };
}
