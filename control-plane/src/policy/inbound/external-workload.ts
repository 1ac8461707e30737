/** What decides on the ports of a workload outside the cluster where no Server does: its annotations, as a pod's. */
import type { ExternalWorkload } from '@tulle/api/external-workload.ts';
import type { DefaultPolicy } from '../../workloads/default-policy.ts';
import type { NamedPorts } from '../../workloads/endpoint.ts';
import { OPAQUE_PORTS_ANNOTATION, REQUIRE_IDENTITY_ANNOTATION } from '../../workloads/mesh-names.ts';
import { readDefaultPolicy } from '../../workloads/namespace.ts';
import { NO_PORTS, type PortSet, parsePortList } from '../../workloads/port-set.ts';

export interface ExternalDefaults {
  namespace: string;
  /** Undefined where the workload says nothing: the namespace or the mesh decides. */
  opaquePorts?: PortSet;
  requireIdentityPorts: PortSet;
  defaultInboundPolicy?: DefaultPolicy;
}

/** Annotations that cannot be read count as not set. */
export function externalDefaults({ ref, annotations, ports }: ExternalWorkload): ExternalDefaults {
  const names = new Map(ports.flatMap(({ name, port }) => (name ? [[name, port] as const] : [])));
  const portList = (key: string) => {
    const text = annotations[key];
    return text === undefined ? undefined : parsePortList(text, names).ports;
  };
  return {
    namespace: ref.namespace,
    opaquePorts: portList(OPAQUE_PORTS_ANNOTATION),
    requireIdentityPorts: portList(REQUIRE_IDENTITY_ANNOTATION) ?? NO_PORTS,
    defaultInboundPolicy: readDefaultPolicy(annotations, []),
  };
}

export function tcpPorts({ ports }: ExternalWorkload): NamedPorts {
  return ports.filter(({ protocol }) => protocol === 'TCP');
}
