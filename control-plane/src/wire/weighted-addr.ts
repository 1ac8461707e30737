/** An endpoint as the proxy API writes it. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { EXTERNAL_WORKLOADS } from '@tulle/api';
import type { Http2ClientParamsSchema, WeightedAddrSchema } from '@tulle/api/gen/destination_pb.ts';
import { groupOf } from '@tulle/api/object-ref.ts';
import type { Endpoint } from '../workloads/endpoint.ts';
import { coreMetadata, type MetadataInit, toDuration, toTcpAddress } from './net.ts';

export type WeightedAddrInit = MessageInitShape<typeof WeightedAddrSchema>;

/** Every endpoint weighs the same; proxies balance by latency. */
const WEIGHT = 10_000;

/** Clients notice within 13 s that a meshed peer is gone without a word, also while no request is on its way. */
const HTTP2_PARAMS: MessageInitShape<typeof Http2ClientParamsSchema> = {
  keepAlive: { interval: toDuration(10_000), timeout: toDuration(3_000), whileIdle: true },
};

/** `clientZone` is that of the asking proxy's node; `extraLabels` win over the endpoint's. */
export function toWeightedAddr(
  endpoint: Endpoint,
  clientZone: string | undefined,
  extraLabels: Record<string, string> = {},
): WeightedAddrInit {
  const { identity, protocol, transportPort, authority } = endpoint;
  const isMeshed = identity !== undefined;
  return {
    addr: toTcpAddress(endpoint.ip, endpoint.port),
    weight: WEIGHT,
    metricLabels: { ...endpoint.labels, zone_locality: locality(endpoint.zone, clientZone), ...extraLabels },
    tlsIdentity: isMeshed ? toTlsIdentity(identity, endpoint.serverName ?? identity) : undefined,
    protocolHint:
      protocol || transportPort
        ? {
            protocol: protocol ? { case: protocol, value: {} } : undefined,
            opaqueTransport: transportPort ? { inboundPort: transportPort } : undefined,
          }
        : undefined,
    authorityOverride: authority === undefined ? undefined : { authorityOverride: authority },
    http2: isMeshed ? HTTP2_PARAMS : undefined,
    resourceRef: toResourceRef(endpoint),
  };
}

function toTlsIdentity(identity: string, serverName: string): NonNullable<WeightedAddrInit['tlsIdentity']> {
  const isUri = identity.includes('://');
  return {
    strategy: isUri
      ? { case: 'uriLikeIdentity', value: { uri: identity } }
      : { case: 'dnsLikeIdentity', value: { name: identity } },
    serverName: { name: serverName },
  };
}

export function toResourceRef({ workload }: Endpoint, port?: number): MetadataInit | undefined {
  if (workload?.kind !== 'ExternalWorkload') return workload && coreMetadata('Pod', workload, port);
  const group = groupOf(EXTERNAL_WORKLOADS.apiVersion);
  const { kind, namespace, name } = workload;
  return { kind: { case: 'resource', value: { group, kind, namespace, name, port } } };
}

function locality(zone: string | undefined, clientZone: string | undefined): 'local' | 'remote' | 'unknown' {
  if (!zone || !clientZone) return 'unknown';
  return zone === clientZone ? 'local' : 'remote';
}
