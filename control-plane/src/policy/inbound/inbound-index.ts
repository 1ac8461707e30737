/**
 * The policy resources for connections that arrive: Servers, what authorizes their clients, their routes and limits.
 * Pure: takes the events of each kind in any order and says which workloads may have other answers now. What a Server
 * comes to is worked out when it is asked for and kept until something that it is made of changes.
 */
import {
  AUTHORIZATION_POLICIES,
  GRPC_ROUTES,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  HTTP_ROUTE_GROUPS,
  HTTP_ROUTES,
  type Kind,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  NETWORK_AUTHENTICATIONS,
  POLICY_HTTP_ROUTES,
  SERVER_AUTHORIZATIONS,
  SERVERS,
  SMI_TCP_ROUTES,
  TRAFFIC_TARGETS,
} from '@tulle/api';
import { objectRef, refKey } from '@tulle/api/object-ref.ts';
import type { NamedPorts } from '../../workloads/endpoint.ts';
import type { Pod } from '../../workloads/pod.ts';
import type { Topic, WorkloadIndex } from '../../workloads/workload-index.ts';
import { AttachmentSet } from './attachment-set.ts';
import {
  type AuthorizationKind,
  AuthorizationSet,
  type AuthorizationSettings,
  type AuthorizationTarget,
} from './authorization-set.ts';
import { type ResolvedServer, resolveServer } from './resolved-server.ts';
import { ServerSet } from './server-set.ts';
import { readServer, type StoredServer } from './stand-ins.ts';
import { type TrafficAccess, TrafficTargetSet } from './traffic-target-set.ts';
import { type WorkloadKey, type WorkloadRef, workloadKey, workloadOfTopic } from './workload.ts';

/** The kinds that `apply` takes. */
export const INBOUND_KINDS: readonly Kind[] = [
  SERVERS,
  SERVER_AUTHORIZATIONS,
  AUTHORIZATION_POLICIES,
  MESH_TLS_AUTHENTICATIONS,
  NETWORK_AUTHENTICATIONS,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  POLICY_HTTP_ROUTES,
  HTTP_ROUTES,
  GRPC_ROUTES,
];

/** Those of the Service Mesh Interface, which it takes too. */
export const SMI_INBOUND_KINDS: readonly Kind[] = [TRAFFIC_TARGETS, HTTP_ROUTE_GROUPS, SMI_TCP_ROUTES];

/** The topic of the policies of a workload's ports. */
export function inboundTopic(workload: WorkloadKey): Topic {
  return `inbound/${workload}`;
}

export class InboundIndex {
  readonly #servers = new ServerSet();
  readonly #authorizations: AuthorizationSet;
  readonly #attachments = new AttachmentSet();
  readonly #targets: TrafficTargetSet;
  readonly #resolved = new Map<string, ResolvedServer>();
  readonly #settings: AuthorizationSettings;

  constructor(settings: AuthorizationSettings) {
    this.#settings = settings;
    this.#authorizations = new AuthorizationSet(settings);
    this.#targets = new TrafficTargetSet(settings);
  }

