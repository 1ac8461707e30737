/**
 * The names of the cluster's DNS and what they mean, read from Services and EndpointSlices. No I/O.
 * Schema: https://github.com/kubernetes/dns/blob/master/docs/specification.md
 */

import { isIPv4, isIPv6 } from 'node:net';
import type { Endpoint, EndpointSlice, Service } from '@tulle/api';
import { addressFromPtr, dashedAddress, undashAddress } from './dns-address.ts';

export type RecordType = 'A' | 'AAAA' | 'SRV' | 'PTR' | 'CNAME' | 'SOA' | 'NS' | 'ANY' | (string & {});

export type DnsRecord =
  | { type: 'A' | 'AAAA' | 'CNAME' | 'PTR'; name: string; data: string }
  | { type: 'SRV'; name: string; data: { target: string; port: number; priority: number; weight: number } };

export interface Resolution {
  /** False: the name does not exist (NXDOMAIN). True without answers: it has none of this type (NODATA). */
  exists: boolean;
  answers: DnsRecord[];
  additionals: DnsRecord[];
}

export interface DnsSource {
  service(key: string): Service | undefined;
  services(): Service[];
  slices(serviceKey: string): EndpointSlice[];
  hasNamespace(name: string): boolean;
}

/** One endpoint of a headless Service under its own name. */
interface Member {
  name: string;
  address: string;
  ports: { name: string; port: number; protocol: string }[];
}

const NOTHING: Resolution = { exists: false, answers: [], additionals: [] };
const NO_DATA: Resolution = { exists: true, answers: [], additionals: [] };

