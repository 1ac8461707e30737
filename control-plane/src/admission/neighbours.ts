/**
 * What is in the cluster beside an object that is written, as far as its author would be surprised: Servers that take
 * the same port, profiles and routes that hide one another, what authorizations name and is not there. Pure.
 */
import { type KubeObject, objectKey } from '@tulle/api';
import { selectorMatches } from '@tulle/api/label-selector.ts';
import { byAge, groupOf } from '@tulle/api/object-ref.ts';
import { parseAuthorizationPolicy } from '@tulle/api/policy/authorization-policy.ts';
import { parseServer, type Server } from '@tulle/api/policy/server.ts';
import { parseServerAuthorization } from '@tulle/api/policy/server-authorization.ts';
import { parseServiceProfile } from '@tulle/api/service-profile.ts';
import { type Pod, parsePod } from '../workloads/pod.ts';

type Objects = Map<string, KubeObject>;

/** Pods that a Server is compared on; where it selects more, an overlap on the rest alone is not seen. */
const PODS_COMPARED_MAX = 200;
const NAMES_TOLD_MAX = 3;

export class Neighbours {
  /** By `group/kind`, then by namespace, then by name. The objects are the watch's own. */
  readonly #objects = new Map<string, Map<string, Objects>>();
  readonly #clusterDomain: string;

  constructor(clusterDomain: string) {
    this.#clusterDomain = clusterDomain;
  }

  apply(type: 'set' | 'delete', object: KubeObject): void {
    const kind = `${groupOf(object.apiVersion ?? '')}/${object.kind}`;
    const namespace = object.metadata.namespace ?? '';
    const namespaces = this.#objects.get(kind) ?? new Map<string, Objects>();
    const objects = namespaces.get(namespace) ?? new Map<string, KubeObject>();
    if (type === 'set') {
      this.#objects.set(kind, namespaces.set(namespace, objects.set(object.metadata.name, object)));
      return;
    }
    objects.delete(object.metadata.name);
    if (objects.size === 0) namespaces.delete(namespace);
    if (namespaces.size === 0) this.#objects.delete(kind);
  }

  /** For an object that its parser takes. */
  warnings(object: KubeObject): string[] {
    switch (`${groupOf(object.apiVersion ?? '')}/${object.kind}`) {
      case 'policy.linkerd.io/Server':
        return this.#server(object);
      case 'policy.linkerd.io/ServerAuthorization':
        return this.#serverAuthorization(object);
      case 'policy.linkerd.io/AuthorizationPolicy':
        return this.#authorizationPolicy(object);
      case 'linkerd.io/ServiceProfile':
        return this.#serviceProfile(object);
      case 'policy.linkerd.io/HTTPRoute':
      case 'gateway.networking.k8s.io/HTTPRoute':
      case 'gateway.networking.k8s.io/GRPCRoute':
        return this.#route(object);
      default:
        return [];
    }
  }

  /** Number of objects held. */
  size(): number {
    const counts = [...this.#objects.values()].flatMap((namespaces) =>
      [...namespaces.values()].map(({ size }) => size),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  #server(object: KubeObject): string[] {
    const server = parseServer(object);
    const mine = server.workloads.kind === 'Pod' ? this.#podsOf(server) : [];
    return [...this.#in('policy.linkerd.io/Server', server.ref.namespace)].flatMap((other) => {
      if (other.metadata.name === server.ref.name) return [];
      const rival = readOrSkip(() => parseServer(other));
      if (rival?.workloads.kind !== server.workloads.kind) return [];
      const place = sharedPort(server, rival, mine);
      if (place === undefined) return [];
      const [winner, loser] = byAge(server.ref, rival.ref) < 0 ? [server, rival] : [rival, server];
      const why = winner.ref.createdAtMs < loser.ref.createdAtMs ? 'is older' : 'comes first by name';
      const [first, second] = [winner.ref.name, loser.ref.name];
      return [
        `Servers ${first} and ${second} both take ${place}: ${first} wins, for it ${why}, and ${second} has no effect there`,
      ];
    });
  }

