/**
 * Routes, EgressNetworks, ReferenceGrants and TrafficSplits, found by who asks for them. Pure: takes watch events in any order, answers
 * look-ups, and says with each event which topics may have other answers now.
 */
import { HTTP_ROUTES, type KubeObject, POLICY_HTTP_ROUTES } from '@tulle/api';
import { type IpAddress, type IpNetwork, networkContains } from '@tulle/api/ip-address.ts';
import { byAge, type ObjectRef, refKey } from '@tulle/api/object-ref.ts';
import { type EgressNetwork, readEgressNetwork } from '@tulle/api/policy/egress-network.ts';
import { networkMatches } from '@tulle/api/policy/network.ts';
import { GATEWAY_GROUP, POLICY_GROUP } from '@tulle/api/policy/target-ref.ts';
import { type GrpcRoute, readGrpcRoute } from '@tulle/api/routes/grpc-route.ts';
import { type HttpRoute, readHttpRoute } from '@tulle/api/routes/http-route.ts';
import { isGranted, parseReferenceGrant, type ReferenceGrant } from '@tulle/api/routes/reference-grant.ts';
import { isEgressNetwork, isService, type ParentRef, type TargetRef } from '@tulle/api/routes/route.ts';
import { readTcpRoute, type TcpRoute } from '@tulle/api/routes/tcp-route.ts';
import { readTlsRoute, type TlsRoute } from '@tulle/api/routes/tls-route.ts';
import { OPAQUE_PORTS_ANNOTATION } from '../../workloads/mesh-names.ts';
import { MultiMap } from '../../workloads/multi-map.ts';
import { type PortSet, parsePortList } from '../../workloads/port-set.ts';
import { parseTrafficAnnotations, type TrafficSettings } from '../../workloads/traffic-annotations.ts';
import type { Topic } from '../../workloads/workload-index.ts';
import { type SplitKind, type SplitRoutes, SplitSet } from './split-set.ts';

/** `policy-http` and `http` are HTTPRoute of policy.linkerd.io and of the Gateway API. */
export const OUTBOUND_KINDS = ['policy-http', 'http', 'grpc', 'tls', 'tcp', 'egress-network', 'grant'] as const;
/** TrafficSplit and HTTPRouteGroup, where SMI is enabled. */
export const SMI_OUTBOUND_KINDS = ['traffic-split', 'route-group'] as const satisfies readonly SplitKind[];
export type OutboundKind = (typeof OUTBOUND_KINDS)[number] | SplitKind;
export type RouteKind = Exclude<OutboundKind, 'egress-network' | 'grant' | SplitKind>;

export interface OutboundEvent {
  kind: OutboundKind;
  type: 'set' | 'delete';
  object: KubeObject;
}

export type AnyRoute =
  | { readonly kind: 'http'; readonly route: HttpRoute }
  | { readonly kind: 'grpc'; readonly route: GrpcRoute }
  | { readonly kind: 'tls'; readonly route: TlsRoute }
  | { readonly kind: 'tcp'; readonly route: TcpRoute };

/** A route's attachment to a parent. */
export type Attached = AnyRoute & { readonly parent: ParentRef };

export interface EgressNetworkSettings extends EgressNetwork {
  readonly traffic: TrafficSettings;
  /** Undefined where the network says nothing: the mesh decides. */
  readonly opaquePorts?: PortSet;
  /** Whether its own fields can be read; routes that name one that is not have no effect. */
  readonly isReadable: boolean;
  readonly problems: readonly string[];
}

/** A network that has an address, and how long the prefix is by which it has it. */
export interface MatchedNetwork {
  readonly network: EgressNetworkSettings;
  readonly prefixLength: number;
}

interface Named {
  namespace: string;
  name: string;
}

export const routesTopic = (parent: 'service' | 'egress', { namespace, name }: Named): Topic =>
  `routes/${parent}/${namespace}/${name}`;
export const egressTopic = (namespace: string): Topic => `egress-networks/${namespace}`;
export const grantsTopic = (namespace: string): Topic => `grants/${namespace}`;
/** Whether backends elsewhere need a grant at all. */
export const GRANTS_SERVED_TOPIC: Topic = 'grants/';

export class OutboundIndex {
  readonly #routes = new Map<string, AnyRoute & { problems: readonly string[] }>();
  /** Keys of routes by `routesTopic` of their parents. */
  readonly #routesByParent = new MultiMap<Topic, string>();
  readonly #networks = new Map<string, EgressNetworkSettings>();
  readonly #networksByNamespace = new MultiMap<string, string>();
  readonly #grants = new Map<string, ReferenceGrant>();
  readonly #grantsByNamespace = new MultiMap<string, string>();
  readonly #splits = new SplitSet();
  #areGrantsServed = false;

