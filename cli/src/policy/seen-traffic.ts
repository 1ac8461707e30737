/** Who has called which port of which pod, and what came of it, as the pods' proxies have counted it. Pure. */
import type { Pod, ProxyScrape } from '@tulle/api';

export interface SeenCaller {
  namespace: string;
  pod: string;
  port: number;
  /** Requests of HTTP and gRPC, or connections of anything else. */
  unit: 'requests' | 'connections';
  /** Undefined: the client proved no identity. */
  clientId?: string;
  /** Whether it came over the mesh's TLS, with or without an identity. */
  isTls: boolean;
  /** The route that took the requests; undefined where none of its own did. */
  route?: { group: string; kind: string; name: string };
  /** Let in, and by what: `default/all-unauthenticated`, `authorizationpolicy/web`. */
  allowed: number;
  denied: number;
}

/** The proxy's own ports, which policies are not for. */
export const PROXY_PORTS = new Set([4143, 4140, 4190, 4191]);

const FAMILIES: Record<string, { unit: SeenCaller['unit']; isAllowed: boolean }> = {
  inbound_http_authz_allow_total: { unit: 'requests', isAllowed: true },
  inbound_http_authz_deny_total: { unit: 'requests', isAllowed: false },
  inbound_tcp_authz_allow_total: { unit: 'connections', isAllowed: true },
  inbound_tcp_authz_deny_total: { unit: 'connections', isAllowed: false },
};

/**
 * Connections that are open now: the counters of those that were silent for ten minutes are gone. Without an identity it
 * may be a probe that is just being answered, and does not count.
 */
const OPEN = 'tcp_open_connections';

/** In the order of namespace, pod, port and caller. Requests of the kubelet that its probe route took are left out. */
export function seenCallers(scrapes: readonly ProxyScrape[]): SeenCaller[] {
  const seen = new Map<string, SeenCaller>();
  for (const { namespace, pod, samples } of scrapes) {
    const last = (name: string) => (name === OPEN ? 1 : 0);
    for (const { name, labels, value } of [...samples].sort((a, b) => last(a.name) - last(b.name))) {
      const isOpen =
        name === OPEN && labels.direction === 'inbound' && labels.peer === 'src' && Boolean(labels.client_id);
      const family = isOpen ? { unit: 'connections' as const, isAllowed: true } : FAMILIES[name];
      const port = Number(labels.target_port ?? labels.srv_port);
      if (!family || value === 0 || !port || PROXY_PORTS.has(port) || labels.route_name === 'probe') continue;
      const hasRoute = labels.route_kind !== undefined && labels.route_kind !== 'default' && labels.route_name;
      const caller: SeenCaller = {
        namespace,
        pod,
        port,
        unit: family.unit,
        ...(labels.client_id ? { clientId: labels.client_id } : {}),
        isTls: labels.tls === 'true',
        ...(hasRoute
          ? { route: { group: labels.route_group ?? '', kind: kindName(labels.route_kind!), name: labels.route_name! } }
          : {}),
        allowed: 0,
        denied: 0,
      };
      const key = JSON.stringify(caller);
      const known = seen.get(key) ?? caller;
      if (isOpen) known.allowed = Math.max(known.allowed, value);
      else if (family.isAllowed) known.allowed += value;
      else known.denied += value;
      seen.set(key, known);
    }
  }
  return withoutConnectionsOfRequests([...seen.values()]).sort((a, b) => compare(sortKey(a), sortKey(b)));
}

/** Rows of the same caller on the pods of one workload, added up. `keyOf` says what is one workload. */
export function addUp(
  callers: readonly SeenCaller[],
  keyOf: (caller: SeenCaller) => string,
): Map<string, SeenCaller[]> {
  const groups = new Map<string, Map<string, SeenCaller>>();
  for (const caller of callers) {
    const { pod: _, allowed, denied, ...who } = caller;
    const group = groups.get(keyOf(caller)) ?? new Map<string, SeenCaller>();
    groups.set(keyOf(caller), group);
    const key = JSON.stringify(who);
    const known = group.get(key);
    if (known) {
      known.allowed += allowed;
      known.denied += denied;
    } else group.set(key, { ...caller });
  }
  return new Map([...groups].map(([key, group]) => [key, [...group.values()]]));
}

/** `web.shop.serviceaccount.identity.linkerd.cluster.local` → its ServiceAccount; undefined for other identities. */
export function serviceAccountOf(identity: string): { namespace: string; name: string } | undefined {
  const match = /^([^.]+)\.([^.]+)\.serviceaccount\.identity\.[^.]+\./.exec(identity);
  return match ? { name: match[1]!, namespace: match[2]! } : undefined;
}

export function countText(count: number, unit: SeenCaller['unit']): string {
  return `${count} ${count === 1 ? unit.slice(0, -1) : unit}`;
}

/** The name that a container gives a port. */
export function portName(pod: Pod, port: number): string | undefined {
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  return containers.flatMap(({ ports }) => ports ?? []).find(({ containerPort }) => containerPort === port)?.name;
}

/** A connection that carries HTTP is counted as one, and its requests again: the requests say more. */
function withoutConnectionsOfRequests(callers: readonly SeenCaller[]): SeenCaller[] {
  const who = ({ namespace, pod, port, clientId, isTls }: SeenCaller) =>
    `${namespace}/${pod}/${port}/${clientId}/${isTls}`;
  const asking = new Set(callers.filter(({ unit }) => unit === 'requests').map(who));
  return callers.filter((caller) => caller.unit === 'requests' || !asking.has(who(caller)));
}

const KIND_NAMES: Record<string, string> = { httproute: 'HTTPRoute', grpcroute: 'GRPCRoute' };
const kindName = (label: string) => KIND_NAMES[label.toLowerCase()] ?? label;
const sortKey = ({ namespace, pod, port, clientId = '~' }: SeenCaller) => `${namespace}/${pod}/${port}/${clientId}`;
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
