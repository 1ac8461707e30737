/**
 * Endpoints: an address with what a client's proxy must know to speak to it. Derived from the workload index; of a
 * Service's port, or of one pod.
 */
import type { ExternalWorkload } from '@tulle/api/external-workload.ts';
import { canonicalIp } from '@tulle/api/ip-address.ts';
import type { WorkloadName } from './context-token.ts';
import type { Gateway, SliceMember } from './endpoint-slice.ts';
import { identityName, OPAQUE_PORTS_ANNOTATION, PROXY_CONTAINER, ZONE_LABEL } from './mesh-names.ts';
import type { Pod } from './pod.ts';
import { type PortSet, parsePortList } from './port-set.ts';
import type { Owner, WorkloadIndex } from './workload-index.ts';

export interface MeshSettings {
  controllerNamespace: string;
  clusterDomain: string;
  trustDomain: string;
  defaultOpaquePorts: PortSet;
  isH2UpgradeEnabled: boolean;
  /** `transport-header`: to meshed pods always over the inbound port; `transparent`: only to opaque ports. */
  outboundTransportMode: 'transport-header' | 'transparent';
  isIpv6Enabled: boolean;
  /** Whether a Server makes a port of a workload opaque; `ports` are those that it may name. */
  isOpaqueByServer?: (workload: WorkloadName, ports: NamedPorts, port: number) => boolean;
}

export type NamedPorts = readonly { readonly name?: string; readonly port: number }[];

export interface Endpoint {
  ip: string;
  port: number;
  /** The pod or ExternalWorkload that it is. */
  workload?: { kind: 'Pod' | 'ExternalWorkload'; namespace: string; name: string };
  labels: Readonly<Record<string, string>>;
  zone?: string;
  nodeName?: string;
  hostname?: string;
  /** Zones whose clients should use it; empty where nothing is said. */
  forZones: readonly string[];
  /** Set where the pod is meshed by this control plane, or is a gateway: connections are mutual TLS to this name. */
  identity?: string;
  /** What connections ask for, where it is not the identity. */
  serverName?: string;
  protocol?: 'h2' | 'opaque';
  /** The inbound port of the pod's proxy, where connections go there with a transport header. */
  transportPort?: number;
  /** `name:port` that requests and connections are for there, where it is not what was asked for: a gateway's. */
  authority?: string;
}

/** The endpoint that a pod is on a port. */
export function podEndpoint(
  index: WorkloadIndex,
  mesh: MeshSettings,
  pod: Pod,
  address: { ip: string; port: number },
  member?: SliceMember,
): Endpoint {
  const nodeName = member?.nodeName ?? pod.nodeName;
  const zone = member?.zone ?? index.zone(nodeName);
  const labels = podLabels(pod, index.workloadOf(pod));
  return {
    ip: canonicalIp(address.ip),
    port: address.port,
    workload: { kind: 'Pod', namespace: pod.namespace, name: pod.name },
    labels: zone === undefined ? labels : { ...labels, zone },
    zone,
    nodeName: nodeName || undefined,
    hostname: member?.hostname,
    forZones: member?.forZones ?? [],
    ...meshing(index, mesh, pod, address.port),
  };
}

/** The endpoint that a workload outside the cluster is on a port: always meshed. */
export function externalEndpoint(
  index: WorkloadIndex,
  mesh: MeshSettings,
  external: ExternalWorkload,
  address: { ip: string; port: number },
  member?: SliceMember,
): Endpoint {
  const { ref, identity, serverName } = external;
  const zone = member?.zone ?? external.labels[ZONE_LABEL];
  const labels = { external_workload: ref.name };
  const isOpaque = isExternalPortOpaque(index, mesh, external, address.port);
  const inbound = external.ports.find(({ name }) => name === PROXY_CONTAINER)?.port ?? EXTERNAL_INBOUND_PORT;
  return {
    ip: canonicalIp(address.ip),
    port: address.port,
    workload: { kind: 'ExternalWorkload', namespace: ref.namespace, name: ref.name },
    labels: zone === undefined ? labels : { ...labels, zone },
    zone,
    hostname: member?.hostname,
    forZones: member?.forZones ?? [],
    identity,
    serverName,
    protocol: isOpaque ? 'opaque' : 'h2',
    transportPort: isOpaque || mesh.outboundTransportMode === 'transport-header' ? inbound : undefined,
  };
}

