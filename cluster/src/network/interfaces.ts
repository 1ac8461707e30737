/**
 * The network that all pods hang on: a bridge that is every pod's gateway, the service ranges and the DNS addresses.
 * It belongs in a network namespace that the cluster has for itself.
 */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { SocketAddress } from 'node:net';
import { MeshError } from '@tulle/api';

export interface NetworkLayout {
  /** Per node an IPv4 and an IPv6 range, such as `10.42.0.0/20` and `fd42::/64`; the first address is the node's. */
  nodes: { name: string; podCidrs: string[] }[];
  /** `10.96.0.0/16` and `fd96::/112`. */
  serviceCidrs: string[];
  /** Where cluster DNS answers, within `serviceCidrs`. */
  dnsAddresses: string[];
}

export const BRIDGE = 'cni0';
/** Fixed, or a bridge takes the lowest of its ports' addresses and neighbours forget it whenever that changes. */
export const BRIDGE_MAC = '0a:58:0a:2a:00:01';

const SYSCTLS: [string, string][] = [
  ['ipv4/ip_forward', '1'],
  ['ipv4/conf/all/send_redirects', '0'],
  [`ipv4/conf/${BRIDGE}/send_redirects`, '0'],
  ['ipv4/conf/all/rp_filter', '0'],
  [`ipv4/conf/${BRIDGE}/rp_filter`, '0'],
  // Where br_netfilter is loaded, the bridge would translate packets itself and never send one back where it came from.
  ['bridge/bridge-nf-call-iptables', '0'],
  ['bridge/bridge-nf-call-ip6tables', '0'],
  ['ipv6/conf/all/forwarding', '1'],
  [`ipv6/conf/${BRIDGE}/accept_ra`, '0'],
];

/** Whether the kernel has IPv6; where it does not, the IPv6 half of everything is left out. */
export function hasIpv6(): boolean {
  return existsSync('/proc/sys/net/ipv6');
}

export function isIpv6(addressOrCidr: string): boolean {
  return addressOrCidr.includes(':');
}

/** The addresses or ranges of families that the kernel has. */
export function usableAddresses(addressesOrCidrs: string[]): string[] {
  return hasIpv6() ? addressesOrCidrs : addressesOrCidrs.filter((address) => !isIpv6(address));
}

/** The node's own address in a range of pods: the first one, also the pods' gateway. */
export function gatewayOf(cidr: string): string {
  return addressAt(cidr, 1);
}

/** The address at an offset (at most 65535) in a range, in its usual text form. */
export function addressAt(cidr: string, offset: number): string {
  const base = cidr.slice(0, cidr.indexOf('/'));
  if (isIpv6(base)) {
    const address = `${base.replace(/::$/, '')}::${offset.toString(16)}`;
    return new SocketAddress({ address, family: 'ipv6' }).address;
  }
  const number = base.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) + offset;
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}

/** Makes the bridge, once per network namespace. */
export async function createInterfaces(layout: NetworkLayout): Promise<void> {
  const batch = ['link set lo up', `link add ${BRIDGE} address ${BRIDGE_MAC} type bridge mcast_snooping 0`];
  for (const cidr of layout.nodes.flatMap((node) => usableAddresses(node.podCidrs))) {
    const address = `${gatewayOf(cidr)}${cidr.slice(cidr.indexOf('/'))}`;
    batch.push(`addr add ${address} dev ${BRIDGE}${isIpv6(cidr) ? ' nodad' : ''}`);
  }
  batch.push(`link set ${BRIDGE} up`);
  for (const address of usableAddresses(layout.dnsAddresses)) {
    batch.push(`addr add ${address}/${isIpv6(address) ? 128 : 32} dev lo`);
  }
  for (const cidr of usableAddresses(layout.serviceCidrs)) {
    const source = layout.nodes[0]?.podCidrs.find((pods) => isIpv6(pods) === isIpv6(cidr));
    batch.push(`route add ${cidr} dev ${BRIDGE}${source ? ` src ${gatewayOf(source)}` : ''}`);
  }
  await runWithInput('ip', ['-batch', '-'], `${batch.join('\n')}\n`);
  for (const [key, value] of SYSCTLS) {
    const path = `/proc/sys/net/${key}`;
    if (existsSync(path)) await writeFile(path, value);
  }
}

/** Runs a program of the system with text on its standard input. Throws with what it wrote to stderr. */
export async function runWithInput(program: string, args: string[], input: string): Promise<void> {
  // An ordinary user's PATH often lacks the folders of ip and nft.
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` };
  const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'], env });
  const errors: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  child.stdin.on('error', () => {}); // it ended early, its exit code says why
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => reject(new MeshError('FAILED_PRECONDITION', `run ${program}: ${error.message}`)));
    child.once('close', resolve);
  });
  if (code === 0) return;
  throw new MeshError('INTERNAL', `${program} ${args.join(' ')}: ${Buffer.concat(errors).toString().trim()}`);
}
