/** What is attached to Servers: routes and rate limits, by the Server that they name. */
import type { Kind, KubeObject } from '@tulle/api';
import { byAge, type ObjectRef, refKey } from '@tulle/api/object-ref.ts';
import { type GrpcRoute, readGrpcRoute } from '@tulle/api/routes/grpc-route.ts';
import { type HttpRoute, readHttpRoute } from '@tulle/api/routes/http-route.ts';
import { isServer, type Route } from '@tulle/api/routes/route.ts';
import { MultiMap } from '../../workloads/multi-map.ts';
import { readRateLimit, type StoredRateLimit } from './stand-ins.ts';

export type StoredRoute =
  | { kind: 'http'; route: HttpRoute; problems: readonly string[] }
  | { kind: 'grpc'; route: GrpcRoute; problems: readonly string[] };

export class AttachmentSet {
  /** Routes of some Server, by `refKey`. */
  readonly #routes = new Map<string, StoredRoute>();
  readonly #routesByServer = new MultiMap<string, string>();
  readonly #rateLimits = new Map<string, StoredRateLimit>();
  readonly #rateLimitsByServer = new MultiMap<string, string>();

  /** Returns the keys of the Servers that the route was or is attached to. */
  applyRoute(key: string, kind: Kind, object: KubeObject | undefined): Set<string> {
    const servers = new Set<string>();
    const old = this.#routes.get(key);
    for (const server of old ? serversOf(old.route) : []) {
      servers.add(server);
      this.#routesByServer.delete(server, key);
    }
    this.#routes.delete(key);
    const stored = object && readRoute(kind, object);
    const parents = stored ? serversOf(stored.route) : [];
    if (!stored || parents.length === 0) return servers;
    this.#routes.set(key, stored);
    for (const server of parents) {
      servers.add(server);
      this.#routesByServer.add(server, key);
    }
    return servers;
  }

  /** As `applyRoute`. */
  applyRateLimit(key: string, object: KubeObject | undefined): Set<string> {
    const servers = new Set<string>();
    const replace = (policy: StoredRateLimit | undefined, isSet: boolean) => {
      if (!policy) return;
      const server = `${policy.ref.namespace}/${policy.serverName}`;
      servers.add(server);
      if (isSet) this.#rateLimitsByServer.add(server, key);
      else this.#rateLimitsByServer.delete(server, key);
    };
    replace(this.#rateLimits.get(key), false);
    const policy = object && readRateLimit(object);
    if (policy) this.#rateLimits.set(key, policy);
    else this.#rateLimits.delete(key);
    replace(policy, true);
    return servers;
  }

  route(key: string): StoredRoute | undefined {
    return this.#routes.get(key);
  }

  rateLimit(key: string): StoredRateLimit | undefined {
    return this.#rateLimits.get(key);
  }

  /** Oldest first: of equal matches the first wins. */
  routesOf(server: string): StoredRoute[] {
    const found = [...this.#routesByServer.get(server)].map((key) => this.#routes.get(key)!);
    return found.sort((a, b) => byAge(a.route.ref, b.route.ref) || compareKinds(a.route.ref, b.route.ref));
  }

  /** The Servers that a route is attached to. */
  serversOfRoute(key: string): readonly string[] {
    const stored = this.#routes.get(key);
    return stored ? serversOf(stored.route) : [];
  }

  /** Oldest first: the first is in force. */
  rateLimitsOf(server: string): StoredRateLimit[] {
    const found = [...this.#rateLimitsByServer.get(server)].map((key) => this.#rateLimits.get(key)!);
    return found.sort((a, b) => byAge(a.ref, b.ref));
  }

  sizes(): Record<string, number> {
    return {
      inboundRoutes: this.#routes.size,
      routesByServer: this.#routesByServer.size,
      rateLimits: this.#rateLimits.size,
      rateLimitsByServer: this.#rateLimitsByServer.size,
    };
  }
}

function readRoute(kind: Kind, object: KubeObject): StoredRoute {
  return kind.kind === 'GRPCRoute'
    ? { kind: 'grpc', ...readGrpcRoute(object) }
    : { kind: 'http', ...readHttpRoute(object, kind) };
}

/** A Server is a parent in its own namespace only, and as a whole. */
function serversOf({ ref, parents }: Route): string[] {
  const servers = parents.filter(
    (parent) =>
      isServer(parent) &&
      parent.namespace === ref.namespace &&
      parent.port === undefined &&
      parent.sectionName === undefined,
  );
  return [...new Set(servers.map(({ namespace, name }) => `${namespace}/${name}`))];
}

function compareKinds(a: ObjectRef, b: ObjectRef): number {
  return refKey(a) < refKey(b) ? -1 : 1;
}
