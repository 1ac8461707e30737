/** Whether an EgressNetwork's networks reach into the cluster's own. */
import { formatIp, type IpNetwork, networkContains, parseNetwork } from '../workloads/ip-address.ts';

export interface NetworkBlock {
  cidr: string;
  except?: readonly string[];
}

/** The first network that has an address of the cluster's networks which `except` does not take out, as text. */
export function overlapOf(blocks: readonly NetworkBlock[], clusterNetworks: readonly IpNetwork[]): string | undefined {
  for (const { cidr, except = [] } of blocks) {
    const network = parseNetwork(cidr);
    if (!network) continue;
    const exceptions = except.flatMap((text) => parseNetwork(text) ?? []);
    for (const own of clusterNetworks) {
      const common = intersection(network, own);
      if (common && !isCovered(common, exceptions)) return `${cidr} overlaps with ${textOf(own)}`;
    }
  }
  return undefined;
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

const textOf = ({ address, prefixLength }: IpNetwork) => `${formatIp(address)}/${prefixLength}`;
