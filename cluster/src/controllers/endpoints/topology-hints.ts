/**
 * Hints that keep traffic in a zone: by a Service's `trafficDistribution`, or in proportion to the zones' processors
 * with the annotation `service.kubernetes.io/topology-mode: Auto`.
 * https://kubernetes.io/docs/concepts/services-networking/topology-aware-routing
 */

import type { Endpoint, Node, Service } from '@tulle/api';
import { amount } from '../../scheduler/resources.ts';

const TOPOLOGY_MODE = 'service.kubernetes.io/topology-mode';
const ZONE_LABEL = 'topology.kubernetes.io/zone';
/** A zone may get this much more load per endpoint than on average before all hints are dropped. */
const OVERLOAD_MAX = 0.2;

export interface Hinted {
  endpoints: Endpoint[];
  /** Why a Service that asks for hints has none. */
  reason?: string;
}

/** The endpoints of one address type with the hints that the Service asks for. */
export function withHints(service: Service, endpoints: Endpoint[], nodes: Node[]): Hinted {
  const mode = service.metadata.annotations?.[TOPOLOGY_MODE]?.toLowerCase();
  if (mode === 'auto') return inProportion(endpoints, zoneShares(nodes));
  const distribution = (service.spec as { trafficDistribution?: string } | undefined)?.trafficDistribution;
  if (distribution === 'PreferClose' || distribution === 'PreferSameZone') return { endpoints: endpoints.map(ownZone) };
  if (distribution === 'PreferSameNode') return { endpoints: endpoints.map((endpoint) => ownNode(ownZone(endpoint))) };
  return { endpoints };
}

function ownZone(endpoint: Endpoint): Endpoint {
  if (!endpoint.zone || !endpoint.conditions?.ready) return endpoint;
  return { ...endpoint, hints: { forZones: [{ name: endpoint.zone }] } };
}

function ownNode(endpoint: Endpoint): Endpoint {
  if (!endpoint.nodeName || !endpoint.conditions?.ready) return endpoint;
  return { ...endpoint, hints: { ...endpoint.hints, forNodes: [{ name: endpoint.nodeName }] } as Endpoint['hints'] };
}

/** Each zone's share of all processors of nodes that take pods; undefined where a node has no zone. */
function zoneShares(nodes: Node[]): Map<string, number> | undefined {
  const cpus = new Map<string, number>();
  for (const node of nodes) {
    const isReady = node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
    const isControlPlane = node.metadata.labels?.['node-role.kubernetes.io/control-plane'] !== undefined;
    if (!isReady || isControlPlane) continue;
    const zone = node.metadata.labels?.[ZONE_LABEL];
    const cpu = amount(node.status?.allocatable?.cpu);
    if (!zone || cpu === 0) return undefined;
    cpus.set(zone, (cpus.get(zone) ?? 0) + cpu);
  }
  const total = [...cpus.values()].reduce((sum, cpu) => sum + cpu, 0);
  return new Map([...cpus].map(([zone, cpu]) => [zone, cpu / total]));
}

function inProportion(endpoints: Endpoint[], shares: Map<string, number> | undefined): Hinted {
  const plain = endpoints.map(({ hints: _, ...endpoint }) => endpoint);
  const ready = plain.filter((endpoint) => endpoint.conditions?.ready);
  if (!shares) return { endpoints: plain, reason: 'NoZoneOrCpuOnNodes' };
  if (shares.size < 2) return { endpoints: plain, reason: 'FewerThanTwoZones' };
  if (ready.some((endpoint) => !endpoint.zone || !shares.has(endpoint.zone))) {
    return { endpoints: plain, reason: 'EndpointWithoutZone' };
  }
  const counts = allocate(ready.length, shares);
  if (!counts) return { endpoints: plain, reason: 'InsufficientNumberOfEndpoints' };

  const left = new Map(counts);
  const assigned = new Map<Endpoint, string>();
  const surplus: Endpoint[] = [];
  for (const endpoint of ready) {
    const zone = endpoint.zone ?? '';
    const room = left.get(zone) ?? 0;
    if (room > 0) {
      assigned.set(endpoint, zone);
      left.set(zone, room - 1);
    } else surplus.push(endpoint);
  }
  const needy = [...left].flatMap(([zone, count]) => Array.from({ length: count }, () => zone));
  surplus.forEach((endpoint, index) => {
    assigned.set(endpoint, needy[index] ?? endpoint.zone ?? '');
  });
  return {
    endpoints: plain.map((endpoint) => {
      const zone = assigned.get(endpoint);
      return zone ? { ...endpoint, hints: { forZones: [{ name: zone }] } } : endpoint;
    }),
  };
}

/** How many endpoints each zone gets, at least one; undefined where some zone would be overloaded. */
function allocate(total: number, shares: Map<string, number>): Map<string, number> | undefined {
  const minimum = new Map([...shares].map(([zone, share]) => [zone, minimumFor(total, share)]));
  const needed = [...minimum.values()].reduce((sum, count) => sum + count, 0);
  if (needed > total) return undefined;
  // What is left goes where an endpoint has the most to carry.
  for (let left = total - needed; left > 0; left--) {
    const [zone] = [...minimum].sort(
      ([a, countA], [b, countB]) => (shares.get(b) ?? 0) / countB - (shares.get(a) ?? 0) / countA || (a < b ? -1 : 1),
    )[0] as [string, number];
    minimum.set(zone, (minimum.get(zone) ?? 0) + 1);
  }
  return minimum;
}

/** The fewest endpoints with which the zone stays within the overload. */
function minimumFor(total: number, share: number): number {
  return Math.max(1, Math.ceil((total * share) / (1 + OVERLOAD_MAX)));
}
