/** The authorizations in force on the ports of pods, one row for each object that lets clients in. Pure. */
import type { Authorization, PolicySource } from '@tulle/control-plane/policy/inbound/authorization.ts';
import { type InboundContext, inboundServer } from '@tulle/control-plane/policy/inbound/inbound-server.ts';

export interface AuthorizationRow {
  /** `*`: every request that the server takes. */
  route: string;
  server: string;
  authorizationPolicy?: string;
  serverAuthorization?: string;
}

export interface PodPorts {
  namespace: string;
  name: string;
  /** Those to look at, such as the declared ones and those of Servers. */
  ports: Iterable<number>;
  /** Those that its containers listen on, as they say. */
  declared: ReadonlySet<number>;
}

/**
 * In the order of servers, routes and names. `notes` are what the rows cannot say: ports without a Server, servers that
 * let clients in without an object, and objects that have no effect.
 */
export function authorizationRows(
  context: InboundContext,
  pods: readonly PodPorts[],
): { rows: AuthorizationRow[]; notes: string[] } {
  const rows = new Map<string, AuthorizationRow>();
  const notes = new Set<string>();
  for (const { namespace, name, ports, declared } of pods) {
    for (const port of ports) {
      const inbound = inboundServer(context, { kind: 'Pod', namespace, name }, port);
      if (!inbound) continue;
      if (typeof inbound.source === 'string') {
        if (declared.has(port)) notes.add(`port ${port} has no Server: what ${inbound.source} says is in force`);
        continue;
      }
      const server = inbound.source.name;
      const add = (route: string, { source }: Authorization) => {
        if (typeof source === 'string') {
          if (source !== 'probe') notes.add(`Server ${server} lets in what ${source} says (spec.accessPolicy)`);
          return;
        }
        const object =
          source.kind === 'ServerAuthorization'
            ? { serverAuthorization: source.name }
            : { authorizationPolicy: source.name };
        rows.set([server, route, source.kind, source.name].join('\0'), { route, server, ...object });
      };
      for (const authorization of inbound.authorizations) add('*', authorization);
      for (const route of [...inbound.httpRoutes, ...inbound.grpcRoutes])
        for (const authorization of route.authorizations) add(nameOf(route.source), authorization);
      for (const { source, problem } of inbound.shadowed) notes.add(`${kindAndName(source)} has no effect: ${problem}`);
    }
  }
  const sorted = [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  return { rows: sorted, notes: [...notes].sort() };
}

const nameOf = (source: PolicySource) => (typeof source === 'string' ? source : source.name);
const kindAndName = (source: PolicySource) => (typeof source === 'string' ? source : `${source.kind} ${source.name}`);
