/** The nftables table that Services live in: hooks, and the maps that Services put their elements into. */

import { isIpv6 } from './interfaces.ts';

export const TABLE = 'inet tulle-services';

/**
 * Replaces the table by one without Services. Source addresses stay, but for a pod that reaches itself through a
 * Service. What is sent to a Service address that no rule has translated is refused.
 */
export function baseRuleset(serviceCidrs: string[]): string {
  // A reset reaches a TCP client at once; ICMP errors are limited in their rate.
  const refused = serviceCidrs
    .map((cidr) => `${isIpv6(cidr) ? 'ip6' : 'ip'} daddr ${cidr}`)
    .map((match) => `    ${match} meta l4proto tcp reject with tcp reset\n    ${match} reject\n`)
    .join('');
  return `
add table ${TABLE}
delete table ${TABLE}
table ${TABLE} {
  map cluster-ips-4 { type ipv4_addr . inet_proto . inet_service : verdict; }
  map cluster-ips-6 { type ipv6_addr . inet_proto . inet_service : verdict; }
  map node-ports-4 { type inet_proto . inet_service : verdict; }
  map node-ports-6 { type inet_proto . inet_service : verdict; }
  set hairpins-4 { type ipv4_addr . ipv4_addr; }
  set hairpins-6 { type ipv6_addr . ipv6_addr; }
  chain services {
    ip daddr . meta l4proto . th dport vmap @cluster-ips-4
    ip6 daddr . meta l4proto . th dport vmap @cluster-ips-6
    meta nfproto ipv4 fib daddr type local meta l4proto . th dport vmap @node-ports-4
    meta nfproto ipv6 fib daddr type local meta l4proto . th dport vmap @node-ports-6
  }
  chain prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain output { type nat hook output priority -100; jump services; }
  chain postrouting {
    type nat hook postrouting priority srcnat
    ct status dnat ip saddr . ip daddr @hairpins-4 masquerade
    ct status dnat ip6 saddr . ip6 daddr @hairpins-6 masquerade
  }
  chain unserved {
    fib daddr type local accept
${refused}  }
  chain filter-forward { type filter hook forward priority filter; jump unserved; }
  chain filter-output {
    type filter hook output priority filter
    icmpv6 type nd-redirect drop
    jump unserved
  }
}
`;
}