export function createDnsRecords(source: DnsSource, domain: string) {
  return { resolve };

  /** `name` in lower case without the last dot. */
  function resolve(name: string, type: RecordType): Resolution {
    const address = addressFromPtr(name);
    if (address) return resolvePtr(name, address, type);
    if (name === domain) return NO_DATA;
    if (!name.endsWith(`.${domain}`)) return NOTHING;
    const labels = name
      .slice(0, -domain.length - 1)
      .split('.')
      .reverse();
    const [kind, namespace, service, ...below] = labels;
    if (kind === 'pod' && labels.length <= 3) return resolvePod(name, type, namespace, service);
    if (kind !== 'svc') return NOTHING;
    if (!namespace) return NO_DATA;
    if (!service) return source.hasNamespace(namespace) ? NO_DATA : NOTHING;
    const object = source.service(`${namespace}/${service}`);
    return object ? resolveService(object, name, type, below.reverse()) : NOTHING;
  }

  function resolveService(service: Service, name: string, type: RecordType, below: string[]): Resolution {
    const own = `${service.metadata.name}.${service.metadata.namespace}.svc.${domain}`;
    if (service.spec?.type === 'ExternalName') {
      if (below.length > 0) return NOTHING;
      const target = service.spec.externalName ?? '';
      const further = target === name ? NO_DATA : resolve(target, type);
      return { exists: true, answers: [{ type: 'CNAME', name, data: target }, ...further.answers], additionals: [] };
    }
    const members = isHeadless(service) ? membersOf(service, own) : undefined;
    const [first, second] = below;
    if (below.length === 2 && first?.startsWith('_') && second?.startsWith('_'))
      return resolveSrv(service, own, name, type, members, { port: first.slice(1), protocol: second.slice(1) });
    if (below.length === 1 && members) {
      const named = members.filter((member) => member.name === name);
      return named.length > 0
        ? addresses(
            name,
            type,
            named.map((member) => member.address),
          )
        : NOTHING;
    }
    if (below.length > 0) return NOTHING;
    if (type === 'SRV') return resolveSrv(service, own, name, type, members);
    return addresses(name, type, members?.map((member) => member.address) ?? service.spec?.clusterIPs ?? []);
  }

  /** Without `wanted`: all ports, which is what a proxy asks of a headless Service's plain name. */
  function resolveSrv(
    service: Service,
    own: string,
    name: string,
    type: RecordType,
    members: Member[] | undefined,
    wanted?: { port: string; protocol: string },
  ): Resolution {
    const isWanted = (port: { name?: string; protocol?: string }) =>
      !wanted || (port.name === wanted.port && (port.protocol ?? 'TCP').toLowerCase() === wanted.protocol);
    const clusterIps = service.spec?.clusterIPs ?? [];
    const ports = (service.spec?.ports ?? []).filter(isWanted);
    const targets = members
      ? members.flatMap((member) =>
          member.ports.filter(isWanted).map(({ port }) => ({ name: member.name, port, addresses: [member.address] })),
        )
      : ports.map(({ port }) => ({ name: own, port, addresses: clusterIps }));
    if (targets.length === 0) return wanted && ports.length === 0 ? NOTHING : NO_DATA;
    if (type !== 'SRV' && type !== 'ANY') return NO_DATA;
    const weight = Math.max(1, Math.floor(100 / targets.length));
    const answers = new Map<string, DnsRecord>();
    const additionals = new Map<string, DnsRecord>();
    for (const target of targets) {
      const data = { target: target.name, port: target.port, priority: 0, weight };
      answers.set(`${target.name} ${target.port}`, { type: 'SRV', name, data });
      for (const address of target.addresses)
        additionals.set(`${target.name} ${address}`, addressRecord(target.name, address));
    }
    return { exists: true, answers: [...answers.values()], additionals: [...additionals.values()] };
  }

  function membersOf(service: Service, own: string): Member[] {
    const members: Member[] = [];
    const all = service.spec?.publishNotReadyAddresses === true;
    for (const slice of source.slices(`${service.metadata.namespace}/${service.metadata.name}`)) {
      const ports = (slice.ports ?? []).flatMap(({ name = '', port, protocol = 'TCP' }) =>
        port ? [{ name: name ?? '', port, protocol }] : [],
      );
      for (const endpoint of slice.endpoints ?? []) {
        if (!all && endpoint.conditions?.ready === false) continue;
        for (const address of endpoint.addresses)
          members.push({ name: `${label(endpoint, address)}.${own}`, address, ports });
      }
    }
    return members;
  }

  function resolvePod(name: string, type: RecordType, namespace?: string, dashed?: string): Resolution {
    if (!namespace) return NO_DATA;
    if (!source.hasNamespace(namespace)) return NOTHING;
    if (!dashed) return NO_DATA;
    const address = undashAddress(dashed);
    return address ? addresses(name, type, [address]) : NOTHING;
  }

  function resolvePtr(name: string, address: string, type: RecordType): Resolution {
    const names = new Set<string>();
    for (const service of source.services()) {
      const own = `${service.metadata.name}.${service.metadata.namespace}.svc.${domain}`;
      if (service.spec?.clusterIPs?.includes(address)) names.add(own);
      if (!isHeadless(service)) continue;
      for (const member of membersOf(service, own)) if (member.address === address) names.add(member.name);
    }
    if (names.size === 0) return NOTHING;
    if (type !== 'PTR' && type !== 'ANY') return NO_DATA;
    return { exists: true, answers: [...names].map((data) => ({ type: 'PTR', name, data })), additionals: [] };
  }
}

function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None';
}

function label(endpoint: Endpoint, address: string): string {
  return endpoint.hostname || dashedAddress(address);
}

function addresses(name: string, type: RecordType, all: string[]): Resolution {
  const isWanted = (ip: string) => (isIPv4(ip) ? type === 'A' : isIPv6(ip) && type === 'AAAA') || type === 'ANY';
  const answers = [...new Set(all)].filter((ip) => ip !== 'None' && isWanted(ip)).map((ip) => addressRecord(name, ip));
  return { exists: true, answers, additionals: [] };
}

function addressRecord(name: string, address: string): DnsRecord {
  return { type: isIPv4(address) ? 'A' : 'AAAA', name, data: address };
}
