/** What a destination is, before any endpoint is looked up: a Service, one endpoint, or nothing that is known. */

import type { Authority } from '../workloads/authority.ts';
import { type Endpoint, isPodPortOpaque, type MeshSettings, podEndpoint } from '../workloads/endpoint.ts';
import { portProtocol, type Service } from '../workloads/service.ts';
import { serviceEndpoints } from '../workloads/service-endpoints.ts';
import type { Topic, WorkloadIndex } from '../workloads/workload-index.ts';

export type Profile =
  | { kind: 'service'; service: { namespace: string; name: string }; fullName: string; port: number; isOpaque: boolean }
  | { kind: 'endpoint'; endpoint: Endpoint; isOpaque: boolean }
  /** A Service without that port: its client policy refuses, so nothing is said here. */
  | { kind: 'undefined-port' }
  | { kind: 'unknown'; isOpaque: boolean };

/** The topics whose changes may change the profile. */
export function profileTopics(authority: Authority): Topic[] {
  return authority.kind === 'ip' ? [`ip/${authority.ip}`] : [`service/${authority.serviceKey}`];
}

export function profileOf(index: WorkloadIndex, mesh: MeshSettings, authority: Authority): Profile {
  if (authority.kind === 'ip') {
    const service = index.serviceByIp(authority.ip);
    if (service) return serviceProfile(index, mesh, service, authority.port);
    const found = index.podByAddress(authority.ip, authority.port);
    if (!found) return { kind: 'unknown', isOpaque: mesh.defaultOpaquePorts.has(authority.port) };
    const { pod, address } = found;
    return {
      kind: 'endpoint',
      endpoint: podEndpoint(index, mesh, pod, address),
      isOpaque: isPodPortOpaque(index, mesh, pod, address.port),
    };
  }
  const { serviceKey, hostname, port } = authority;
  if (hostname !== undefined) {
    const [endpoint] = serviceEndpoints(index, mesh, { serviceKey, hostname, port }).endpoints.values();
    if (!endpoint) return { kind: 'unknown', isOpaque: mesh.defaultOpaquePorts.has(port) };
    return { kind: 'endpoint', endpoint, isOpaque: endpoint.protocol === 'opaque' };
  }
  const service = index.service(serviceKey);
  if (service) return serviceProfile(index, mesh, service, port);
  return { kind: 'unknown', isOpaque: mesh.defaultOpaquePorts.has(port) };
}

function serviceProfile(index: WorkloadIndex, mesh: MeshSettings, service: Service, port: number): Profile {
  const opaquePorts = index.namespace(service.namespace)?.opaquePorts ?? mesh.defaultOpaquePorts;
  const protocol = portProtocol(service, port, opaquePorts);
  if (protocol === 'undefined') return { kind: 'undefined-port' };
  const { namespace, name } = service;
  return {
    kind: 'service',
    service: { namespace, name },
    fullName: `${name}.${namespace}.svc.${mesh.clusterDomain}`,
    port,
    isOpaque: protocol === 'opaque',
  };
}
