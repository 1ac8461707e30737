/** The endpoints of a Service's port, as all clients see them; what differs by client is left to each. */
import {
  bareEndpoint,
  type Endpoint,
  externalEndpoint,
  gatewayEndpoint,
  type MeshSettings,
  podEndpoint,
} from './endpoint.ts';
import type { EndpointSlice, SliceMember } from './endpoint-slice.ts';
import type { WorkloadIndex } from './workload-index.ts';

export interface ServiceEndpoints {
  exists: boolean;
  isNodeLocal: boolean;
  /** By `ip:port`. */
  endpoints: ReadonlyMap<string, Endpoint>;
}

const NONE: ServiceEndpoints = { exists: false, isNodeLocal: false, endpoints: new Map() };

/** With a hostname, only the pod of that name (`web-0.web.ns.svc…`). */
export function serviceEndpoints(
  index: WorkloadIndex,
  mesh: MeshSettings,
  target: { serviceKey: string; port: number; hostname?: string },
): ServiceEndpoints {
  const service = index.service(target.serviceKey);
  if (!service) return NONE;
  const servicePort = service.ports.find(({ port }) => port === target.port);
  const endpoints = new Map<string, Endpoint>();
  for (const slice of withFamily(index.slices(target.serviceKey), mesh)) {
    const port = servicePort ? slice.ports.get(servicePort.name) : target.port;
    if (port === undefined) continue;
    for (const member of slice.members) {
      if (target.hostname !== undefined && member.hostname !== target.hostname) continue;
      const endpoint =
        slice.gateway && !member.podKey && !member.externalKey
          ? gatewayEndpoint(mesh, slice.gateway, target.port, { ip: member.ip, port }, member)
          : memberEndpoint(index, mesh, member, port);
      if (endpoint) endpoints.set(`${endpoint.ip}:${endpoint.port}`, endpoint);
    }
  }
  return { exists: true, isNodeLocal: service.isNodeLocal, endpoints };
}

/**
 * Undefined while the pod or workload behind the address is not known (its identity is not either), is another pod of the same
 * name, or is on its way out, which is seen on the pod before it is seen in the slice.
 */
function memberEndpoint(
  index: WorkloadIndex,
  mesh: MeshSettings,
  member: SliceMember,
  port: number,
): Endpoint | undefined {
  if (member.externalKey) {
    const external = index.externalWorkload(member.externalKey);
    if (!external || isOther(member, external)) return undefined;
    return externalEndpoint(index, mesh, external, { ip: member.ip, port }, member);
  }
  if (!member.podKey) return bareEndpoint({ ip: member.ip, port }, member);
  const pod = index.pod(member.podKey);
  if (!pod || pod.isTerminal || pod.isTerminating || isOther(member, pod)) return undefined;
  return podEndpoint(index, mesh, pod, { ip: member.ip, port }, member);
}

function isOther({ targetUid }: SliceMember, { uid }: { uid: string }): boolean {
  return targetUid !== undefined && uid !== '' && targetUid !== uid;
}

/** A pod with addresses of both families is one endpoint: over IPv6 where the mesh has it, over IPv4 otherwise. */
function withFamily(slices: readonly EndpointSlice[], mesh: MeshSettings): EndpointSlice[] {
  if (!mesh.isIpv6Enabled) return slices.filter(({ family }) => family === 4);
  const inSix = new Set(slices.filter(({ family }) => family === 6).flatMap(targetsOf));
  return slices.map((slice) =>
    slice.family === 6
      ? slice
      : { ...slice, members: slice.members.filter((member) => !inSix.has(targetOf(member) ?? '')) },
  );
}

function targetsOf(slice: EndpointSlice): string[] {
  return slice.members.flatMap((member) => targetOf(member) ?? []);
}

function targetOf({ podKey, externalKey }: SliceMember): string | undefined {
  return externalKey === undefined ? podKey : `external/${externalKey}`;
}
