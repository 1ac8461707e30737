/** From a route and what is known of its parents and backends to the conditions for each parent. Pure. */
import {
  accepted,
  backendNotFound,
  type Condition,
  invalidKind,
  noMatchingParent,
  refNotPermitted,
  resolvedRefs,
  routeConflicted,
  unsupportedValue,
  type WrittenCondition,
  written,
} from './conditions.ts';
import { type BackendRef, isSameParent, type ParentRef, POLICY_GROUP, type Route, readParentRef } from './route.ts';

export const CONTROLLER_NAME = 'linkerd.io/policy-controller';

/** The part of the cluster that a route's status looks at. */
export interface RouteSurroundings {
  /** Its `proxyProtocol`; undefined where there is no such Server. */
  serverProtocol(key: string): string | undefined;
  /** Whether it has an address of its own; undefined where there is no such Service. */
  serviceHasClusterIp(key: string): boolean | undefined;
  /** Undefined where there is no such EgressNetwork. */
  isEgressNetworkAccepted(key: string): boolean | undefined;
  routesOf(parent: ParentRef): Iterable<Route>;
  /** Whether a ReferenceGrant lets the route name the backend; true where the cluster has no ReferenceGrants. */
  isGranted(route: Route, backend: BackendRef): boolean;
}

export interface ParentStatus {
  parentRef: object;
  controllerName: string;
  conditions: WrittenCondition[];
}

/** More entries than this an API server refuses. */
const PARENTS_MAX = 32;

/** The whole of `status.parents`: what other controllers wrote stays where it is. */
export function routeParents(route: Route, around: RouteSurroundings, now: string): ParentStatus[] {
  const { object } = route;
  const old = objects<ParentStatus>(object.status?.parents);
  const ours = route.parents.filter(
    (parent, i) => isOurs(parent) && route.parents.findIndex((other) => isSameParent(other, parent)) === i,
  );
  const isOld = (parent: ParentRef) => (entry: ParentStatus) =>
    entry.controllerName === CONTROLLER_NAME &&
    isSameParent(readParentRef({ ...entry.parentRef }, route.group, route.namespace), parent);
  const entry = (parent: ParentRef, before?: ParentStatus): ParentStatus => ({
    // As the server holds it: it may have filled in defaults.
    parentRef: before?.parentRef ?? parent.raw,
    controllerName: CONTROLLER_NAME,
    conditions: written(
      parentConditions(route, parent, around),
      objects(before?.conditions),
      object.metadata.generation,
      now,
    ),
  });
  const placed = new Set<ParentRef>();
  const kept = old.flatMap((before) => {
    if (before.controllerName !== CONTROLLER_NAME) return [before];
    const parent = ours.find((one) => !placed.has(one) && isOld(one)(before));
    if (!parent) return [];
    placed.add(parent);
    return [entry(parent, before)];
  });
  const added = ours.filter((parent) => !placed.has(parent)).map((parent) => entry(parent));
  return [...kept, ...added].slice(0, PARENTS_MAX);
}

/** Of what another may have written: the elements that can be read. */
function objects<T extends object>(value: unknown): T[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'object' && each !== null) : [];
}

/** `Accepted`, and for parents of requests that leave, `ResolvedRefs`. */
export function parentConditions(route: Route, parent: ParentRef, around: RouteSurroundings): Condition[] {
  if (parent.kind === 'Server') return [serverParent(route, parent, around)];
  return [outboundParent(route, parent, around), backendRefs(route, parent, around)];
}

/** Other kinds are the business of other controllers. */
export function isOurs({ group, kind }: ParentRef): boolean {
  return PARENTS.has(`${group}/${kind}`);
}

const PARENTS = new Set([`${POLICY_GROUP}/Server`, `${POLICY_GROUP}/EgressNetwork`, '/Service']);
/** Which kind of route wins on a parent's port; those after it conflict. */
const PRECEDENCE = ['GRPCRoute', 'HTTPRoute', 'TLSRoute', 'TCPRoute'];

const keyOf = ({ namespace, name }: { namespace: string; name: string }) => `${namespace}/${name}`;

