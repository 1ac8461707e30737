/** IP addresses and networks as text and numbers; one text form per address, so that texts can be compared. */
import { isIPv4, isIPv6 } from 'node:net';

export interface IpAddress {
  family: 4 | 6;
  value: bigint;
}

export interface IpNetwork {
  address: IpAddress;
  prefixLength: number;
}

const MAPPED_PREFIX = 0xffffn;

/** Undefined where the text is no address. IPv4 mapped into IPv6 is IPv4. */
export function parseIp(text: string): IpAddress | undefined {
  if (isIPv4(text)) return { family: 4, value: parseIpv4(text) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const [head, tail] = text.split('::') as [string, string | undefined];
  const before = hextets(head);
  const after = hextets(tail ?? '');
  const zeros = new Array<bigint>(tail === undefined ? 0 : 8 - before.length - after.length).fill(0n);
  const value = [...before, ...zeros, ...after].reduce((sum, part) => (sum << 16n) | part, 0n);
  return value >> 32n === MAPPED_PREFIX ? { family: 4, value: value & 0xffffffffn } : { family: 6, value };
}

export function formatIp({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.');
  const parts = [112n, 96n, 80n, 64n, 48n, 32n, 16n, 0n].map((shift) => (value >> shift) & 0xffffn);
  const { start, length } = longestZeros(parts);
  const text = (from: number, to?: number) =>
    parts
      .slice(from, to)
      .map((part) => part.toString(16))
      .join(':');
  return length < 2 ? text(0) : `${text(0, start)}::${text(start + length)}`;
}

/** The one text form of an address; text that is no address stays as it is. */
export function canonicalIp(text: string): string {
  const address = parseIp(text);
  return address ? formatIp(address) : text;
}

/** `address/length`, or an address alone. Undefined where the text is neither. */
export function parseNetwork(text: string): IpNetwork | undefined {
  const [ip, length, ...rest] = text.trim().split('/');
  const address = parseIp(ip ?? '');
  if (!address || rest.length > 0) return undefined;
  const bits = address.family === 4 ? 32 : 128;
  // A network of mapped addresses would be another one when it is written as IPv4.
  if (address.family === 4 && !isIPv4(ip!) && length !== undefined) return undefined;
  if (length === undefined) return { address, prefixLength: bits };
  const prefixLength = /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  return prefixLength <= bits ? { address, prefixLength } : undefined;
}

export function networkContains(network: IpNetwork, address: IpAddress): boolean {
  if (network.address.family !== address.family) return false;
  const shift = BigInt((address.family === 4 ? 32 : 128) - network.prefixLength);
  return network.address.value >> shift === address.value >> shift;
}

/** Whether every address of `inner` is in `outer`. */
export function networkIncludes(outer: IpNetwork, inner: IpNetwork): boolean {
  return outer.prefixLength <= inner.prefixLength && networkContains(outer, inner.address);
}

function parseIpv4(text: string): bigint {
  return text.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

function hextets(text: string): bigint[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [BigInt(`0x${part}`)];
    const value = parseIpv4(part);
    return [value >> 16n, value & 0xffffn];
  });
}

function longestZeros(parts: readonly bigint[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < parts.length; start++) {
    let end = start;
    while (parts[end] === 0n) end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  return best;
}