  #podsOf({ workloads, ref }: Server): Pod[] {
    const pods: Pod[] = [];
    for (const pod of this.#in('/Pod', ref.namespace)) {
      if (!selectorMatches(workloads.selector, pod.metadata.labels ?? {})) continue;
      pods.push(parsePod(pod as Parameters<typeof parsePod>[0]));
      if (pods.length === PODS_COMPARED_MAX) break;
    }
    return pods;
  }

  #serverAuthorization(object: KubeObject): string[] {
    const { ref, server } = parseServerAuthorization(object);
    const servers = [...this.#in('policy.linkerd.io/Server', ref.namespace)];
    if ('name' in server) {
      if (servers.some(({ metadata }) => metadata.name === server.name)) return [];
      return [
        `there is no Server ${ref.namespace}/${server.name} yet: until there is, this ServerAuthorization has no effect`,
      ];
    }
    if (servers.some(({ metadata }) => selectorMatches(server.selector, metadata.labels ?? {}))) return [];
    return [
      `spec.server.selector selects no Server of namespace ${ref.namespace} yet: until it does, this ServerAuthorization has no effect`,
    ];
  }

  #authorizationPolicy(object: KubeObject): string[] {
    const { ref, target, required } = parseAuthorizationPolicy(object);
    const warnings: string[] = [];
    if (target.kind !== 'Namespace' && !this.#has(`${target.group}/${target.kind}`, ref.namespace, target.name)) {
      warnings.push(
        `there is no ${target.kind} ${ref.namespace}/${target.name} yet: until there is, this AuthorizationPolicy has no effect`,
      );
    }
    for (const { kind, namespace, name } of required) {
      if (kind === 'ServiceAccount' || this.#has(`policy.linkerd.io/${kind}`, namespace, name)) continue;
      warnings.push(
        `there is no ${kind} ${namespace}/${name} yet: until there is, this AuthorizationPolicy authorizes nobody`,
      );
    }
    return warnings;
  }

  #serviceProfile(object: KubeObject): string[] {
    const { routes, dstOverrides, ref } = parseServiceProfile(object);
    if (routes.length === 0 && dstOverrides.length === 0) return [];
    const [name = '', namespace = ''] = ref.name.split('.');
    if (ref.name !== this.#profileName(namespace, name)) return [];
    const hidden = ROUTE_KINDS.flatMap((kind) => [...this.#all(kind)]).filter((route) =>
      hasServiceParent(route, namespace, name),
    );
    if (hidden.length === 0) return [];
    const names = hidden.slice(0, NAMES_TOLD_MAX).map((route) => `${route.kind} ${objectKey(route)}`);
    const more = hidden.length > names.length ? ` and ${hidden.length - names.length} more` : '';
    return [
      `this ServiceProfile hides ${names.join(', ')}${more}: proxies follow a profile with routes, and no other route of its Service`,
    ];
  }

  #route(object: KubeObject): string[] {
    const profiles = this.#objects.get('linkerd.io/ServiceProfile');
    if (!profiles) return [];
    return serviceParents(object).flatMap(({ namespace, name }) => {
      const profileName = this.#profileName(namespace, name);
      for (const place of new Set([namespace, object.metadata.namespace ?? ''])) {
        const profile = profiles.get(place)?.get(profileName);
        const parsed = profile && readOrSkip(() => parseServiceProfile(profile));
        if (!parsed || parsed.routes.length + parsed.dstOverrides.length === 0) continue;
        return [
          `ServiceProfile ${place}/${profileName} hides this route: proxies follow a profile with routes, and no other route of its Service`,
        ];
      }
      return [];
    });
  }

  #profileName(namespace: string, name: string): string {
    return `${name}.${namespace}.svc.${this.#clusterDomain}`;
  }

  #has(kind: string, namespace: string, name: string): boolean {
    return this.#objects.get(kind)?.get(namespace)?.has(name) ?? false;
  }

  #in(kind: string, namespace: string): Iterable<KubeObject> {
    return this.#objects.get(kind)?.get(namespace)?.values() ?? [];
  }

  *#all(kind: string): Iterable<KubeObject> {
    for (const objects of this.#objects.get(kind)?.values() ?? []) yield* objects.values();
  }
}

const ROUTE_KINDS = [
  'policy.linkerd.io/HTTPRoute',
  'gateway.networking.k8s.io/HTTPRoute',
  'gateway.networking.k8s.io/GRPCRoute',
];

/** Where both take a port, in words; undefined where they do not. Two that are written alike do so before there are pods. */
function sharedPort(a: Server, b: Server, podsOfA: readonly Pod[]): string | undefined {
  for (const pod of podsOfA) {
    if (!selectorMatches(b.workloads.selector, pod.labels)) continue;
    const port = portsOf(a, pod).find((one) => portsOf(b, pod).includes(one));
    if (port !== undefined) return `port ${port} of pod ${pod.name}`;
  }
  const isAlike = a.port === b.port && JSON.stringify(a.workloads) === JSON.stringify(b.workloads);
  return isAlike
    ? `port ${a.port} of the same ${a.workloads.kind === 'Pod' ? 'pods' : 'external workloads'}`
    : undefined;
}

function portsOf({ port }: Server, { containerPorts }: Pod): number[] {
  return typeof port === 'number' ? [port] : containerPorts.flatMap((one) => (one.name === port ? [one.port] : []));
}

function serviceParents({ spec, metadata }: KubeObject): { namespace: string; name: string }[] {
  const parents = Array.isArray(spec?.parentRefs) ? (spec.parentRefs as Record<string, string>[]) : [];
  return parents.flatMap((parent) => {
    if (parent?.kind !== 'Service' || (parent.group !== '' && parent.group !== 'core')) return [];
    return [{ namespace: parent.namespace ?? metadata.namespace ?? '', name: parent.name ?? '' }];
  });
}

function hasServiceParent(route: KubeObject, namespace: string, name: string): boolean {
  return serviceParents(route).some((parent) => parent.namespace === namespace && parent.name === name);
}

/** Of objects that came before this webhook, some may not be readable: they say nothing. */
function readOrSkip<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