  /** Topics whose answers may have changed. An object that cannot be read stays as one that refuses: it never throws. */
  apply(kind: Kind, type: 'set' | 'delete', object: KubeObject): ReadonlySet<Topic> {
    const topics = new Set<Topic>();
    const ref = objectRef(object, kind);
    const key = `${ref.namespace}/${ref.name}`;
    const set = type === 'set' ? object : undefined;
    switch (ref.kind) {
      case 'Server':
        this.#replaceServer(key, set && readServer(set), topics);
        break;
      case 'ServerAuthorization':
      case 'AuthorizationPolicy':
      case 'MeshTLSAuthentication':
      case 'NetworkAuthentication':
        for (const target of this.#authorizations.apply(ref.kind, key, set)) this.#touchTarget(target, topics);
        break;
      case 'HTTPRoute':
      case 'GRPCRoute':
        for (const server of this.#attachments.applyRoute(refKey(ref), kind, set)) this.#touch(server, topics);
        break;
      case 'HTTPLocalRateLimitPolicy':
        for (const server of this.#attachments.applyRateLimit(key, set)) this.#touch(server, topics);
        break;
      case 'TrafficTarget':
      case 'HTTPRouteGroup':
      case 'TCPRoute':
        for (const pod of this.#targets.apply(ref.kind, key, set)) topics.add(inboundTopic(pod));
    }
    return topics;
  }

  /** Tells of changed workloads by their topics; others are nothing to it. */
  refresh(topics: Iterable<Topic>, workloads: Pick<WorkloadIndex, 'pod' | 'externalWorkload'>): void {
    for (const topic of topics) {
      const ref = workloadOfTopic(topic);
      if (!ref) continue;
      const key = `${ref.namespace}/${ref.name}`;
      if (ref.kind === 'ExternalWorkload') {
        this.#servers.replaceWorkload(ref, workloads.externalWorkload(key)?.labels);
        continue;
      }
      const pod = workloads.pod(key);
      this.#servers.replaceWorkload(ref, pod?.labels);
      this.#targets.replacePod(workloadKey(ref), pod && `${pod.namespace}/${pod.serviceAccount}`);
    }
  }

  /** Whether the Server of a port says that nothing is to be detected on it. */
  isOpaque(ref: WorkloadRef, ports: NamedPorts, port: number): boolean {
    return this.serversOn(ref, ports, port)[0]?.protocol === 'opaque';
  }

  /** The Servers of a port, the one in force first. */
  serversOn(ref: WorkloadRef, ports: NamedPorts, port: number): StoredServer[] {
    return this.#servers.onPort(ref, ports, port);
  }

  /** What TrafficTargets let into a port of a pod that no Server selects; undefined where there are none for the pod. */
  trafficAccess({ namespace, serviceAccount, containerPorts }: Pod, port: number): TrafficAccess | undefined {
    return this.#targets.accessTo(`${namespace}/${serviceAccount}`, containerPorts, port);
  }

  resolve(server: StoredServer): ResolvedServer {
    const key = `${server.ref.namespace}/${server.ref.name}`;
    const known = this.#resolved.get(key);
    if (known) return known;
    const resolved = resolveServer(server, this.#authorizations, this.#attachments, this.#settings);
    this.#resolved.set(key, resolved);
    return resolved;
  }

  /** What of an object is not in force as it is written. */
  problems(kind: Kind, object: KubeObject): readonly string[] {
    const ref = objectRef(object, kind);
    const key = `${ref.namespace}/${ref.name}`;
    switch (ref.kind) {
      case 'Server': {
        const refused = this.#servers.get(key)?.refused;
        return refused === undefined ? [] : [`lets nobody in: ${refused}`];
      }
      case 'HTTPRoute':
      case 'GRPCRoute':
        return this.#attachments.route(refKey(ref))?.problems ?? [];
      case 'HTTPLocalRateLimitPolicy': {
        const refused = this.#attachments.rateLimit(key)?.refused;
        return refused === undefined ? [] : [`limits to the least there is: ${refused}`];
      }
      case 'TrafficTarget':
      case 'HTTPRouteGroup':
      case 'TCPRoute':
        return this.#targets.problems(ref.kind, key);
      default:
        return this.#authorizations.problems(ref.kind as AuthorizationKind, key);
    }
  }

  /** Number of objects and of index entries held, by table. */
  sizes(): Record<string, number> {
    return {
      ...this.#servers.sizes(),
      ...this.#authorizations.sizes(),
      ...this.#attachments.sizes(),
      ...this.#targets.sizes(),
      resolvedServers: this.#resolved.size,
    };
  }

  /** Where a Server is opaque, clients are to know: it also changes what they are told of the workload itself. */
  #replaceServer(key: string, server: StoredServer | undefined, topics: Set<Topic>): void {
    this.#resolved.delete(key);
    const hadOpaque = this.#servers.hasOpaque;
    for (const workload of this.#servers.replace(key, server)) {
      topics.add(inboundTopic(workload));
      if (hadOpaque || this.#servers.hasOpaque) topics.add(workload);
    }
  }

  #touchTarget(target: AuthorizationTarget, topics: Set<Topic>): void {
    const servers =
      target.kind === 'server'
        ? [target.key]
        : target.kind === 'namespace'
          ? this.#servers.inNamespace(target.namespace)
          : this.#attachments.serversOfRoute(target.key);
    for (const server of servers) this.#touch(server, topics);
  }

  #touch(server: string, topics: Set<Topic>): void {
    this.#resolved.delete(server);
    for (const workload of this.#servers.workloadsOf(server)) topics.add(inboundTopic(workload));
  }
}
