/** Inbound policies as the policy API writes them. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { HttpMethod_Registered } from '@tulle/api/gen/http_types_pb.ts';
import type { AuthnSchema, AuthzSchema, HttpRouteSchema, ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { defaultMetadata, toDuration, toNetwork } from '../wire/net.ts';
import type { Authorization, InboundServer } from './inbound.ts';

type AuthzInit = MessageInitShape<typeof AuthzSchema>;
type RouteInit = MessageInitShape<typeof HttpRouteSchema>;
export type ServerInit = MessageInitShape<typeof ServerSchema>;

/** How long a client may take to send enough for its protocol to be known; after that it is opaque. */
const DETECT_TIMEOUT_MS = 10_000;
const METHODS = { GET: HttpMethod_Registered.GET, POST: HttpMethod_Registered.POST };

export function toServer(server: InboundServer): ServerInit {
  return {
    protocol: server.isOpaque
      ? { kind: { case: 'opaque', value: {} } }
      : { kind: { case: 'detect', value: { timeout: toDuration(DETECT_TIMEOUT_MS), httpRoutes: routes(server) } } },
    authorizations: server.authorizations.map(toAuthz),
    labels: { group: '', kind: 'default', name: server.name },
  };
}

function routes(server: InboundServer): RouteInit[] {
  const all: RouteInit = {
    metadata: defaultMetadata('default'),
    rules: [{ matches: [{ path: { kind: { case: 'prefix', value: '/' } } }] }],
  };
  if (server.probes.length === 0) return [all];
  const probes: RouteInit = {
    metadata: defaultMetadata('probe'),
    authorizations: [toAuthz({ name: 'probe', networks: server.probeNetworks, authentication: 'none' })],
    rules: [
      {
        matches: server.probes.map(({ method, path }) => ({
          path: { kind: { case: 'exact', value: path } },
          method: { type: { case: 'registered', value: METHODS[method] } },
        })),
      },
    ],
  };
  return [all, probes];
}

function toAuthz({ name, networks, authentication }: Authorization): AuthzInit {
  return {
    networks: networks.map((network) => ({ net: toNetwork(network) })),
    authentication: toAuthn(authentication),
    // Deprecated in favour of the metadata, and still read by older proxies.
    labels: { group: '', kind: 'default', name },
    metadata: defaultMetadata(name),
  };
}

function toAuthn(authentication: Authorization['authentication']): MessageInitShape<typeof AuthnSchema> {
  if (authentication === 'none') return { permit: { case: 'unauthenticated', value: {} } };
  if (authentication === 'tls') {
    return { permit: { case: 'meshTLS', value: { clients: { case: 'unauthenticated', value: {} } } } };
  }
  // An empty suffix is one of every identity.
  const anyone = { suffixes: [{ parts: [] }] };
  return { permit: { case: 'meshTLS', value: { clients: { case: 'identities', value: anyone } } } };
}
