/** Whether addresses and networks lie within a list of networks, both families. */
import { BlockList, isIPv6 } from 'node:net';
import { MeshError } from '@tulle/api';

const family = (address: string) => (isIPv6(address) ? 'ipv6' : 'ipv4');

export function parseNetworks(text: string): BlockList {
  const networks = new BlockList();
  for (const cidr of text.split(',')) {
    const [address = '', prefix] = cidr.trim().split('/');
    try {
      networks.addSubnet(address, Number(prefix), family(address));
    } catch (error) {
      throw new MeshError('INVALID_ARGUMENT', `read clusterNetworks: "${cidr}" is not a network`, { cause: error });
    }
  }
  return networks;
}

export const containsAddress = (networks: BlockList, address: string): boolean =>
  networks.check(address, family(address));

/** By its first and last address, which is exact unless the list has neighbours that meet within it. */
export function containsNetwork(networks: BlockList, cidr: string): boolean {
  const [address = '', prefix] = cidr.split('/');
  return (
    networks.check(address, family(address)) && networks.check(lastAddress(address, Number(prefix)), family(address))
  );
}

function lastAddress(address: string, prefix: number): string {
  if (!isIPv6(address)) {
    const value = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
    const last = value + 2 ** (32 - prefix) - 1;
    return [24, 16, 8, 0].map((shift) => Math.floor(last / 2 ** shift) % 256).join('.');
  }
  const [head = '', tail = ''] = address.split('::');
  const groups = (part: string) => (part ? part.split(':').map((group) => Number.parseInt(group, 16)) : []);
  const [front, back] = [groups(head), groups(tail)];
  const all = [...front, ...new Array(Math.max(0, 8 - front.length - back.length)).fill(0), ...back];
  return all.map((group, i) => (group | (0xffff >> Math.min(16, Math.max(0, prefix - i * 16)))).toString(16)).join(':');
}