/** Where the proxy of a workload outside the cluster listens that names no port `linkerd-proxy`. */
const EXTERNAL_INBOUND_PORT = 4143;

export function isExternalPortOpaque(
  index: WorkloadIndex,
  mesh: MeshSettings,
  { ref, annotations, ports }: ExternalWorkload,
  port: number,
): boolean {
  const text = annotations[OPAQUE_PORTS_ANNOTATION];
  const names = new Map(ports.flatMap((each) => (each.name ? [[each.name, each.port] as const] : [])));
  const own = text === undefined ? undefined : parsePortList(text, names).ports;
  const isOpaque = (own ?? index.namespace(ref.namespace)?.opaquePorts ?? mesh.defaultOpaquePorts).has(port);
  return isOpaque || (mesh.isOpaqueByServer?.({ ...ref, kind: 'ExternalWorkload' }, ports, port) ?? false);
}

/** The endpoint that an address without a pod is. */
export function bareEndpoint(address: { ip: string; port: number }, member?: SliceMember): Endpoint {
  const zone = member?.zone;
  return {
    ip: canonicalIp(address.ip),
    port: address.port,
    labels: zone === undefined ? {} : { zone },
    zone,
    nodeName: member?.nodeName,
    hostname: member?.hostname,
    forZones: member?.forZones ?? [],
  };
}

/** The gateway of another cluster, on the way to `port` of the Service there. */
export function gatewayEndpoint(
  mesh: MeshSettings,
  { identity, serviceName, labels }: Gateway,
  port: number,
  address: { ip: string; port: number },
  member: SliceMember,
): Endpoint {
  const bare = bareEndpoint(address, member);
  return {
    ...bare,
    labels: { ...bare.labels, ...labels },
    identity,
    protocol: identity !== undefined && mesh.isH2UpgradeEnabled ? 'h2' : undefined,
    authority: serviceName && `${serviceName}:${port}`,
  };
}

export function isPodPortOpaque(index: WorkloadIndex, mesh: MeshSettings, pod: Pod, port: number): boolean {
  const { namespace, name, selectablePorts } = pod;
  const isOpaque = (pod.opaquePorts ?? index.namespace(namespace)?.opaquePorts ?? mesh.defaultOpaquePorts).has(port);
  return isOpaque || (mesh.isOpaqueByServer?.({ kind: 'Pod', namespace, name }, selectablePorts, port) ?? false);
}

function meshing(
  index: WorkloadIndex,
  mesh: MeshSettings,
  pod: Pod,
  port: number,
): Pick<Endpoint, 'identity' | 'protocol' | 'transportPort'> {
  const isMeshed = pod.controlPlaneNamespace === mesh.controllerNamespace && !pod.isHostNetwork;
  if (!isMeshed || pod.skippedInboundPorts.has(port)) return {};
  const identity = identityName(pod.serviceAccount, pod.namespace, mesh);
  // The proxy's own listeners end mesh TLS themselves and take no transport header.
  if (port === pod.proxyPorts?.admin || port === pod.proxyPorts?.control) return { identity };
  const isOpaque = isPodPortOpaque(index, mesh, pod, port);
  const hasTransportHeader = isOpaque || mesh.outboundTransportMode === 'transport-header';
  return {
    identity,
    protocol: isOpaque ? 'opaque' : mesh.isH2UpgradeEnabled ? 'h2' : undefined,
    transportPort: hasTransportHeader ? pod.proxyPorts?.inbound : undefined,
  };
}

/** A Job's label is `k8s_job`: `job` means the scrape job to Prometheus. */
function podLabels(pod: Pod, owner: Owner | undefined): Record<string, string> {
  const labels: Record<string, string> = { pod: pod.name, serviceaccount: pod.serviceAccount };
  if (owner) labels[owner.kind === 'Job' ? 'k8s_job' : owner.kind.toLowerCase()] = owner.name;
  if (pod.controlPlaneNamespace) labels.control_plane_ns = pod.controlPlaneNamespace;
  if (pod.podTemplateHash) labels.pod_template_hash = pod.podTemplateHash;
  return labels;
}
