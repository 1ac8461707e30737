/**
 * TrafficSplits of the Service Mesh Interface that name route groups, as routes of the Service that they share. Splits of
 * all requests are part of its profile, unless one that names groups is beside them: then they are what is behind it.
 */
import type { KubeObject } from '@tulle/api';
import { byAge } from '@tulle/api/object-ref.ts';
import type { HttpMatch } from '@tulle/api/routes/http-match.ts';
import type { HttpRoute } from '@tulle/api/routes/http-route.ts';
import type { TcpRoute } from '@tulle/api/routes/tcp-route.ts';
import { type HttpRouteGroup, parseHttpRouteGroup } from '@tulle/api/smi/traffic-specs.ts';
import { parseTrafficSplit, type TrafficSplit } from '@tulle/api/smi/traffic-split.ts';
import { MultiMap } from '../../workloads/multi-map.ts';

export type SplitKind = 'traffic-split' | 'route-group';

export interface SplitRoutes {
  http: HttpRoute[];
  /** One where a split shares everything that no group matches; otherwise none, and that is for the Service itself. */
  tcp: TcpRoute[];
  /** Splits that share nothing, and why. */
  shadowed: { ref: TrafficSplit['ref']; reason: string }[];
}

/** What no group matches. Groups match by expressions, before which a prefix would come. */
export const EVERY_OTHER_REQUEST: HttpMatch = { path: { kind: 'regex', value: '.*' }, headers: [], queryParams: [] };

export class SplitSet {
  readonly #splits = new Map<string, TrafficSplit>();
  readonly #groups = new Map<string, HttpRouteGroup>();
  /** Keys of splits by `namespace/name` of their Service and of their groups. */
  readonly #byService = new MultiMap<string, string>();
  readonly #byGroup = new MultiMap<string, string>();

  /** Returns the Services, `namespace/name`, whose routes may be other ones. @throws MeshError when it cannot be read. */
  apply(kind: SplitKind, key: string, object: KubeObject | undefined): Set<string> {
    if (kind === 'traffic-split') return this.#replaceSplit(key, object && parseTrafficSplit(object));
    const group = object && parseHttpRouteGroup(object);
    if (group) this.#groups.set(key, group);
    else this.#groups.delete(key);
    return new Set([...this.#byGroup.get(key)].map((split) => serviceKey(this.#splits.get(split)!)));
  }

  /** Undefined where no split of the Service names a group. */
  routesOf(service: string, port: number): SplitRoutes | undefined {
    const splits = [...this.#byService.get(service)].map((key) => this.#splits.get(key)!);
    splits.sort((a, b) => byAge(a.ref, b.ref));
    if (!splits.some(({ groups }) => groups.length > 0)) return undefined;
    const routes: SplitRoutes = { http: [], tcp: [], shadowed: [] };
    const [rest, ...hidden] = splits.filter(({ groups }) => groups.length === 0);
    for (const { ref } of hidden) routes.shadowed.push({ ref, reason: 'an older TrafficSplit shares all requests' });
    for (const split of splits.filter(({ groups }) => groups.length > 0)) {
      const matches = split.groups.flatMap((name) => this.#matchesOf(split, name));
      if (matches.length > 0) routes.http.push(httpRoute(split, port, matches, 'spec.matches'));
      else routes.shadowed.push({ ref: split.ref, reason: `no match in HTTPRouteGroup ${split.groups.join(', ')}` });
    }
    if (rest) {
      routes.http.push(httpRoute(rest, port, [EVERY_OTHER_REQUEST], 'spec.backends'));
      routes.tcp.push(tcpRoute(rest, port));
    }
    return routes;
  }

  sizes(): Record<string, number> {
    return {
      splits: this.#splits.size,
      splitGroups: this.#groups.size,
      splitsByService: this.#byService.size,
      splitsByGroup: this.#byGroup.size,
    };
  }

  #matchesOf({ ref }: TrafficSplit, name: string): readonly HttpMatch[] {
    return this.#groups.get(`${ref.namespace}/${name}`)?.matches.flatMap(({ matches }) => matches) ?? [];
  }

  #replaceSplit(key: string, split: TrafficSplit | undefined): Set<string> {
    const services = new Set<string>();
    const old = this.#splits.get(key);
    if (old) {
      services.add(serviceKey(old));
      this.#byService.delete(serviceKey(old), key);
      for (const name of old.groups) this.#byGroup.delete(`${old.ref.namespace}/${name}`, key);
    }
    this.#splits.delete(key);
    if (!split) return services;
    this.#splits.set(key, split);
    services.add(serviceKey(split));
    this.#byService.add(serviceKey(split), key);
    for (const name of split.groups) this.#byGroup.add(`${split.ref.namespace}/${name}`, key);
    return services;
  }
}

function serviceKey({ ref, service }: TrafficSplit): string {
  return `${ref.namespace}/${service}`;
}

function httpRoute(split: TrafficSplit, port: number, matches: HttpMatch[], field: string): HttpRoute {
  const backends = backendsOf(split, port).map((backend) => ({ ...backend, filters: [] }));
  const rule = { field, matches, filters: [], backends };
  return { ref: split.ref, parents: [], hostnames: [], rules: [rule], traffic: { timeouts: {} } };
}

function tcpRoute(split: TrafficSplit, port: number): TcpRoute {
  const rule = { field: 'spec.backends', backends: backendsOf(split, port) };
  return { ref: split.ref, parents: [], hostnames: [], rules: [rule] };
}

/** Backends keep the port that was asked for; their weights are written as small as they can be. */
function backendsOf({ ref: { namespace }, backends }: TrafficSplit, port: number) {
  const unit = backends.map(({ weight }) => weight).reduce(gcd, 0) || 1;
  return backends.map(({ service, weight }, i) => {
    const field = `spec.backends[${i}]`;
    return { group: '', kind: 'Service', namespace, name: service, port, weight: weight / unit, field };
  });
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
