/** The endpoints that a Service's pods make, by address family and by the ports that its names come to. Pure. */

import type { Endpoint, EndpointSlice, Node, Pod, Service } from '@tulle/api';
import { isPodFinished, isPodReady } from '../pod-state.ts';

export type AddressType = 'IPv4' | 'IPv6';
export type EndpointPort = NonNullable<EndpointSlice['ports']>[number];

/** Endpoints that have the same ports: they may share a slice. */
export interface EndpointGroup {
  addressType: AddressType;
  ports: EndpointPort[];
  endpoints: Endpoint[];
}

const ZONE_LABEL = 'topology.kubernetes.io/zone';

/** One group for each set of ports in each family of the Service; pods of each in the order of their names. */
export function endpointGroups(
  service: Service,
  pods: Pod[],
  nodeOf: (name: string) => Node | undefined,
): EndpointGroup[] {
  const groups = new Map<string, EndpointGroup>();
  const present = pods
    .filter((pod) => !isPodFinished(pod))
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const addressType of addressTypesOf(service)) {
    for (const pod of present) {
      const address = podAddress(pod, addressType);
      if (!address) continue;
      const ports = portsOf(service, pod);
      // A pod that has none of a named port is no endpoint of it; a headless Service may have no ports at all.
      if (ports.length === 0 && (service.spec?.ports ?? []).length > 0) continue;
      const key = `${addressType} ${JSON.stringify(ports)}`;
      let group = groups.get(key);
      if (!group) {
        group = { addressType, ports, endpoints: [] };
        groups.set(key, group);
      }
      group.endpoints.push(endpointOf(service, pod, address, nodeOf));
    }
  }
  return [...groups.values()];
}

export function addressTypesOf(service: Service): AddressType[] {
  const families = service.spec?.ipFamilies ?? [];
  return families.length > 0 ? families.map((family) => (family === 'IPv6' ? 'IPv6' : 'IPv4')) : ['IPv4'];
}

/** The ports of the Service as this pod has them; a name that the pod does not have is left out. */
export function portsOf(service: Service, pod: Pod): EndpointPort[] {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const protocol = port.protocol ?? 'TCP';
    const target = port.targetPort ?? port.port;
    const number = typeof target === 'number' ? target : namedPort(pod, target, protocol);
    if (number === undefined) return [];
    const { appProtocol } = port;
    return [{ name: port.name ?? '', port: number, protocol, ...(appProtocol ? { appProtocol } : {}) }];
  });
}

function namedPort(pod: Pod, name: string, protocol: string): number | undefined {
  // Native sidecars serve too.
  const sidecars = (pod.spec?.initContainers ?? []).filter((container) => container.restartPolicy === 'Always');
  return [...(pod.spec?.containers ?? []), ...sidecars]
    .flatMap((container) => container.ports ?? [])
    .find((port) => port.name === name && (port.protocol ?? 'TCP') === protocol)?.containerPort;
}

function podAddress(pod: Pod, addressType: AddressType): string | undefined {
  const addresses = pod.status?.podIPs?.map(({ ip }) => ip) ?? [pod.status?.podIP];
  return addresses.find((ip) => ip && ip.includes(':') === (addressType === 'IPv6'));
}

function endpointOf(service: Service, pod: Pod, address: string, nodeOf: (name: string) => Node | undefined): Endpoint {
  const { name, namespace, uid, deletionTimestamp } = pod.metadata;
  const { nodeName, hostname, subdomain } = pod.spec ?? {};
  const isServing = isPodReady(pod);
  const isTerminating = deletionTimestamp !== undefined;
  const isReady = Boolean(service.spec?.publishNotReadyAddresses) || (isServing && !isTerminating);
  const zone = nodeName ? nodeOf(nodeName)?.metadata.labels?.[ZONE_LABEL] : undefined;
  const hasName = hostname && subdomain === service.metadata.name;
  return {
    addresses: [address],
    conditions: { ready: isReady, serving: isServing, terminating: isTerminating },
    ...(hasName ? { hostname } : {}),
    ...(nodeName ? { nodeName } : {}),
    targetRef: { kind: 'Pod', namespace, name, uid },
    ...(zone ? { zone } : {}),
  };
}
