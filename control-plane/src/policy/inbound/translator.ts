/** Inbound policies as the policy API writes them. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  AuthnSchema,
  AuthzSchema,
  GrpcRoute_FilterSchema,
  GrpcRouteSchema,
  HttpLocalRateLimitSchema,
  HttpRoute_FilterSchema,
  HttpRouteSchema,
  ProxyProtocolSchema,
  ServerSchema,
} from '@tulle/api/gen/inbound_pb.ts';
import type { GrpcMatch, HttpMatch } from '@tulle/api/routes/http-match.ts';
import {
  grpcFailure,
  httpFailure,
  toGrpcMatch,
  toHeaderModifier,
  toHostMatch,
  toHttpMatch,
  toRedirect,
} from '../../wire/http-route.ts';
import { defaultMetadata, type MetadataInit, toDuration, toNetwork } from '../../wire/net.ts';
import type { Authorization, PolicySource } from './authorization.ts';
import type { InboundServer } from './inbound-server.ts';
import type { InboundRateLimit, InboundRoute, InboundRule } from './resolved-server.ts';

type AuthzInit = MessageInitShape<typeof AuthzSchema>;
type HttpRouteInit = MessageInitShape<typeof HttpRouteSchema>;
type GrpcRouteInit = MessageInitShape<typeof GrpcRouteSchema>;
type HttpFilterInit = MessageInitShape<typeof HttpRoute_FilterSchema>;
type GrpcFilterInit = MessageInitShape<typeof GrpcRoute_FilterSchema>;
type ProtocolInit = MessageInitShape<typeof ProxyProtocolSchema>;
export type ServerInit = MessageInitShape<typeof ServerSchema>;

/** How long a client may take to send enough for its protocol to be known; after that it is opaque. */
const DETECT_TIMEOUT_MS = 10_000;
const INTERNAL_SERVER_ERROR = 500;
const GRPC_INTERNAL = 13;

export function toServer(server: InboundServer): ServerInit {
  return {
    protocol: toProtocol(server),
    authorizations: server.authorizations.map(toAuthz),
    labels: toLabels(server.source),
  };
}

function toProtocol(server: InboundServer): ProtocolInit {
  const limit = server.rateLimit && toRateLimit(server.rateLimit);
  switch (server.protocol) {
    case 'detect': {
      const timeout = toDuration(DETECT_TIMEOUT_MS);
      const httpRoutes = server.httpRoutes.map(toHttpRoute);
      return { kind: { case: 'detect', value: { timeout, httpRoutes, httpLocalRateLimit: limit } } };
    }
    case 'http1':
    case 'http2': {
      const routes = server.httpRoutes.map(toHttpRoute);
      return { kind: { case: server.protocol, value: { routes, localRateLimit: limit } } };
    }
    case 'grpc':
      return { kind: { case: 'grpc', value: { routes: server.grpcRoutes.map(toGrpcRoute) } } };
    case 'opaque':
    case 'tls':
      return { kind: { case: server.protocol, value: {} } };
  }
}

function toHttpRoute(route: InboundRoute<HttpMatch>): HttpRouteInit {
  return {
    metadata: toMetadata(route.source, (kind) => kind),
    hosts: route.hostnames.map(toHostMatch),
    authorizations: route.authorizations.map(toAuthz),
    rules: route.rules.map((rule) => ({ matches: rule.matches.map(toHttpMatch), filters: toHttpFilters(rule) })),
  };
}

function toHttpFilters({ filters, refused }: InboundRule<HttpMatch>): HttpFilterInit[] {
  if (refused !== undefined) {
    return [{ kind: { case: 'failureInjector', value: httpFailure(INTERNAL_SERVER_ERROR, refused) } }];
  }
  return filters.flatMap((filter): HttpFilterInit[] => {
    if (filter.kind === 'redirect') return [{ kind: { case: 'redirect', value: toRedirect(filter) } }];
    if (filter.kind !== 'request-headers') return [];
    return [{ kind: { case: 'requestHeaderModifier', value: toHeaderModifier(filter) } }];
  });
}

function toGrpcRoute(route: InboundRoute<GrpcMatch>): GrpcRouteInit {
  return {
    metadata: toMetadata(route.source, (kind) => kind),
    hosts: route.hostnames.map(toHostMatch),
    authorizations: route.authorizations.map(toAuthz),
    rules: route.rules.map((rule) => ({ matches: rule.matches.map(toGrpcMatch), filters: toGrpcFilters(rule) })),
  };
}

function toGrpcFilters({ filters, refused }: InboundRule<GrpcMatch>): GrpcFilterInit[] {
  if (refused !== undefined) {
    return [{ kind: { case: 'failureInjector', value: grpcFailure(GRPC_INTERNAL, refused) } }];
  }
  return filters.flatMap((filter): GrpcFilterInit[] => {
    if (filter.kind !== 'request-headers') return [];
    return [{ kind: { case: 'requestHeaderModifier', value: toHeaderModifier(filter) } }];
  });
}

function toAuthz({ source, networks, clients }: Authorization): AuthzInit {
  return {
    networks: networks.map(({ network, except }) => ({ net: toNetwork(network), except: except.map(toNetwork) })),
    authentication: toAuthn(clients),
    // Deprecated in favour of the metadata, and still read by older proxies.
    labels: toLabels(source),
    metadata: toMetadata(source, lowerCase),
  };
}

function toAuthn(clients: Authorization['clients']): MessageInitShape<typeof AuthnSchema> {
  if (clients.kind === 'unauthenticated') return { permit: { case: 'unauthenticated', value: {} } };
  if (clients.kind === 'tls') {
    return { permit: { case: 'meshTLS', value: { clients: { case: 'unauthenticated', value: {} } } } };
  }
  const identities = clients.identities.flatMap((match) => (match.kind === 'exact' ? [{ name: match.name }] : []));
  // A suffix without parts is one of every identity.
  const suffixes = clients.identities.flatMap((match) =>
    match.kind === 'suffix' ? [{ parts: [...match.parts] }] : [],
  );
  return { permit: { case: 'meshTLS', value: { clients: { case: 'identities', value: { identities, suffixes } } } } };
}

function toRateLimit({
  source,
  total,
  identity,
  overrides,
}: InboundRateLimit): MessageInitShape<typeof HttpLocalRateLimitSchema> {
  return {
    metadata: toMetadata(source, (kind) => kind),
    total: total === undefined ? undefined : { requestsPerSecond: total },
    identity: identity === undefined ? undefined : { requestsPerSecond: identity },
    overrides: overrides.map(({ requestsPerSecond, identities }) => ({
      limit: { requestsPerSecond },
      clients: { identities: identities.map((name) => ({ name })) },
    })),
  };
}

/** In metrics the kinds of servers and authorizations are in lower case; those of routes and limits are as they are. */
function toLabels(source: PolicySource): Record<string, string> {
  if (typeof source === 'string') return { group: '', kind: 'default', name: source };
  return { group: source.group, kind: lowerCase(source.kind), name: source.name };
}

/** The namespace is always the workload's own, and left out as Linkerd does: its proxies compare metadata whole. */
function toMetadata(source: PolicySource, spell: (kind: string) => string): MetadataInit {
  if (typeof source === 'string') return defaultMetadata(source);
  return { kind: { case: 'resource', value: { group: source.group, kind: spell(source.kind), name: source.name } } };
}

function lowerCase(text: string): string {
  return text.toLowerCase();
}
