/** Outbound policies as the policy API writes them, with our own fields behind. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type OpaqueRouteSchema,
  type OutboundPolicy as OutboundMessage,
  OutboundPolicySchema,
  type ProxyProtocolSchema,
  type TlsRouteSchema,
} from '@tulle/api/gen/outbound_pb.ts';
import { toHostMatch } from '../../wire/http-route.ts';
import { defaultMetadata, type MetadataInit, toDuration, toTcpAddress } from '../../wire/net.ts';
import { toWeightedAddr } from '../../wire/weighted-addr.ts';
import { type BackendInit, parentMetadata, QUEUE, sourceMetadata, toAccrual, toBackend } from './backend-translator.ts';
import type { ConnectionPolicyRoute, ConnectionPolicyRule, OutboundPolicy, RoutedPolicy } from './outbound-policy.ts';
import { policyOverlay } from './overlay-translator.ts';
import { type HttpRouteInit, toGrpcRoutes, toHttpRoutes } from './request-translator.ts';

type OutboundInit = MessageInitShape<typeof OutboundPolicySchema>;
type ProtocolInit = MessageInitShape<typeof ProxyProtocolSchema>;
type OpaqueRouteInit = MessageInitShape<typeof OpaqueRouteSchema>;
type OpaqueRuleInit = NonNullable<OpaqueRouteInit['rules']>[number];
type TlsRouteInit = MessageInitShape<typeof TlsRouteSchema>;

/** How long a client may take to send enough for its protocol to be known; after that it is opaque. */
const DETECT_TIMEOUT_MS = 10_000;

/** `clientZone` is that of the asking proxy's node. */
export function toOutboundPolicy(policy: OutboundPolicy, clusterDomain: string, clientZone?: string): OutboundMessage {
  const message = create(OutboundPolicySchema, toInit(policy, clusterDomain, clientZone));
  const overlay = policyOverlay(policy, clusterDomain);
  if (overlay.length > 0) message.$unknown = overlay;
  return message;
}

function toInit(policy: OutboundPolicy, clusterDomain: string, clientZone: string | undefined): OutboundInit {
  switch (policy.kind) {
    case 'routed':
      return { metadata: parentMetadata(policy.parent), protocol: toProtocol(policy, clusterDomain) };
    case 'undefined-port':
      return {
        metadata: parentMetadata(policy.parent),
        protocol: { kind: { case: 'opaque', value: { routes: [UNDEFINED_PORT] } } },
      };
    case 'endpoint': {
      const { endpoint, isOpaque } = policy;
      const labels: Record<string, string> = endpoint.workload ? { namespace: endpoint.workload.namespace } : {};
      const value = toWeightedAddr(endpoint, clientZone, labels);
      return forwarding(defaultMetadata('endpoint'), { case: 'forward', value }, isOpaque);
    }
    case 'external': {
      const value = { addr: toTcpAddress(policy.address.ip, policy.address.port), weight: 1 };
      return forwarding(defaultMetadata('egress-fallback'), { case: 'forward', value }, false);
    }
  }
}

const UNDEFINED_PORT: OpaqueRouteInit = {
  metadata: defaultMetadata('undefined-port'),
  rules: [
    {
      backends: { kind: { case: 'empty', value: {} } },
      filters: [{ kind: { case: 'forbidden', value: {} } }],
    },
  ],
};

function toProtocol(policy: RoutedPolicy, clusterDomain: string): ProtocolInit {
  const failureAccrual = policy.accrual && toAccrual(policy.accrual);
  const http = () => ({ routes: toHttpRoutes(policy.http, clusterDomain), failureAccrual });
  const opaque = () => ({ routes: policy.opaque.map((route) => toOpaqueRoute(route, clusterDomain)) });
  switch (policy.protocol) {
    case 'detect': {
      const both = http();
      const timeout = toDuration(DETECT_TIMEOUT_MS);
      return { kind: { case: 'detect', value: { timeout, opaque: opaque(), http1: both, http2: both } } };
    }
    case 'opaque':
      return { kind: { case: 'opaque', value: opaque() } };
    case 'http1':
      return { kind: { case: 'http1', value: http() } };
    case 'http2':
      return { kind: { case: 'http2', value: http() } };
    case 'grpc': {
      const routes = toGrpcRoutes(policy.grpc, clusterDomain);
      return { kind: { case: 'grpc', value: { routes, failureAccrual } } };
    }
    case 'tls': {
      // One without a rule takes nothing; written, it would have no names either, and that is every name.
      const routes = policy.tls
        .filter(({ rules }) => rules.length > 0)
        .map((route) => toTlsRoute(route, clusterDomain));
      return { kind: { case: 'tls', value: { routes } } };
    }
  }
}

function toOpaqueRoute({ source, rules }: ConnectionPolicyRoute, clusterDomain: string): OpaqueRouteInit {
  return { metadata: sourceMetadata(source), rules: rules.map((rule) => toConnectionRule(rule, clusterDomain)) };
}

function toTlsRoute({ source, hostnames, rules }: ConnectionPolicyRoute, clusterDomain: string): TlsRouteInit {
  return {
    metadata: sourceMetadata(source),
    // Names are written as hosts are, and rules as those of opaque routes.
    snis: hostnames.map(toHostMatch) as TlsRouteInit['snis'],
    rules: rules.map((rule) => toConnectionRule(rule, clusterDomain)) as TlsRouteInit['rules'],
  };
}

function toConnectionRule(rule: ConnectionPolicyRule, clusterDomain: string): OpaqueRuleInit {
  const written = rule.backends.map((backend) => ({
    weight: backend.weight,
    backend: { backend: toBackend(backend, clusterDomain), filters: invalidFilters(backend.invalid) },
  }));
  const backends = rule.isWeighted
    ? { case: 'randomAvailable' as const, value: { backends: written } }
    : { case: 'firstAvailable' as const, value: { backends: written.map(({ backend }) => backend) } };
  return { backends: { kind: backends }, filters: refusalFilters(rule.refusal) };
}

type ConnectionFilterInit = NonNullable<OpaqueRuleInit['filters']>[number];

function invalidFilters(message: string | undefined): ConnectionFilterInit[] {
  return message === undefined ? [] : [{ kind: { case: 'invalid', value: { message } } }];
}

function refusalFilters(refusal: ConnectionPolicyRule['refusal']): ConnectionFilterInit[] {
  if (refusal?.kind === 'invalid') return invalidFilters(refusal.message);
  return refusal ? [{ kind: { case: 'forbidden', value: {} } }] : [];
}

/** Everything to one address, whatever the protocol. */
function forwarding(
  metadata: MetadataInit,
  kind: Extract<NonNullable<BackendInit['kind']>, { case: 'forward' }>,
  isOpaque: boolean,
): OutboundInit {
  const backend: BackendInit = { metadata, queue: QUEUE, kind };
  const backends = { kind: { case: 'firstAvailable' as const, value: { backends: [{ backend }] } } };
  const opaque = { routes: [{ metadata, rules: [{ backends }] }] };
  if (isOpaque) return { metadata, protocol: { kind: { case: 'opaque', value: opaque } } };
  const route: HttpRouteInit = { metadata, rules: [{ matches: [{}], backends }] };
  const http = { routes: [route] };
  const timeout = toDuration(DETECT_TIMEOUT_MS);
  return { metadata, protocol: { kind: { case: 'detect', value: { timeout, opaque, http1: http, http2: http } } } };
}
