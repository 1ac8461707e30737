/** What a destination is, before any endpoint is looked up: a Service, one endpoint, or nothing that is known. */

import type { Authority } from '../workloads/authority.ts';
import {
  type Endpoint,
  externalEndpoint,
  isExternalPortOpaque,
  isPodPortOpaque,
  type MeshSettings,
  podEndpoint,
} from '../workloads/endpoint.ts';
import { portProtocol, type Service } from '../workloads/service.ts';
import { serviceEndpoints } from '../workloads/service-endpoints.ts';
import type { Topic, WorkloadIndex } from '../workloads/workload-index.ts';
import type { EffectiveProfile, ProfileIndex } from './profile-index.ts';

export type Profile =
  | {
      kind: 'service';
      service: { namespace: string; name: string };
      fullName: string;
      port: number;
      isOpaque: boolean;
      /** What a ServiceProfile says of it. */
      profile?: EffectiveProfile;
    }
  | { kind: 'endpoint'; endpoint: Endpoint; isOpaque: boolean }
  /** A Service without that port: its client policy refuses, so nothing is said here. */
  | { kind: 'undefined-port' }
  | { kind: 'unknown'; isOpaque: boolean };

/** Where profiles are looked for. */
export interface ProfileSources {
  index: WorkloadIndex;
  profiles: ProfileIndex;
  mesh: MeshSettings;
}

/** The topics whose changes may change the profile; an address may be another Service's by the next time. */
export function profileTopics(
  { index, profiles }: ProfileSources,
  authority: Authority,
  clientNamespace: string | undefined,
): Topic[] {
  const service = authority.kind === 'ip' ? index.serviceByIp(authority.ip) : authority;
  const own: Topic = authority.kind === 'ip' ? `ip/${authority.ip}` : `service/${authority.serviceKey}`;
  return service ? [own, ...profiles.topics(service, clientNamespace)] : [own];
}

export function profileOf(sources: ProfileSources, authority: Authority, clientNamespace: string | undefined): Profile {
  const { index, mesh } = sources;
  if (authority.kind === 'ip') {
    const service = index.serviceByIp(authority.ip);
    if (service) return serviceProfile(sources, service, authority.port, clientNamespace);
    const external = index.externalWorkloadByIp(authority.ip);
    const found = index.podByAddress(authority.ip, authority.port);
    if (!found && external) {
      return {
        kind: 'endpoint',
        endpoint: externalEndpoint(index, mesh, external, authority),
        isOpaque: isExternalPortOpaque(index, mesh, external, authority.port),
      };
    }
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
  if (service) return serviceProfile(sources, service, port, clientNamespace);
  return { kind: 'unknown', isOpaque: mesh.defaultOpaquePorts.has(port) };
}

function serviceProfile(
  { index, profiles, mesh }: ProfileSources,
  service: Service,
  port: number,
  clientNamespace: string | undefined,
): Profile {
  const opaquePorts = index.namespace(service.namespace)?.opaquePorts ?? mesh.defaultOpaquePorts;
  const protocol = portProtocol(service, port, opaquePorts);
  if (protocol === 'undefined') return { kind: 'undefined-port' };
  const { namespace, name } = service;
  const profile = profiles.find(service, clientNamespace);
  return {
    kind: 'service',
    service: { namespace, name },
    fullName: `${name}.${namespace}.svc.${mesh.clusterDomain}`,
    port,
    isOpaque:
      protocol === 'opaque' || (profile?.opaquePorts.some(({ from, to }) => port >= from && port <= to) ?? false),
    profile,
  };
}
