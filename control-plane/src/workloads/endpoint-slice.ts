/** What the mesh needs to know of an EndpointSlice. */
import type { EndpointSlice as KubeEndpointSlice } from '@tulle/api';
import {
  CLUSTER_NAME_LABEL,
  REMOTE_GATEWAY_IDENTITY_ANNOTATION,
  REMOTE_SERVICE_ANNOTATION,
  SERVICE_NAME_LABEL,
} from './mesh-names.ts';

export interface EndpointSlice {
  key: string;
  namespace: string;
  /** Key of the Service it belongs to. */
  serviceKey: string;
  family: 4 | 6;
  /** Port numbers by name; a slice without ports (any port) has none. */
  ports: ReadonlyMap<string, number>;
  members: readonly SliceMember[];
  /** Set where its addresses without a target are a gateway to another cluster's Service. */
  gateway?: Gateway;
}

/** What a service mirror writes to the endpoints of a Service that it mirrors. */
export interface Gateway {
  /** Connections are mutual TLS to this name; undefined where nothing is said of it. */
  identity?: string;
  /** The Service's full name in its own cluster: what the gateway is asked for. */
  serviceName?: string;
  /** Metric labels that say where requests go. */
  labels: Readonly<Record<string, string>>;
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
    gateway: parseGateway(metadata),
  };
}

function parseGateway({ labels = {}, annotations = {} }: KubeEndpointSlice['metadata']): Gateway | undefined {
  // Both are empty where the mirror knows nothing.
  const identity = annotations[REMOTE_GATEWAY_IDENTITY_ANNOTATION] || undefined;
  const serviceName = annotations[REMOTE_SERVICE_ANNOTATION] || undefined;
  if (identity === undefined && serviceName === undefined) return undefined;
  const cluster = labels[CLUSTER_NAME_LABEL];
  const [service, namespace] = serviceName?.split('.') ?? [];
  return {
    identity,
    serviceName,
    labels: {
      ...(cluster ? { target_cluster: cluster } : {}),
      ...(cluster && service && namespace ? { target_service: service, target_service_namespace: namespace } : {}),
    },
  };
}
