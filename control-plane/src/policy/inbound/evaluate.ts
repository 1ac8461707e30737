/** What a proxy would do with a connection or a request that arrives, and what decides. */

import { type IpAddress, networkContains, parseIp, parseNetwork } from '@tulle/api/ip-address.ts';
import { identityMatches } from '@tulle/api/policy/identity-match.ts';
import { networkMatches } from '@tulle/api/policy/network.ts';
import type { GrpcMatch, HttpMatch } from '@tulle/api/routes/http-match.ts';
import { findGrpcRoute, findHttpRoute, type RequestFacts } from '../find-route.ts';
import type { Authorization, PolicySource } from './authorization.ts';
import type { InboundServer } from './inbound-server.ts';
import type { InboundRateLimit, InboundRoute } from './resolved-server.ts';

export interface InboundClient {
  /** Undefined: not known, and taken for one that is in every network. */
  ip?: string;
  /** The identity that its certificate shows. */
  id?: string;
  /** Whether it comes over the mesh's TLS. */
  isTls: boolean;
}

export interface InboundAttempt {
  client: InboundClient;
  /** Undefined: a connection of which no request is known. */
  request?: RequestFacts;
  /** In place of `request`, where only the route that took it is known. */
  route?: { group: string; kind: string; name: string };
  /** Requests per second, of all clients and of this one, to hold against the limits. */
  rates?: { total: number; client: number };
}

export interface InboundDecision {
  /** `not-found`: no route takes it; `failed`: a route refuses what it takes; `limited`: over a limit. */
  verdict: 'allow' | 'deny' | 'not-found' | 'limited' | 'failed';
  server: PolicySource;
  /** Of HTTP and gRPC. */
  route?: { source: PolicySource; field: string };
  /** Where it is allowed: what allows it. */
  authorization?: PolicySource;
  rateLimit?: { source: PolicySource; requestsPerSecond: number; scope: 'total' | 'identity' | 'override' };
  reason: string;
  /** Authorizations that were asked before and do not fit. */
  passedOver: { source: PolicySource; reason: string }[];
}

const LOOPBACK = ['127.0.0.1/32', '::1/128'].map((text) => parseNetwork(text)!);

export function evaluateInbound(server: InboundServer, attempt: InboundAttempt): InboundDecision {
  const isByRequest = server.protocol !== 'opaque' && server.protocol !== 'tls';
  const isKnown = attempt.request !== undefined || attempt.route !== undefined;
  if (!isByRequest || !isKnown) return decide(server, attempt, undefined);
  return server.protocol === 'grpc'
    ? onRoute(server, attempt, server.grpcRoutes, findGrpcRoute)
    : onRoute(server, attempt, server.httpRoutes, findHttpRoute);
}

type Chosen = { route: InboundRoute<HttpMatch> | InboundRoute<GrpcMatch>; rule: number | undefined };

function onRoute<M extends HttpMatch | GrpcMatch>(
  server: InboundServer,
  attempt: InboundAttempt,
  routes: readonly InboundRoute<M>[],
  find: (routes: readonly InboundRoute<M>[], request: RequestFacts) => { route: number; rule: number } | undefined,
): InboundDecision {
  const found = attempt.request
    ? find(routes, attempt.request)
    : { route: routes.findIndex(({ source }) => isSource(source, attempt.route)), rule: undefined };
  const route = found && routes[found.route];
  if (found && route) return decide(server, attempt, { route: route as Chosen['route'], rule: found.rule });
  const reason = 'no route of the server takes it';
  return { verdict: 'not-found', server: server.source, reason, passedOver: [] };
}

/** In the order in which proxies ask: authorizations, what the route does, limits. */
function decide(server: InboundServer, attempt: InboundAttempt, chosen: Chosen | undefined): InboundDecision {
  const rule = chosen?.rule === undefined ? undefined : chosen.route.rules[chosen.rule];
  const passedOver: InboundDecision['passedOver'] = [];
  const common = {
    server: server.source,
    ...(chosen ? { route: { source: chosen.route.source, field: rule?.field ?? '' } } : {}),
    passedOver,
  };
  const allowed = authorize(
    [...(chosen?.route.authorizations ?? []), ...server.authorizations],
    attempt.client,
    passedOver,
  );
  if (allowed === undefined) return { ...common, verdict: 'deny', reason: 'no authorization fits the client' };
  const authorized = { ...common, authorization: allowed };
  if (rule?.refused !== undefined) return { ...authorized, verdict: 'failed', reason: rule.refused };
  // gRPC servers have no limits on the wire.
  const limit = chosen && server.protocol !== 'grpc' ? limitOf(server.rateLimit, attempt) : undefined;
  if (limit?.isOver) {
    const { source, requestsPerSecond, scope } = limit;
    const reason = `over the ${scope} limit of ${requestsPerSecond} requests per second`;
    return { ...authorized, verdict: 'limited', rateLimit: { source, requestsPerSecond, scope }, reason };
  }
  return { ...authorized, verdict: 'allow', reason: 'an authorization fits the client' };
}

/** The first that fits; connections from the pod itself always do. */
function authorize(
  authorizations: readonly Authorization[],
  client: InboundClient,
  passedOver: InboundDecision['passedOver'],
): PolicySource | undefined {
  const address = client.ip === undefined ? undefined : parseIp(client.ip);
  for (const authorization of authorizations) {
    const reason = mismatch(authorization, client, address);
    if (reason === undefined) return authorization.source;
    passedOver.push({ source: authorization.source, reason });
  }
  return address && LOOPBACK.some((network) => networkContains(network, address)) ? 'localhost' : undefined;
}

/** Why an authorization does not fit; undefined where it does. */
function mismatch(
  { networks, clients }: Authorization,
  { ip, id, isTls }: InboundClient,
  address: IpAddress | undefined,
): string | undefined {
  if (ip !== undefined && !(address && networks.some((network) => networkMatches(network, address)))) {
    return `${ip} is in none of its networks`;
  }
  if (clients.kind === 'unauthenticated') return undefined;
  if (!isTls) return 'the client is not meshed';
  if (clients.kind === 'tls') return undefined;
  if (id === undefined) return 'the client shows no identity';
  return clients.identities.some((match) => identityMatches(match, id)) ? undefined : `${id} is none of its identities`;
}

type Limit = NonNullable<InboundDecision['rateLimit']> & { isOver: boolean };

/** The first limit that is passed. */
function limitOf(limit: InboundRateLimit | undefined, { client, rates }: InboundAttempt): Limit | undefined {
  if (!limit || !rates) return undefined;
  const { source, total, identity, overrides } = limit;
  if (total !== undefined && rates.total > total) {
    return { source, scope: 'total', requestsPerSecond: total, isOver: true };
  }
  const own = overrides.find(({ identities }) => client.id !== undefined && identities.includes(client.id));
  const requestsPerSecond = own?.requestsPerSecond ?? identity;
  if (requestsPerSecond === undefined) return undefined;
  const scope = own ? 'override' : 'identity';
  return { source, scope, requestsPerSecond, isOver: rates.client > requestsPerSecond };
}

function isSource(source: PolicySource, route: InboundAttempt['route']): boolean {
  if (!route) return false;
  if (typeof source === 'string') return route.kind === 'default' && route.name === source;
  return source.group === route.group && source.kind === route.kind && source.name === route.name;
}
