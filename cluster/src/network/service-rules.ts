/**
 * What one Service means in nftables: Service and EndpointSlices → chains, map elements and sets. Pure.
 * The table's frame is in `base-ruleset.ts`, differences are turned into commands in `ruleset-difference.ts`.
 */

import type { Endpoint, EndpointSlice, Service } from '@tulle/api';
import { isIpv6 } from './interfaces.ts';

export interface ServiceRules {
  /** Chain name → its rules. */
  chains: Map<string, string[]>;
  /** Set name → its declaration. Sets keep what the kernel has put into them while they exist. */
  sets: Map<string, string>;
  /** Elements of the table's shared maps and sets: `map name|key` → value, empty for sets. */
  elements: Map<string, string>;
}

export interface NodeRanges {
  name: string;
  podCidrs: string[];
}

interface Target {
  address: string;
  port: number;
  protocol: string;
  nodeName?: string;
}

interface Port {
  name?: string;
  port: number;
  protocol?: string;
  nodePort?: number;
}

const AFFINITY_DEFAULT_S = 10_800;

export function serviceRules(service: Service, slices: EndpointSlice[], nodes: NodeRanges[]): ServiceRules {
  const rules: ServiceRules = { chains: new Map(), sets: new Map(), elements: new Map() };
  const { spec, metadata } = service;
  if (!spec || spec.type === 'ExternalName') return rules;
  const ingress = (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip ? [ip] : []));
  const addresses = [...(spec.clusterIPs ?? [spec.clusterIP]), ...ingress].filter((ip) => ip && ip !== 'None');
  for (const port of spec.ports ?? []) {
    const protocol = (port.protocol ?? 'TCP').toLowerCase();
    for (const v6 of [false, true]) {
      const ips = addresses.filter((ip) => isIpv6(ip!) === v6);
      const targets = targetsOf(slices, port, v6);
      if (ips.length === 0 || targets.length === 0) continue;
      const family = v6 ? '6' : '4';
      const chain = `svc${family}/${metadata.namespace}/${metadata.name}/${protocol}/${port.port}`;
      if (spec.internalTrafficPolicy === 'Local') addLocal(rules, chain, targets, nodes, v6);
      else addBalanced(rules, chain, targets, service, v6);
      for (const ip of ips)
        rules.elements.set(`cluster-ips-${family}|${ip} . ${protocol} . ${port.port}`, `goto ${chain}`);
      if (port.nodePort) rules.elements.set(`node-ports-${family}|${protocol} . ${port.nodePort}`, `goto ${chain}`);
      for (const { address } of targets) rules.elements.set(`hairpins-${family}|${address} . ${address}`, '');
    }
  }
  return rules;
}

/** Ready endpoints; where there is none, those that still serve while they terminate. */
function targetsOf(slices: EndpointSlice[], port: Port, v6: boolean): Target[] {
  const protocol = (port.protocol ?? 'TCP').toLowerCase();
  const pick = (isUsable: (endpoint: Endpoint) => boolean) => {
    const targets = new Map<string, Target>();
    for (const slice of slices) {
      if ((slice.addressType === 'IPv6') !== v6) continue;
      const found = slice.ports?.find(
        (p) => (p.name ?? '') === (port.name ?? '') && (p.protocol ?? 'TCP') === (port.protocol ?? 'TCP'),
      );
      if (!found?.port) continue;
      for (const endpoint of slice.endpoints ?? []) {
        const address = endpoint.addresses[0];
        if (address && isUsable(endpoint))
          targets.set(address, { address, port: found.port, protocol, nodeName: endpoint.nodeName });
      }
    }
    return [...targets.values()].sort((a, b) => (a.address < b.address ? -1 : 1));
  };
  const ready = pick((endpoint) => endpoint.conditions?.ready !== false);
  if (ready.length > 0) return ready;
  return pick(({ conditions }) => conditions?.serving === true && conditions.terminating === true);
}

function addBalanced(rules: ServiceRules, chain: string, targets: Target[], service: Service, v6: boolean): void {
  if (service.spec?.sessionAffinity !== 'ClientIP') {
    rules.chains.set(chain, [dnat(targets, v6)]);
    return;
  }
  const timeoutS = service.spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY_DEFAULT_S;
  const source = v6 ? 'ip6 saddr' : 'ip saddr';
  const known: string[] = [];
  const verdicts: string[] = [];
  for (const [number, target] of targets.entries()) {
    const own = `${chain}/${target.address.replaceAll(':', '-')}/${target.port}`;
    rules.sets.set(own, `type ipv${v6 ? 6 : 4}_addr; size 65535; flags dynamic,timeout; timeout ${timeoutS}s;`);
    rules.chains.set(own, [`update @${own} { ${source} }`, dnat([target], v6)]);
    known.push(`${source} @${own} goto ${own}`);
    verdicts.push(`${number} : goto ${own}`);
  }
  rules.chains.set(chain, [...known, `numgen random mod ${targets.length} vmap { ${verdicts.join(', ')} }`]);
}

/** Clients of a node reach the endpoints of their own node alone; where it has none, the connection is refused. */
function addLocal(rules: ServiceRules, chain: string, targets: Target[], nodes: NodeRanges[], v6: boolean): void {
  const lines: string[] = [];
  for (const { name, podCidrs } of nodes) {
    const range = podCidrs.find((cidr) => isIpv6(cidr) === v6);
    const local = targets.filter((target) => target.nodeName === name);
    if (range && local.length > 0) lines.push(`${v6 ? 'ip6' : 'ip'} saddr ${range} ${dnat(local, v6)}`);
  }
  rules.chains.set(chain, lines);
}

function dnat(targets: Target[], v6: boolean): string {
  const family = v6 ? 'ip6' : 'ip';
  const [first] = targets;
  const match = `meta l4proto ${first?.protocol}`;
  if (first && targets.length === 1)
    return `${match} dnat ${family} to ${v6 ? `[${first.address}]` : first.address}:${first.port}`;
  const choices = targets.map(({ address, port }, number) => `${number} : ${address} . ${port}`);
  return `${match} dnat ${family} addr . port to numgen random mod ${targets.length} map { ${choices.join(', ')} }`;
}
