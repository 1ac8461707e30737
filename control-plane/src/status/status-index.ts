/**
 * What decides the status of policy objects, from watch events; pure. `apply` says whose status may be another one now,
 * `wanted` what it should be.
 */
import type { KubeObject } from '@tulle/api';
import type { IpNetwork } from '@tulle/api/ip-address.ts';
import { readEgressNetwork } from '@tulle/api/policy/egress-network.ts';
import { MultiMap } from '../workloads/multi-map.ts';
import { overlapsCluster } from '../workloads/network-overlap.ts';
import {
  accepted,
  type Condition,
  egressNetworkOverlap,
  noMatchingTarget,
  rateLimitAlreadyExists,
  unsupportedValue,
  written,
} from './conditions.ts';
import { isOurMesh, meshStatus } from './mesh.ts';
import { type BackendRef, needsGrant, type ParentRef, type Route, readRoute, statusKey } from './route.ts';
import { isOurs, parentConditions, type RouteSurroundings, routeParents } from './route-status.ts';

/** Why the mesh cannot read an object, if it cannot. */
export type ProblemOf = (object: KubeObject) => string | undefined;

export interface StatusIndexOptions {
  clusterNetworks: readonly IpNetwork[];
  problemOf: ProblemOf;
}

export interface WantedStatus {
  object: KubeObject;
  /** The whole of what the mesh has to say in `status`; fields that are not here stay as they are. */
  status: Record<string, unknown>;
}

interface RateLimit {
  key: string;
  serverKey: string;
  isServer: boolean;
  createdAt: string;
  object: KubeObject;
  problem?: string;
}

export class StatusIndex implements RouteSurroundings {
  readonly #options: StatusIndexOptions;
  /** Protocols, by key. */
  readonly #servers = new Map<string, string>();
  readonly #services = new Map<string, boolean>();
  readonly #egressNetworks = new Map<string, { object: KubeObject; condition: Condition }>();
  readonly #routes = new Map<string, Route>();
  readonly #rateLimits = new Map<string, RateLimit>();
  readonly #meshes = new Map<string, KubeObject>();
  /** By the namespace that they open. */
  readonly #grants = new Map<string, Map<string, KubeObject>>();
  #hasGrants = false;

  /** By `Kind/namespace/name`. */
  readonly #routesByParent = new MultiMap<string, string>();
  readonly #routesByBackend = new MultiMap<string, string>();
  readonly #routesByBackendNamespace = new MultiMap<string, string>();
  readonly #rateLimitsByServer = new MultiMap<string, string>();

  constructor(options: StatusIndexOptions) {
    this.#options = options;
  }

  /** Keys of objects whose status may have changed. */
  apply(type: 'set' | 'delete', object: KubeObject): ReadonlySet<string> {
    const touched = new Set<string>();
    const isSet = type === 'set';
    const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
    switch (object.kind) {
      case 'Service':
        this.#replaceService(key, isSet ? hasClusterIp(object) : undefined, touched);
        break;
      case 'Server':
        this.#replaceServer(key, isSet ? text(object.spec?.proxyProtocol) || 'unknown' : undefined, touched);
        break;
      case 'EgressNetwork':
        this.#replaceEgressNetwork(key, isSet ? object : undefined, touched);
        if (isSet) touched.add(statusKey(object));
        break;
      case 'ReferenceGrant':
        this.#replaceGrant(object, isSet, touched);
        break;
      case 'HTTPLocalRateLimitPolicy':
        this.#replaceRateLimit(statusKey(object), isSet ? object : undefined, touched);
        break;
      case 'XMesh':
        this.#replaceMesh(statusKey(object), isSet && isOurMesh(object) ? object : undefined, touched);
        break;
      default:
        this.#replaceRoute(statusKey(object), isSet ? object : undefined, touched);
    }
    return touched;
  }

