/** Addresses inside DNS names: dashed, as pods' labels, and reversed, as in in-addr.arpa and ip6.arpa. */

import { isIPv4, isIPv6, SocketAddress } from 'node:net';

export function dashedAddress(address: string): string {
  return address.replace(/[.:]/g, '-');
}

/** The address that a dashed label stands for; undefined when it is none. */
export function undashAddress(label: string): string | undefined {
  const [v4, v6] = [label.replaceAll('-', '.'), label.replaceAll('-', ':')];
  if (isIPv4(v4)) return v4;
  return isIPv6(v6) ? v6 : undefined;
}

/** The address that a name for a PTR query stands for, in its usual text form. */
export function addressFromPtr(name: string): string | undefined {
  if (name.endsWith('.in-addr.arpa')) {
    const address = name.slice(0, -'.in-addr.arpa'.length).split('.').reverse().join('.');
    return isIPv4(address) ? address : undefined;
  }
  if (!name.endsWith('.ip6.arpa')) return undefined;
  const digits = name.slice(0, -'.ip6.arpa'.length).split('.').reverse();
  if (digits.length !== 32 || !digits.every((digit) => /^[0-9a-f]$/.test(digit))) return undefined;
  const full = Array.from({ length: 8 }, (_, group) => digits.slice(group * 4, group * 4 + 4).join('')).join(':');
  return new SocketAddress({ address: full, family: 'ipv6' }).address;
}
