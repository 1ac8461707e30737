/**
 * Who may speak to a port of a pod, and how its bytes are to be read. Decided by the defaults: the pod's annotation,
 * else its namespace's, else the mesh's; policy resources take the place of a default where one selects the port.
 */
import type { DefaultPolicy } from '../workloads/default-policy.ts';
import { isPodPortOpaque, type MeshSettings } from '../workloads/endpoint.ts';
import type { IpNetwork } from '../workloads/ip-address.ts';
import type { Pod, Probe } from '../workloads/pod.ts';
import type { WorkloadIndex } from '../workloads/workload-index.ts';

export interface InboundSettings {
  defaultPolicy: DefaultPolicy;
  clusterNetworks: readonly IpNetwork[];
  /** Where the kubelet's probes come from; empty: they are not let in. */
  probeNetworks: readonly IpNetwork[];
  /** The ports of our own services, in pods of the control plane. */
  controlPlanePorts: { identity: number; destination: number; policy: number; injector: number };
}

export interface InboundServer {
  /** Name of the default that decided. */
  name: string;
  isOpaque: boolean;
  authorizations: readonly Authorization[];
  /** Requests that are let in from `probeNetworks` whatever else holds. */
  probes: readonly Probe[];
  probeNetworks: readonly IpNetwork[];
}

export interface Authorization {
  name: string;
  networks: readonly IpNetwork[];
  /** `tls`: mesh TLS, with or without a client certificate; `mesh`: any mesh identity. */
  authentication: 'none' | 'tls' | 'mesh';
}

export const ALL_NETWORKS: readonly IpNetwork[] = [
  { address: { family: 4, value: 0n }, prefixLength: 0 },
  { address: { family: 6, value: 0n }, prefixLength: 0 },
];

export function inboundServer(
  index: WorkloadIndex,
  mesh: MeshSettings,
  settings: InboundSettings,
  pod: Pod,
  port: number,
): InboundServer {
  const isControlPlane = pod.namespace === mesh.controllerNamespace && pod.component !== undefined;
  const own = isControlPlane ? controlPlaneAuthorization(settings.controlPlanePorts, port) : undefined;
  const annotated = pod.defaultInboundPolicy ?? index.namespace(pod.namespace)?.defaultInboundPolicy;
  const chosen = annotated ?? settings.defaultPolicy;
  const policy = pod.requireIdentityPorts.has(port) ? REQUIRING_IDENTITY[chosen] : chosen;
  const authorizations = own ? [own] : defaultAuthorizations(policy, settings);
  return {
    name: own?.name ?? policy,
    isOpaque: isPodPortOpaque(index, mesh, pod, port),
    authorizations,
    probes: settings.probeNetworks.length > 0 ? (pod.probes.get(port) ?? []) : [],
    probeNetworks: settings.probeNetworks,
  };
}

const REQUIRING_IDENTITY: Record<DefaultPolicy, DefaultPolicy> = {
  'all-unauthenticated': 'all-authenticated',
  'all-authenticated': 'all-authenticated',
  'cluster-unauthenticated': 'cluster-authenticated',
  'cluster-authenticated': 'cluster-authenticated',
  deny: 'deny',
  audit: 'audit',
};

function defaultAuthorizations(policy: DefaultPolicy, settings: InboundSettings): Authorization[] {
  if (policy === 'deny') return [];
  const networks = policy.startsWith('cluster-') ? settings.clusterNetworks : ALL_NETWORKS;
  const authentication = policy.endsWith('-authenticated') ? 'mesh' : 'none';
  return [{ name: policy, networks, authentication }];
}

/**
 * A proxy has no certificate yet when it asks for its first; it has one when it asks for anything else. The webhook is
 * called by the API server, which is no part of the mesh and brings TLS of its own.
 */
function controlPlaneAuthorization(
  ports: InboundSettings['controlPlanePorts'],
  port: number,
): Authorization | undefined {
  const networks = ALL_NETWORKS;
  switch (port) {
    case ports.identity:
      return { name: 'all-tls-unauthenticated', networks, authentication: 'tls' };
    case ports.destination:
    case ports.policy:
      return { name: 'all-authenticated', networks, authentication: 'mesh' };
    case ports.injector:
      return { name: 'all-unauthenticated', networks, authentication: 'none' };
    default:
      return undefined;
  }
}
