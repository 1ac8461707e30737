/**
 * One watcher's view of a set of endpoints: those that are near enough to it, and what changed since it was last told.
 */
import type { Endpoint } from '../workloads/endpoint.ts';
import type { ServiceEndpoints } from '../workloads/service-endpoints.ts';

export interface ClientLocation {
  nodeName?: string;
  zone?: string;
}

export type EndpointChange =
  | { kind: 'add'; endpoints: Endpoint[] }
  | { kind: 'remove'; endpoints: Endpoint[] }
  | { kind: 'none'; exists: boolean };

/**
 * Node-local Services give only the endpoints of the client's node. Zone hints count only where every endpoint has
 * them and some are for the client's zone: otherwise all endpoints are given.
 */
export function nearEndpoints(set: ServiceEndpoints, client: ClientLocation): ReadonlyMap<string, Endpoint> {
  const all = [...set.endpoints];
  if (set.isNodeLocal) return new Map(all.filter(([, { nodeName }]) => nodeName && nodeName === client.nodeName));
  const { zone } = client;
  if (zone === undefined || all.some(([, { forZones }]) => forZones.length === 0)) return set.endpoints;
  const near = all.filter(([, { forZones }]) => forZones.includes(zone));
  return near.length > 0 ? new Map(near) : set.endpoints;
}

/** Remembers what its watcher was told. */
export class EndpointView {
  #told: ReadonlyMap<string, Endpoint> | undefined;
  #toldExists: boolean | undefined;
  #toldZone: string | undefined;

  /** What to tell the watcher now, in this order; empty where it knows. The first answer is never empty. */
  next(set: ServiceEndpoints, client: ClientLocation): EndpointChange[] {
    const current = nearEndpoints(set, client);
    const told: ReadonlyMap<string, Endpoint> = this.#told ?? new Map();
    const isFirst = this.#told === undefined;
    const isRelabelled = this.#toldZone !== client.zone;
    const hadExists = this.#toldExists;
    this.#told = current;
    this.#toldExists = set.exists;
    this.#toldZone = client.zone;
    if (current.size === 0) {
      return isFirst || told.size > 0 || hadExists !== set.exists ? [{ kind: 'none', exists: set.exists }] : [];
    }
    const added = [...current].filter(([id, endpoint]) => isRelabelled || told.get(id) !== endpoint);
    const removed = [...told].filter(([id]) => !current.has(id));
    const changes: EndpointChange[] = [];
    if (added.length > 0) changes.push({ kind: 'add', endpoints: added.map(([, endpoint]) => endpoint) });
    if (removed.length > 0) changes.push({ kind: 'remove', endpoints: removed.map(([, endpoint]) => endpoint) });
    return changes;
  }
}
