/** What a pod's connections to a destination are to do, by the Service, pod or outside address behind it. */
import { MeshError } from '@tulle/api';
import { type Endpoint, isPodPortOpaque, type MeshSettings, podEndpoint } from '../workloads/endpoint.ts';
import { type IpNetwork, networkContains, parseIp } from '../workloads/ip-address.ts';
import { type PortProtocol, portProtocol, type Service } from '../workloads/service.ts';
import type { TrafficSettings } from '../workloads/traffic-annotations.ts';
import type { Topic, WorkloadIndex } from '../workloads/workload-index.ts';

export type OutboundTarget = { kind: 'ip'; ip: string; port: number } | { kind: 'service'; key: string; port: number };

export type OutboundPolicy =
  | {
      kind: 'service';
      service: { namespace: string; name: string };
      port: number;
      /** Never `undefined`: that is the next. */
      protocol: Exclude<PortProtocol, 'undefined'>;
      traffic: TrafficSettings;
    }
  | { kind: 'undefined-port'; service: { namespace: string; name: string }; port: number }
  | { kind: 'endpoint'; endpoint: Endpoint; isOpaque: boolean }
  /** Outside the cluster: sent where it was going. */
  | { kind: 'external'; ip: string; port: number };

export function outboundTopics(target: OutboundTarget): Topic[] {
  return target.kind === 'ip' ? [`ip/${target.ip}`] : [`service/${target.key}`];
}

/** @throws MeshError `NOT_FOUND` for an address of the cluster, or a name, that is nothing: proxies then fall back. */
export function outboundPolicy(
  index: WorkloadIndex,
  mesh: MeshSettings,
  clusterNetworks: readonly IpNetwork[],
  target: OutboundTarget,
): OutboundPolicy {
  if (target.kind === 'service') {
    const service = index.service(target.key);
    if (!service) throw new MeshError('NOT_FOUND', `outbound policy of service ${target.key}: no such service`);
    return servicePolicy(index, mesh, service, target.port);
  }
  const { ip, port } = target;
  const service = index.serviceByIp(ip);
  if (service) return servicePolicy(index, mesh, service, port);
  const found = index.podByAddress(ip, port);
  if (found) {
    return {
      kind: 'endpoint',
      endpoint: podEndpoint(index, mesh, found.pod, found.address),
      isOpaque: isPodPortOpaque(index, mesh, found.pod, found.address.port),
    };
  }
  const address = parseIp(ip);
  if (address && !clusterNetworks.some((network) => networkContains(network, address))) {
    return { kind: 'external', ip, port };
  }
  throw new MeshError('NOT_FOUND', `outbound policy of ${ip}: no service or pod has this address`);
}

function servicePolicy(index: WorkloadIndex, mesh: MeshSettings, service: Service, port: number): OutboundPolicy {
  const { namespace, name } = service;
  const opaquePorts = index.namespace(namespace)?.opaquePorts ?? mesh.defaultOpaquePorts;
  const protocol = portProtocol(service, port, opaquePorts);
  if (protocol === 'undefined') return { kind: 'undefined-port', service: { namespace, name }, port };
  return { kind: 'service', service: { namespace, name }, port, protocol, traffic: service.traffic };
}
