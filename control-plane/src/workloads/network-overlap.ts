/** Whether an EgressNetwork's networks reach into the cluster's own. */

import { type IpNetwork, networkContains } from '@tulle/api/ip-address.ts';
import type { NetworkMatch } from '@tulle/api/policy/network.ts';

/** Whether a network has an address of the cluster's networks that its exceptions do not take out. */
export function overlapsCluster(networks: readonly NetworkMatch[], clusterNetworks: readonly IpNetwork[]): boolean {
  return networks.some(({ network, except }) =>
    clusterNetworks.some((own) => {
      const common = intersection(network, own);
      return common !== undefined && !isCovered(common, except);
    }),
  );
}

/** Of two networks one holds the other, or they have nothing in common. */
function intersection(a: IpNetwork, b: IpNetwork): IpNetwork | undefined {
  const [wide, narrow] = a.prefixLength <= b.prefixLength ? [a, b] : [b, a];
  return networkContains(wide, narrow.address) ? narrow : undefined;
}

/** Halves the network for as long as a part of it is an exception: as deep as the longest prefix, in as many branches as exceptions. */
function isCovered(network: IpNetwork, exceptions: readonly IpNetwork[]): boolean {
  const inside = exceptions.filter((exception) => intersection(network, exception));
  if (inside.length === 0) return false;
  if (inside.some(({ prefixLength }) => prefixLength <= network.prefixLength)) return true;
  const { address } = network;
  const prefixLength = network.prefixLength + 1;
  const bit = 1n << BigInt((address.family === 4 ? 32 : 128) - prefixLength);
  const low = { prefixLength, address: { ...address, value: address.value & ~bit } };
  const high = { prefixLength, address: { ...address, value: address.value | bit } };
  return isCovered(low, inside) && isCovered(high, inside);
}