  /** Whether the cluster serves ReferenceGrant: where it does not, every backend is granted. */
  setHasGrants(hasGrants: boolean): ReadonlySet<string> {
    const touched = new Set<string>();
    if (this.#hasGrants !== hasGrants) for (const [key, route] of this.#routes) if (needsGrant(route)) touched.add(key);
    this.#hasGrants = hasGrants;
    return touched;
  }

  /** Of every object with a status. */
  keys(): string[] {
    const networks = [...this.#egressNetworks.values()].map(({ object }) => statusKey(object));
    return [...this.#routes.keys(), ...this.#rateLimits.keys(), ...this.#meshes.keys(), ...networks];
  }

  /** Undefined where there is no such object. `now` in RFC 3339. */
  wanted(key: string, now: string): WantedStatus | undefined {
    const route = this.#routes.get(key);
    if (route) return { object: route.object, status: { parents: routeParents(route, this, now) } };
    const rateLimit = this.#rateLimits.get(key);
    if (rateLimit) {
      const { object } = rateLimit;
      const { group, kind, name } = object.spec?.targetRef ?? {};
      const targetRef = { ...(group === undefined ? {} : { group }), kind: text(kind), name: text(name) };
      return { object, status: { ...this.#conditions(object, this.#rateLimit(rateLimit), now), targetRef } };
    }
    const mesh = this.#meshes.get(key);
    if (mesh) {
      const { condition, supportedFeatures } = meshStatus(mesh);
      return { object: mesh, status: { ...this.#conditions(mesh, condition, now), supportedFeatures } };
    }
    const egressNetwork = this.#egressNetworks.get(key.split('/').slice(2).join('/'));
    if (!egressNetwork || statusKey(egressNetwork.object) !== key) return undefined;
    const { object, condition } = egressNetwork;
    return { object, status: this.#conditions(object, condition, now) };
  }

  /** What would be said of an object that may not be in the cluster yet, for each of its parents or targets. */
  preview(object: KubeObject): { about: string; conditions: Condition[] }[] {
    const about = (kind: string, namespace: string | undefined, name: string) => `${kind} ${namespace}/${name}`;
    const { namespace, name } = object.metadata;
    if (object.kind === 'EgressNetwork') {
      return [{ about: about('EgressNetwork', namespace, name), conditions: [this.#egressNetwork(object)] }];
    }
    if (object.kind === 'HTTPLocalRateLimitPolicy') {
      const target = about('Server', namespace, text(object.spec?.targetRef?.name));
      return [{ about: target, conditions: [this.#rateLimit(this.#readRateLimit(object))] }];
    }
    if (!ROUTE_KINDS.has(object.kind ?? '')) return [];
    const route = readRoute(object, this.#options.problemOf(object));
    return route.parents.filter(isOurs).map((parent) => ({
      about: about(parent.kind, parent.namespace, parent.name),
      conditions: parentConditions(route, parent, this),
    }));
  }

  serverProtocol(key: string): string | undefined {
    return this.#servers.get(key);
  }

  serviceHasClusterIp(key: string): boolean | undefined {
    return this.#services.get(key);
  }

  isEgressNetworkAccepted(key: string): boolean | undefined {
    const network = this.#egressNetworks.get(key);
    return network && network.condition.status === 'True';
  }

  *routesOf(parent: ParentRef): Iterable<Route> {
    for (const key of this.#routesByParent.get(refKey(parent))) yield this.#routes.get(key)!;
  }

  isGranted(route: Route, backend: BackendRef): boolean {
    if (!this.#hasGrants || !needsGrant(route)) return true;
    for (const { spec } of this.#grants.get(backend.namespace)?.values() ?? []) {
      const isFrom = list(spec?.from).some(
        ({ group, kind, namespace }) => group === route.group && kind === route.kind && namespace === route.namespace,
      );
      const isTo = list(spec?.to).some(
        ({ group, kind, name }) =>
          (group ?? '') === backend.group && kind === backend.kind && (!name || name === backend.name),
      );
      if (isFrom && isTo) return true;
    }
    return false;
  }

  /** Number of objects and entries held, by table. */
  sizes(): Record<string, number> {
    return {
      servers: this.#servers.size,
      services: this.#services.size,
      egressNetworks: this.#egressNetworks.size,
      routes: this.#routes.size,
      rateLimits: this.#rateLimits.size,
      meshes: this.#meshes.size,
      grants: this.#grants.size,
      routesByParent: this.#routesByParent.size,
      routesByBackend: this.#routesByBackend.size,
      routesByBackendNamespace: this.#routesByBackendNamespace.size,
      rateLimitsByServer: this.#rateLimitsByServer.size,
    };
  }

  #replaceService(key: string, has: boolean | undefined, touched: Set<string>): void {
    if (this.#services.get(key) === has) return;
    if (has === undefined) this.#services.delete(key);
    else this.#services.set(key, has);
    this.#touchRoutes(`Service/${key}`, touched);
  }

  #replaceServer(key: string, protocol: string | undefined, touched: Set<string>): void {
    if (this.#servers.get(key) === protocol) return;
    if (protocol === undefined) this.#servers.delete(key);
    else this.#servers.set(key, protocol);
    this.#touchRoutes(`Server/${key}`, touched);
    for (const rateLimit of this.#rateLimitsByServer.get(key)) touched.add(rateLimit);
  }

  #replaceEgressNetwork(key: string, object: KubeObject | undefined, touched: Set<string>): void {
    const before = this.isEgressNetworkAccepted(key);
    if (object) this.#egressNetworks.set(key, { object, condition: this.#egressNetwork(object) });
    else this.#egressNetworks.delete(key);
    if (this.isEgressNetworkAccepted(key) !== before) this.#touchRoutes(`EgressNetwork/${key}`, touched);
  }

  #replaceGrant(object: KubeObject, isSet: boolean, touched: Set<string>): void {
    const { namespace = '', name } = object.metadata;
    const grants = this.#grants.get(namespace) ?? new Map<string, KubeObject>();
    if (isSet) this.#grants.set(namespace, grants.set(name, object));
    else if (grants.delete(name) && grants.size === 0) this.#grants.delete(namespace);
    for (const route of this.#routesByBackendNamespace.get(namespace)) touched.add(route);
  }

  #replaceMesh(key: string, object: KubeObject | undefined, touched: Set<string>): void {
    if (object) this.#meshes.set(key, object);
    else this.#meshes.delete(key);
    if (object) touched.add(key);
  }

  #replaceRateLimit(key: string, object: KubeObject | undefined, touched: Set<string>): void {
    const old = this.#rateLimits.get(key);
    if (old) {
      this.#rateLimits.delete(key);
      this.#rateLimitsByServer.delete(old.serverKey, key);
      for (const other of this.#rateLimitsByServer.get(old.serverKey)) touched.add(other);
    }
    if (!object) return;
    const rateLimit = this.#readRateLimit(object);
    const { serverKey } = rateLimit;
    this.#rateLimits.set(key, rateLimit);
    this.#rateLimitsByServer.add(serverKey, key);
    for (const other of this.#rateLimitsByServer.get(serverKey)) touched.add(other);
  }

  #readRateLimit(object: KubeObject): RateLimit {
    const { group = '', kind, name } = object.spec?.targetRef ?? {};
    const problem = this.#options.problemOf(object);
    return {
      key: statusKey(object),
      serverKey: `${object.metadata.namespace ?? ''}/${text(name)}`,
      isServer: kind === 'Server' && group === 'policy.linkerd.io',
      // One that no API server has stored yet is the youngest.
      createdAt: String(object.metadata.creationTimestamp ?? '~'),
      object,
      ...(problem === undefined ? {} : { problem }),
    };
  }

  #replaceRoute(key: string, object: KubeObject | undefined, touched: Set<string>): void {
    const old = this.#routes.get(key);
    const route = object && readRoute(object, this.#options.problemOf(object));
    if (old) {
      this.#routes.delete(key);
      for (const parent of old.parents) this.#routesByParent.delete(refKey(parent), key);
      for (const backend of old.backends) {
        this.#routesByBackend.delete(refKey(backend), key);
        this.#routesByBackendNamespace.delete(backend.namespace, key);
      }
    }
    if (route) {
      this.#routes.set(key, route);
      for (const parent of route.parents) this.#routesByParent.add(refKey(parent), key);
      for (const backend of route.backends) {
        this.#routesByBackend.add(refKey(backend), key);
        if (backend.namespace !== route.namespace) this.#routesByBackendNamespace.add(backend.namespace, key);
      }
      touched.add(key);
    }
    // Others on a parent only look at which parents this one has: a status that was written must not wake them.
    if (parentsOf(old) === parentsOf(route)) return;
    for (const parent of [...(old?.parents ?? []), ...(route?.parents ?? [])]) {
      for (const other of this.#routesByParent.get(refKey(parent))) touched.add(other);
    }
  }

  #touchRoutes(refKeyOfObject: string, touched: Set<string>): void {
    for (const key of this.#routesByParent.get(refKeyOfObject)) touched.add(key);
    for (const key of this.#routesByBackend.get(refKeyOfObject)) touched.add(key);
  }

  /** What others say of the object stays. */
  #conditions(object: KubeObject, condition: Condition, now: string) {
    const old = list(object.status?.conditions);
    const others = old.filter(({ type }) => type !== condition.type);
    return { conditions: [...others, ...written([condition], old, object.metadata.generation, now)] };
  }

  #rateLimit(rateLimit: RateLimit): Condition {
    const { isServer, serverKey } = rateLimit;
    const protocol = this.#servers.get(serverKey);
    if (!isServer || protocol === undefined) return noMatchingTarget();
    const older = [...this.#rateLimitsByServer.get(serverKey)]
      .map((key) => this.#rateLimits.get(key)!)
      .filter((other) => other.isServer && other.key !== rateLimit.key && isBefore(other, rateLimit));
    if (older.length) return rateLimitAlreadyExists();
    if (rateLimit.problem !== undefined) return unsupportedValue(rateLimit.problem);
    return accepted(
      UNLIMITED.has(protocol) ? `without effect: a Server with proxyProtocol ${protocol} has no limits` : '',
    );
  }

  #egressNetwork(object: KubeObject): Condition {
    const { networks = [] } = readEgressNetwork(object).network;
    const isOverlapping = overlapsCluster(networks, this.#options.clusterNetworks);
    if (isOverlapping) return egressNetworkOverlap('networks overlap with clusterNetworks');
    const problem = this.#options.problemOf(object);
    return problem === undefined ? accepted() : unsupportedValue(problem);
  }
}

/** The oldest first, then by name. Times of an API server have one form, and so compare as text. */
function isBefore(a: RateLimit, b: RateLimit): boolean {
  return a.createdAt === b.createdAt ? a.key < b.key : a.createdAt < b.createdAt;
}

/** Protocols whose requests the proxy API has no limits for. */
const UNLIMITED = new Set(['gRPC', 'opaque', 'TLS']);

const ROUTE_KINDS = new Set(['HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute']);

const refKey = ({ kind, namespace, name }: { kind: string; namespace: string; name: string }) =>
  `${kind}/${namespace}/${name}`;

const parentsOf = (route: Route | undefined) =>
  route && JSON.stringify(route.parents.map(({ raw: _, ...parent }) => parent));

function hasClusterIp({ spec }: KubeObject): boolean {
  return spec?.type !== 'ExternalName' && Boolean(spec?.clusterIP) && spec.clusterIP !== 'None';
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

const list = (value: unknown): any[] =>
  Array.isArray(value) ? value.filter((one) => one && typeof one === 'object') : [];
