/** The older form of the same: one Endpoints object for a Service, in its first address family. Pure. */

import type { Endpoints, Pod, Service } from '@tulle/api';
import { addressTypesOf, type EndpointGroup } from './service-endpoints.ts';

type Subset = NonNullable<Endpoints['subsets']>[number];
type Address = NonNullable<Subset['addresses']>[number];

/** What an Endpoints object may hold; more are cut off, and an annotation says so. */
const ADDRESSES_MAX = 1_000;
const OVER_CAPACITY = 'endpoints.kubernetes.io/over-capacity';
export const LAST_CHANGE = 'endpoints.kubernetes.io/last-change-trigger-time';
export const MANAGED_BY = 'endpoints.kubernetes.io/managed-by';
const HEADLESS = 'service.kubernetes.io/headless';

/** The object without what the server adds; a pod on its way out is in no list. */
export function endpointsObject(service: Service, groups: EndpointGroup[]): Endpoints {
  const [family] = addressTypesOf(service);
  const own = groups.filter((group) => group.addressType === family);
  const isCut = own.reduce((count, group) => count + group.endpoints.length, 0) > ADDRESSES_MAX;
  let room = ADDRESSES_MAX;
  const subsets = own.flatMap((group): Subset[] => {
    const addresses: Address[] = [];
    const notReadyAddresses: Address[] = [];
    for (const { addresses: ips, conditions, hostname, nodeName, targetRef } of group.endpoints.slice(0, room)) {
      if (conditions?.terminating && !service.spec?.publishNotReadyAddresses) continue;
      const address = {
        ip: ips[0] ?? '',
        ...(hostname ? { hostname } : {}),
        ...(nodeName ? { nodeName } : {}),
        ...(targetRef ? { targetRef } : {}),
      };
      (conditions?.ready ? addresses : notReadyAddresses).push(address);
    }
    room = Math.max(0, room - group.endpoints.length);
    if (addresses.length + notReadyAddresses.length === 0) return [];
    const ports = group.ports.map(({ name, port = 0, protocol, appProtocol }) => ({
      ...(name ? { name } : {}),
      port,
      protocol,
      ...(appProtocol ? { appProtocol } : {}),
    }));
    return [
      {
        ...(addresses.length > 0 ? { addresses } : {}),
        ...(notReadyAddresses.length > 0 ? { notReadyAddresses } : {}),
        ...(ports.length > 0 ? { ports } : {}),
      },
    ];
  });
  const { name, namespace, labels } = service.metadata;
  return {
    metadata: {
      name,
      namespace,
      labels: {
        ...labels,
        ...(service.spec?.clusterIP === 'None' ? { [HEADLESS]: '' } : {}),
        [MANAGED_BY]: 'endpoint-controller',
      },
      ...(isCut ? { annotations: { [OVER_CAPACITY]: 'truncated' } } : {}),
    },
    ...(subsets.length > 0 ? { subsets } : {}),
  };
}

/** When the newest of these came to be as it is: how late the lists are is measured from it. */
export function lastChange(service: Service, pods: Pod[]): string | undefined {
  const times = pods.map((pod) => pod.status?.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime);
  return [...times, service.metadata.creationTimestamp].filter(Boolean).sort().at(-1);
}
