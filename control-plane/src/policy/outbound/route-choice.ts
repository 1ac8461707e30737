/** Which of the routes attached to a parent are in force for a client, in their order, and why the others are not. */
import { byAge, type ObjectRef } from '@tulle/api/object-ref.ts';
import type { AnyRoute, Attached } from './outbound-index.ts';
import type { RoutedPolicy } from './outbound-policy.ts';
import type { SplitRoutes } from './split-set.ts';

export interface RouteChoice {
  /** All of one kind, oldest first; none when nothing is attached. Splits have some for connections behind. */
  routes: readonly AnyRoute[];
  shadowed: RoutedPolicy['shadowed'];
}

export interface ParentPort {
  namespace: string;
  port: number;
  /** Of the port, which a `sectionName` names. */
  portName?: string;
}

/** Of several kinds on a port, the first that there is. */
const PRECEDENCE = ['grpc', 'http', 'tls', 'tcp'] as const;

/**
 * Routes of the client's namespace take the place of those of the parent's. Routes of other namespaces are for other
 * clients.
 */
export function chooseRoutes(
  attached: Iterable<Attached>,
  { namespace, port, portName }: ParentPort,
  clientNamespace: string,
  kinds: readonly AnyRoute['kind'][],
): RouteChoice {
  const here = new Map<ObjectRef, Attached>();
  for (const one of attached) {
    const { sectionName } = one.parent;
    const isHere = (one.parent.port ?? port) === port && (sectionName === undefined || sectionName === portName);
    if (isHere) here.set(one.route.ref, one);
  }
  const all = [...here.values()].sort((a, b) => byAge(a.route.ref, b.route.ref) || byGroup(a.route.ref, b.route.ref));
  const concerned = all.filter(({ route: { ref } }) => [clientNamespace, namespace].includes(ref.namespace));
  const usable = concerned.filter(({ kind }) => kinds.includes(kind));
  const consumers = usable.filter(({ route }) => route.ref.namespace === clientNamespace);
  const isConsumer = clientNamespace !== namespace && consumers.length > 0;
  const chosen = isConsumer ? consumers : usable;
  const shadowed: { ref: ObjectRef; reason: string }[] = [];
  const hide = (hidden: readonly Attached[], reason: string) => {
    for (const { route } of hidden) shadowed.push({ ref: route.ref, reason });
  };
  const without = (from: readonly Attached[], taken: readonly Attached[]) => from.filter((one) => !taken.includes(one));
  if (isConsumer) hide(without(usable, consumers), `namespace ${clientNamespace} has routes of its own`);
  hide(without(concerned, usable), 'the port is declared to speak another protocol');
  const winner = PRECEDENCE.find((kind) => chosen.some((one) => one.kind === kind));
  hide(
    chosen.filter(({ kind }) => kind !== winner),
    `routes of kind ${winner ? KIND_NAMES[winner] : ''} are attached to the same port`,
  );
  return { routes: chosen.filter(({ kind }) => kind === winner), shadowed };
}

/** What TrafficSplits say of a Service comes before all of its routes, as a profile does. */
export function chooseSplits(
  { http, tcp, shadowed }: SplitRoutes,
  attached: Iterable<Attached>,
  kinds: readonly AnyRoute['kind'][],
): RouteChoice {
  const split: AnyRoute[] = [
    ...http.map((route) => ({ kind: 'http', route }) as const),
    ...tcp.map((route) => ({ kind: 'tcp', route }) as const),
  ];
  const routes = split.filter(({ kind }) => kinds.includes(kind));
  const hidden = new Set([...attached].map(({ route }) => route.ref));
  return { routes, shadowed: [...shadowed, ...[...hidden].map((ref) => ({ ref, reason: BEHIND_SPLIT }))] };
}

const BEHIND_SPLIT = "a TrafficSplit of the Service takes its routes' place";
const KIND_NAMES = { grpc: 'GRPCRoute', http: 'HTTPRoute', tls: 'TLSRoute', tcp: 'TCPRoute' } as const;

/** Two groups have an HTTPRoute. */
function byGroup(a: ObjectRef, b: ObjectRef): number {
  return a.group < b.group ? -1 : a.group > b.group ? 1 : 0;
}
