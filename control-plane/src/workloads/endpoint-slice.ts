/** What the mesh needs to know of an EndpointSlice. */
import type { EndpointSlice as KubeEndpointSlice } from '@tulle/api';
import { SERVICE_NAME_LABEL } from './mesh-names.ts';

export interface EndpointSlice {
  key: string;
  namespace: string;
  /** Key of the Service it belongs to. */
  serviceKey: string;
  family: 4 | 6;
  /** Port numbers by name; a slice without ports (any port) has none. */
  ports: ReadonlyMap<string, number>;
  members: readonly SliceMember[];
}

/** One ready address. */
export interface SliceMember {
  ip: string;
  podKey?: string;
  /** Key of the ExternalWorkload behind it. */
  externalKey?: string;
  /** Of the pod or ExternalWorkload. */
  targetUid?: string;
  hostname?: string;
  nodeName?: string;
  zone?: string;
  /** Zones whose clients should use it; empty where the slice gives no hints. */
  forZones: readonly string[];
}

/** Undefined for a slice of no Service or of domain names. */
export function parseEndpointSlice(object: KubeEndpointSlice): EndpointSlice | undefined {
  const { metadata } = object;
  const service = metadata.labels?.[SERVICE_NAME_LABEL];
  if (!service || (object.addressType !== 'IPv4' && object.addressType !== 'IPv6')) return undefined;
  const namespace = metadata.namespace ?? 'default';
  const members = (object.endpoints ?? []).flatMap((endpoint): SliceMember[] => {
    const ready = endpoint.conditions?.ready ?? true;
    const ip = endpoint.addresses[0];
    if (!ready || endpoint.conditions?.terminating || ip === undefined) return [];
    const target = endpoint.targetRef;
    const targetKey = target && `${target.namespace ?? namespace}/${target.name}`;
    return [
      {
        ip,
        podKey: target?.kind === 'Pod' ? targetKey : undefined,
        externalKey: target?.kind === 'ExternalWorkload' ? targetKey : undefined,
        targetUid: target?.uid,
        hostname: endpoint.hostname,
        nodeName: endpoint.nodeName,
        zone: endpoint.zone,
        forZones: endpoint.hints?.forZones?.map((zone) => zone.name) ?? [],
      },
    ];
  });
  const ports = (object.ports ?? []).filter((port) => (port.protocol ?? 'TCP') === 'TCP');
  return {
    key: `${namespace}/${metadata.name}`,
    namespace,
    serviceKey: `${namespace}/${service}`,
    family: object.addressType === 'IPv4' ? 4 : 6,
    ports: new Map(ports.flatMap(({ name, port }) => (port ? [[name ?? '', port] as const] : []))),
    members,
  };
}