function serverParent(route: Route, parent: ParentRef, around: RouteSurroundings): Condition {
  if (!['HTTPRoute', 'GRPCRoute'].includes(route.kind)) {
    return noMatchingParent(`a Server takes HTTPRoute and GRPCRoute, not ${route.kind}`);
  }
  if (parent.namespace !== route.namespace) return noMatchingParent('a Server must be in the namespace of its route');
  const part = (['port', 'sectionName'] as const).find((field) => parent[field] !== undefined);
  if (part) return noMatchingParent(`a Server is a parent as a whole: found ${part} ${parent[part]}, allowed is none`);
  const protocol = around.serverProtocol(keyOf(parent));
  if (protocol === undefined) return noMatchingParent();
  if (route.problem !== undefined) return unsupportedValue(route.problem);
  const routed = ROUTED[protocol] ?? 'HTTPRoute';
  if (routed === route.kind) return accepted();
  const what = routed === 'none' ? 'no routes' : `${routed} alone`;
  return accepted(`without effect: a Server with proxyProtocol ${protocol} has ${what}`);
}

/** The kind of route that a Server of a protocol asks; HTTPRoute where it is not here. */
const ROUTED: Readonly<Record<string, string>> = { gRPC: 'GRPCRoute', opaque: 'none', TLS: 'none' };

function outboundParent(route: Route, parent: ParentRef, around: RouteSurroundings): Condition {
  const isService = parent.kind === 'Service';
  const state = isService ? around.serviceHasClusterIp(keyOf(parent)) : around.isEgressNetworkAccepted(keyOf(parent));
  if (state === undefined) return noMatchingParent();
  if (!state) {
    return noMatchingParent(
      isService ? 'parent service must have a ClusterIP' : 'EgressNetwork parent has not been accepted',
    );
  }
  if (route.problem !== undefined) return unsupportedValue(route.problem);
  const winner = winningRoute(route, parent, around);
  if (winner) return routeConflicted(`${winner.kind} ${keyOf(winner)} takes its place on this parent`);
  if (route.extensions.length === 0) return accepted();
  return accepted(`enforced by Tulle's proxy only: ${route.extensions.join(', ')}`);
}

/** A route of a kind that goes first, for all the ports of the parent and all the clients that this route is for. */
function winningRoute(route: Route, parent: ParentRef, around: RouteSurroundings): Route | undefined {
  const rank = PRECEDENCE.indexOf(route.kind);
  for (const other of around.routesOf(parent)) {
    if (PRECEDENCE.indexOf(other.kind) >= rank || other.namespace !== route.namespace) continue;
    const isOnPort = ({ group, kind, namespace, name, port, sectionName }: ParentRef) =>
      group === parent.group &&
      kind === parent.kind &&
      namespace === parent.namespace &&
      name === parent.name &&
      (port === undefined || port === parent.port) &&
      (sectionName === undefined || sectionName === parent.sectionName);
    if (other.parents.some(isOnPort)) return other;
  }
  return undefined;
}

function backendRefs(route: Route, parent: ParentRef, around: RouteSurroundings): Condition {
  for (const backend of route.backends) {
    if (!isBackendKind(backend)) {
      return invalidKind(`${backend.field}: found kind ${backend.kind}, allowed are Service and EgressNetwork`);
    }
    if (backend.kind === 'EgressNetwork' && (parent.kind !== 'EgressNetwork' || keyOf(parent) !== keyOf(backend))) {
      return invalidKind(`${backend.field}: an EgressNetwork can only be the backend of a route to itself`);
    }
  }
  for (const backend of route.backends) {
    const { kind, field, namespace } = backend;
    const isElsewhere = kind === 'Service' && namespace !== route.namespace && !isSameService(backend, parent);
    if (isElsewhere && !around.isGranted(route, backend)) {
      return refNotPermitted(`${field}: no ReferenceGrant in namespace ${namespace} lets this route name the Service`);
    }
  }
  for (const backend of route.backends) {
    const key = keyOf(backend);
    const state = backend.kind === 'Service' ? around.serviceHasClusterIp(key) : around.isEgressNetworkAccepted(key);
    if (state === undefined) return backendNotFound(`${backend.field}: there is no ${backend.kind} ${key}`);
  }
  return resolvedRefs();
}

/** A consumer route may send requests to the Service that they were for anyway. */
function isSameService(backend: BackendRef, parent: ParentRef): boolean {
  return parent.kind === 'Service' && keyOf(parent) === keyOf(backend);
}

function isBackendKind({ group, kind }: BackendRef): boolean {
  return (group === '' && kind === 'Service') || (group === POLICY_GROUP && kind === 'EgressNetwork');
}