  /** @throws MeshError for a grant or split that cannot be read, to be deleted then. Everything else has a stand-in. */
  apply({ kind, type, object }: OutboundEvent): ReadonlySet<Topic> {
    const topics = new Set<Topic>();
    const isSet = type === 'set';
    const key = keyOf(kind, object);
    switch (kind) {
      case 'egress-network':
        this.#replaceNetwork(key, isSet ? readNetworkSettings(object) : undefined, topics);
        break;
      case 'grant':
        this.#replaceGrant(key, isSet ? parseReferenceGrant(object) : undefined, topics);
        break;
      case 'traffic-split':
      case 'route-group':
        for (const service of this.#splits.apply(kind, key, isSet ? object : undefined)) {
          const [namespace, name] = service.split('/') as [string, string];
          topics.add(routesTopic('service', { namespace, name }));
        }
        break;
      default:
        this.#replaceRoute(key, isSet ? readRoute(kind, object) : undefined, topics);
    }
    return topics;
  }

  /** Whether the cluster has ReferenceGrants at all; while it has not, none is needed. */
  setGrantsServed(areServed: boolean): ReadonlySet<Topic> {
    if (this.#areGrantsServed === areServed) return new Set();
    this.#areGrantsServed = areServed;
    return new Set([GRANTS_SERVED_TOPIC]);
  }

  /** What could not be read of an object that is in force all the same. */
  problems(kind: OutboundKind, object: KubeObject): readonly string[] {
    const key = keyOf(kind, object);
    return (kind === 'egress-network' ? this.#networks : this.#routes).get(key)?.problems ?? [];
  }

  /** Every attachment of a route to the parent, in no order; a route that names it twice attaches twice. */
  *attached(parent: 'service' | 'egress', named: Named): Iterable<Attached> {
    for (const key of this.#routesByParent.get(routesTopic(parent, named))) {
      const { problems: _, ...one } = this.#routes.get(key)!;
      for (const ref of one.route.parents) {
        if (parentTopic(ref) === routesTopic(parent, named)) yield { ...one, parent: ref };
      }
    }
  }

  /** Undefined where no TrafficSplit takes the place of the Service's routes. */
  splitRoutes({ namespace, name }: Named, port: number): SplitRoutes | undefined {
    return this.#splits.routesOf(`${namespace}/${name}`, port);
  }

  /** Whether the namespace has routes of its own for the parent, which its clients use instead of the parent's. */
  hasRoutesFrom(namespace: string, parent: 'service' | 'egress', named: Named): boolean {
    for (const key of this.#routesByParent.get(routesTopic(parent, named))) {
      if (this.#routes.get(key)!.route.ref.namespace === namespace) return true;
    }
    return false;
  }

  egressNetwork(key: string): EgressNetworkSettings | undefined {
    return this.#networks.get(key);
  }

  /** In no order. */
  egressNetworksIn(namespace: string): EgressNetworkSettings[] {
    return [...this.#networksByNamespace.get(namespace)].map((key) => this.#networks.get(key)!);
  }

  /**
   * Those that have an address outside the cluster, the one that holds first: those of the client's own namespace, then
   * the global ones; of one namespace the most specific first, then the oldest.
   */
  egressNetworksOf(
    address: IpAddress,
    namespaces: readonly string[],
    clusterNetworks: readonly IpNetwork[],
  ): MatchedNetwork[] {
    return [...new Set(namespaces)].flatMap((namespace) =>
      this.egressNetworksIn(namespace)
        .flatMap((network) => {
          const prefixLength = matchedPrefix(network, address, clusterNetworks);
          return prefixLength === undefined ? [] : [{ network, prefixLength }];
        })
        .sort((a, b) => b.prefixLength - a.prefixLength || byAge(a.network.ref, b.network.ref)),
    );
  }

  needsGrant(route: ObjectRef, target: TargetRef): boolean {
    return route.group === GATEWAY_GROUP && target.namespace !== route.namespace;
  }

  isGranted(route: ObjectRef, target: TargetRef): boolean {
    if (!this.#areGrantsServed || !this.needsGrant(route, target)) return true;
    const keys = [...this.#grantsByNamespace.get(target.namespace)];
    return keys.some((key) => isGranted(this.#grants.get(key)!, route, target));
  }

  /** Number of objects and of index entries held, by table. */
  sizes(): Record<string, number> {
    return {
      outboundRoutes: this.#routes.size,
      routesByParent: this.#routesByParent.size,
      egressNetworks: this.#networks.size,
      egressNetworksByNamespace: this.#networksByNamespace.size,
      grants: this.#grants.size,
      grantsByNamespace: this.#grantsByNamespace.size,
      ...this.#splits.sizes(),
    };
  }

  #replaceRoute(key: string, route: ReturnType<typeof readRoute> | undefined, topics: Set<Topic>): void {
    const old = this.#routes.get(key);
    for (const topic of old ? parentTopics(old) : []) {
      topics.add(topic);
      this.#routesByParent.delete(topic, key);
    }
    this.#routes.delete(key);
    // A route of Servers only is not for clients.
    const parents = route ? parentTopics(route) : [];
    if (!route || parents.length === 0) return;
    this.#routes.set(key, route);
    for (const topic of parents) {
      topics.add(topic);
      this.#routesByParent.add(topic, key);
    }
  }

  #replaceNetwork(key: string, network: EgressNetworkSettings | undefined, topics: Set<Topic>): void {
    const old = this.#networks.get(key);
    if (old) this.#networksByNamespace.delete(old.ref.namespace, key);
    this.#networks.delete(key);
    if (network) {
      this.#networks.set(key, network);
      this.#networksByNamespace.add(network.ref.namespace, key);
    }
    const namespace = (network ?? old)?.ref.namespace;
    if (namespace !== undefined) topics.add(egressTopic(namespace));
  }

  #replaceGrant(key: string, grant: ReferenceGrant | undefined, topics: Set<Topic>): void {
    const old = this.#grants.get(key);
    if (old) this.#grantsByNamespace.delete(old.ref.namespace, key);
    this.#grants.delete(key);
    if (grant) {
      this.#grants.set(key, grant);
      this.#grantsByNamespace.add(grant.ref.namespace, key);
    }
    const namespace = (grant ?? old)?.ref.namespace;
    if (namespace !== undefined) topics.add(grantsTopic(namespace));
  }
}

/** Of routes as `refKey`, since two groups have an HTTPRoute; of everything else `namespace/name`. */
function keyOf(kind: OutboundKind, { metadata }: KubeObject): string {
  const { name, namespace = 'default' } = metadata;
  if (!isRouteKind(kind)) return `${namespace}/${name}`;
  return refKey({ group: kind === 'policy-http' ? POLICY_GROUP : GATEWAY_GROUP, kind, namespace, name });
}

function isRouteKind(kind: OutboundKind): kind is RouteKind {
  return kind in ROUTE_KINDS;
}

const ROUTE_KINDS: Record<RouteKind, true> = { 'policy-http': true, http: true, grpc: true, tls: true, tcp: true };

function readRoute(kind: RouteKind, object: KubeObject): AnyRoute & { problems: readonly string[] } {
  switch (kind) {
    case 'policy-http':
      return { kind: 'http', ...readHttpRoute(object, POLICY_HTTP_ROUTES) };
    case 'http':
      return { kind: 'http', ...readHttpRoute(object, HTTP_ROUTES) };
    case 'grpc':
      return { kind: 'grpc', ...readGrpcRoute(object) };
    case 'tls':
      return { kind: 'tls', ...readTlsRoute(object) };
    case 'tcp':
      return { kind: 'tcp', ...readTcpRoute(object) };
  }
}

function parentTopics({ route }: AnyRoute): Topic[] {
  return [...new Set(route.parents.flatMap((parent) => parentTopic(parent) ?? []))];
}

function parentTopic(parent: ParentRef): Topic | undefined {
  if (isService(parent)) return routesTopic('service', parent);
  return isEgressNetwork(parent) ? routesTopic('egress', parent) : undefined;
}

function readNetworkSettings(object: KubeObject): EgressNetworkSettings {
  const { network, problems } = readEgressNetwork(object);
  const traffic = parseTrafficAnnotations(network.annotations);
  const text = network.annotations[OPAQUE_PORTS_ANNOTATION];
  const opaque = text === undefined ? undefined : parsePortList(text);
  const ofPorts = (opaque?.problems ?? []).map(
    (problem) => `metadata.annotations[${OPAQUE_PORTS_ANNOTATION}]: ${problem}`,
  );
  return {
    ...network,
    traffic,
    opaquePorts: opaque?.ports,
    isReadable: problems.length === 0,
    problems: [...problems, ...traffic.problems, ...ofPorts],
  };
}

/** The length of the longest prefix that has the address; undefined where none has it. */
function matchedPrefix(
  { networks }: EgressNetwork,
  address: IpAddress,
  clusterNetworks: readonly IpNetwork[],
): number | undefined {
  if (!networks) return clusterNetworks.some((each) => networkContains(each, address)) ? undefined : 0;
  const lengths = networks.flatMap((each) => (networkMatches(each, address) ? [each.network.prefixLength] : []));
  return lengths.length === 0 ? undefined : Math.max(...lengths);
}
