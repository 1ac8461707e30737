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
import type { HashSettings } from '../workloads/traffic-annotations.ts';
import type { Topic, WorkloadIndex } from '../workloads/workload-index.ts';
import { overridesOf } from './overrides.ts';
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
      /** By what the balancers choose that the ServiceProfile leads to: by authority. */
      hashes: ReadonlyMap<string, HashSettings>;
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

const NO_HASHES: ReadonlyMap<string, HashSettings> = new Map();

/** The topics whose changes may change the profile; an address may be another Service's by the next time. */
export function profileTopics(
  { index, profiles, mesh }: ProfileSources,
  authority: Authority,
  clientNamespace: string | undefined,
): Topic[] {
  const service = authority.kind === 'ip' ? index.serviceByIp(authority.ip) : authority;
  const own: Topic = authority.kind === 'ip' ? `ip/${authority.ip}` : `service/${authority.serviceKey}`;
  if (!service) return [own];
  const profile = profiles.find(service, clientNamespace);
  const overrides = profile ? overridesOf(profile, authority.port, mesh.clusterDomain) : [];
  const ofTargets = overrides.flatMap(({ service: target }): Topic[] =>
    target ? [`service/${target.serviceKey}`] : [],
  );
  return [own, ...profiles.topics(service, clientNamespace), ...ofTargets];
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
  sources: ProfileSources,
  service: Service,
  port: number,
  clientNamespace: string | undefined,
): Profile {
  const { index, profiles, mesh } = sources;
  const opaquePorts = index.namespace(service.namespace)?.opaquePorts ?? mesh.defaultOpaquePorts;
  const protocol = portProtocol(service, port, opaquePorts);
  if (protocol === 'undefined') return { kind: 'undefined-port' };
  const { namespace, name } = service;
  const profile = profiles.find(service, clientNamespace);
  const fullName = `${name}.${namespace}.svc.${mesh.clusterDomain}`;
  return {
    kind: 'service',
    service: { namespace, name },
    fullName,
    port,
    isOpaque:
      protocol === 'opaque' || (profile?.opaquePorts.some(({ from, to }) => port >= from && port <= to) ?? false),
    profile,
    hashes: profile ? hashesOf(sources, service, profile, { authority: `${fullName}:${port}`, port }) : NO_HASHES,
  };
}

function hashesOf(
  { index, mesh }: ProfileSources,
  own: Service,
  profile: EffectiveProfile,
  { authority, port }: { authority: string; port: number },
): ReadonlyMap<string, HashSettings> {
  const hashes = new Map<string, HashSettings>();
  if (own.traffic.hash) hashes.set(authority, own.traffic.hash);
  for (const { authority, service } of overridesOf(profile, port, mesh.clusterDomain)) {
    const hash = service && index.service(service.serviceKey)?.traffic.hash;
    if (hash) hashes.set(authority.replace(/\.(?=:\d+$)/, ''), hash);
  }
  return hashes;
}
