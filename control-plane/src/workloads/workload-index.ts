/**
 * The cluster as the mesh sees it: pods and their owners, nodes' zones, Services, their slices, namespaces. Pure: takes
 * watch events in any order, answers look-ups, and says with each event which topics may have other answers now.
 */
import { isIP, isIPv6 } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type {
  EndpointSlice as KubeEndpointSlice,
  KubeObject,
  Pod as KubePod,
  Service as KubeService,
} from '@tulle/api';
import { type ExternalWorkload, parseExternalWorkload } from '@tulle/api/external-workload.ts';
import { canonicalIp } from '@tulle/api/ip-address.ts';
import type { WorkloadName } from './context-token.ts';
import { type EndpointSlice, parseEndpointSlice } from './endpoint-slice.ts';
import { ZONE_LABEL } from './mesh-names.ts';
import { MultiMap } from './multi-map.ts';
import { type NamespaceSettings, parseNamespace } from './namespace.ts';
import { type Pod, parsePod } from './pod.ts';
import { parseService, type Service } from './service.ts';

export const WORKLOAD_KINDS = [
  'Pod',
  'ExternalWorkload',
  'Service',
  'EndpointSlice',
  'ReplicaSet',
  'Job',
  'Node',
  'Namespace',
] as const;
export type WorkloadKind = (typeof WORKLOAD_KINDS)[number];

export interface WorkloadEvent {
  kind: WorkloadKind;
  type: 'set' | 'delete';
  object: KubeObject;
}

/** `service/ns/name`, `pod/ns/name`, `external/ns/name`, `ip/address`, `node/name`; indexes of other kinds add their own. */
export type Topic = `${string}/${string}`;

/** Changes with the Service's object, and not with its endpoints. */
export const serviceSpecTopic = (key: string): Topic => `service-spec/${key}`;

/** Changes when a workload outside the cluster has an identity that no other had, or was the last to have one. */
export const EXTERNAL_IDENTITIES_TOPIC: Topic = 'externals/identities';

export interface Owner {
  kind: string;
  name: string;
}

export class WorkloadIndex {
  readonly #pods = new Map<string, Pod>();
  readonly #externals = new Map<string, ExternalWorkload>();
  readonly #services = new Map<string, Service>();
  readonly #slices = new Map<string, EndpointSlice>();
  readonly #namespaces = new Map<string, NamespaceSettings>();
  /** What owns a ReplicaSet or Job, by `Kind/ns/name`. */
  readonly #owners = new Map<string, Owner>();
  readonly #zones = new Map<string, string>();

  readonly #podsByNamespace = new MultiMap<string, string>();
  readonly #podsByIp = new MultiMap<string, string>();
  readonly #podsByOwner = new MultiMap<string, string>();
  readonly #podsByNode = new MultiMap<string, string>();
  readonly #externalsByNamespace = new MultiMap<string, string>();
  readonly #externalsByIp = new MultiMap<string, string>();
  readonly #externalsByIdentity = new MultiMap<string, string>();
  readonly #servicesByNamespace = new MultiMap<string, string>();
  readonly #servicesByIp = new MultiMap<string, string>();
  readonly #slicesByService = new MultiMap<string, string>();
  readonly #slicesByPod = new MultiMap<string, string>();
  readonly #slicesByExternal = new MultiMap<string, string>();

  /** Topics whose answers may have changed: none where nothing changed that is read of an object. */
  apply(event: WorkloadEvent): ReadonlySet<Topic> {
    const topics = new Set<Topic>();
    const isSet = event.type === 'set';
    const { metadata } = event.object;
    const key = `${metadata.namespace ?? 'default'}/${metadata.name}`;
    switch (event.kind) {
      case 'Pod':
        this.#replacePod(key, isSet ? parsePod(event.object as KubePod) : undefined, topics);
        break;
      case 'ExternalWorkload':
        this.#replaceExternal(key, isSet ? parseExternalWorkload(event.object) : undefined, topics);
        break;
      case 'Service':
        this.#replaceService(key, isSet ? parseService(event.object as KubeService) : undefined, topics);
        break;
      case 'EndpointSlice':
        this.#replaceSlice(key, isSet ? parseEndpointSlice(event.object as KubeEndpointSlice) : undefined, topics);
        break;
      case 'ReplicaSet':
      case 'Job':
        this.#replaceOwner(`${event.kind}/${key}`, isSet ? controllerOf(event.object) : undefined, topics);
        break;
      case 'Node':
        this.#replaceZone(metadata.name, isSet ? metadata.labels?.[ZONE_LABEL] : undefined, topics);
        break;
      case 'Namespace':
        this.#replaceNamespace(metadata.name, isSet ? parseNamespace(event.object) : undefined, topics);
    }
    return topics;
  }

  pod(key: string): Pod | undefined {
    return this.#pods.get(key);
  }

  externalWorkload(key: string): ExternalWorkload | undefined {
    return this.#externals.get(key);
  }

  /** Of several with an address, the one whose name comes first. */
  externalWorkloadByIp(ip: string): ExternalWorkload | undefined {
    const [key] = [...this.#externalsByIp.get(canonicalIp(ip))].sort();
    return key === undefined ? undefined : this.#externals.get(key);
  }

  /** Of all workloads outside the cluster, each once, in order. */
  externalIdentities(): string[] {
    return [...this.#externalsByIdentity.keys()].sort();
  }

  service(key: string): Service | undefined {
    return this.#services.get(key);
  }

  namespace(name: string): NamespaceSettings | undefined {
    return this.#namespaces.get(name);
  }

  /** Topics of the answers that depend on a workload. */
  topicsOf({ kind, namespace, name }: WorkloadName): ReadonlySet<Topic> {
    const topics = new Set<Topic>();
    const pod = kind === 'Pod' ? this.#pods.get(`${namespace}/${name}`) : undefined;
    if (pod) this.#touchPod(pod, topics);
    if (kind === 'ExternalWorkload') this.#touchExternal(`${namespace}/${name}`, topics);
    return topics;
  }

  /** What could not be read of an object's annotations. */
  problems(kind: WorkloadKind, object: KubeObject): readonly string[] {
    const { name, namespace = 'default' } = object.metadata;
    const key = `${namespace}/${name}`;
    const parsed = {
      Pod: this.#pods.get(key),
      Service: this.#services.get(key),
      Namespace: this.#namespaces.get(name),
    };
    return (parsed as Partial<Record<WorkloadKind, { problems: readonly string[] }>>)[kind]?.problems ?? [];
  }

  zone(nodeName: string): string | undefined {
    return this.#zones.get(nodeName);
  }

  slices(serviceKey: string): EndpointSlice[] {
    return [...this.#slicesByService.get(serviceKey)].sort().map((key) => this.#slices.get(key)!);
  }

  serviceByIp(ip: string): Service | undefined {
    const [key] = [...this.#servicesByIp.get(canonicalIp(ip))].sort();
    return key === undefined ? undefined : this.#services.get(key);
  }

  /** The pod that answers on an address, by its own IP or by a port of its host, and where to reach it directly. */
  podByAddress(ip: string, port: number): { pod: Pod; address: { ip: string; port: number } } | undefined {
    const wanted = canonicalIp(ip);
    const candidates = [...this.#podsByIp.get(wanted)].sort().map((key) => this.#pods.get(key)!);
    const running = candidates.filter((pod) => !pod.isTerminal);
    const own = running.filter((pod) => !pod.isHostNetwork && pod.ips.some((podIp) => canonicalIp(podIp) === wanted));
    const pod = own.find((candidate) => !candidate.isTerminating) ?? own[0];
    if (pod) return { pod, address: { ip: wanted, port } };
    for (const candidate of running) {
      for (const { port: containerPort, hostPort } of candidate.containerPorts) {
        if (candidate.isHostNetwork && containerPort === port) {
          return { pod: candidate, address: { ip: wanted, port } };
        }
        const family = isIPv6(wanted) ? 6 : 4;
        const podIp = candidate.ips.find((other) => isIP(other) === family);
        if (!candidate.isHostNetwork && hostPort === port && podIp) {
          return { pod: candidate, address: { ip: podIp, port: containerPort } };
        }
      }
    }
    return undefined;
  }

  /** The workload that a pod belongs to: past ReplicaSets and Jobs, to what owns them. Undefined for a pod of its own. */
  workloadOf(pod: Pod): Owner | undefined {
    if (!pod.owner) return undefined;
    return this.#owners.get(`${pod.owner.kind}/${pod.namespace}/${pod.owner.name}`) ?? pod.owner;
  }

  /** Number of objects and of index entries held, by table. */
  sizes(): Record<string, number> {
    return {
      pods: this.#pods.size,
      externals: this.#externals.size,
      services: this.#services.size,
      slices: this.#slices.size,
      namespaces: this.#namespaces.size,
      owners: this.#owners.size,
      zones: this.#zones.size,
      podsByNamespace: this.#podsByNamespace.size,
      podsByIp: this.#podsByIp.size,
      podsByOwner: this.#podsByOwner.size,
      podsByNode: this.#podsByNode.size,
      externalsByNamespace: this.#externalsByNamespace.size,
      externalsByIp: this.#externalsByIp.size,
      externalsByIdentity: this.#externalsByIdentity.size,
      servicesByNamespace: this.#servicesByNamespace.size,
      servicesByIp: this.#servicesByIp.size,
      slicesByService: this.#slicesByService.size,
      slicesByPod: this.#slicesByPod.size,
      slicesByExternal: this.#slicesByExternal.size,
    };
  }

  #replacePod(key: string, pod: Pod | undefined, topics: Set<Topic>): void {
    const old = this.#pods.get(key);
    if (isDeepStrictEqual(old, pod)) return;
    if (old) {
      this.#touchPod(old, topics);
      for (const ip of addressesOf(old)) this.#podsByIp.delete(ip, key);
      if (old.owner) this.#podsByOwner.delete(ownerKey(old), key);
      this.#podsByNode.delete(old.nodeName, key);
      this.#podsByNamespace.delete(old.namespace, key);
      this.#pods.delete(key);
    }
    if (!pod) return;
    this.#pods.set(key, pod);
    for (const ip of addressesOf(pod)) this.#podsByIp.add(ip, key);
    if (pod.owner) this.#podsByOwner.add(ownerKey(pod), key);
    this.#podsByNode.add(pod.nodeName, key);
    this.#podsByNamespace.add(pod.namespace, key);
    this.#touchPod(pod, topics);
  }

  #touchPod(pod: Pod, topics: Set<Topic>): void {
    topics.add(`pod/${pod.key}`);
    for (const ip of addressesOf(pod)) topics.add(`ip/${ip}`);
    for (const sliceKey of this.#slicesByPod.get(pod.key)) {
      topics.add(`service/${this.#slices.get(sliceKey)!.serviceKey}`);
    }
  }

  #replaceExternal(key: string, external: ExternalWorkload | undefined, topics: Set<Topic>): void {
    const old = this.#externals.get(key);
    if (isDeepStrictEqual(old, external)) return;
    const count = this.#externalsByIdentity.size;
    if (external) this.#externalsByIdentity.add(external.identity, key);
    const isNew = this.#externalsByIdentity.size !== count;
    if (old && old.identity !== external?.identity) this.#externalsByIdentity.delete(old.identity, key);
    const isGone = this.#externalsByIdentity.size !== count + Number(isNew);
    if (isNew || isGone) topics.add(EXTERNAL_IDENTITIES_TOPIC);
    for (const ip of old?.ips ?? []) this.#externalsByIp.delete(ip, key);
    if (old) this.#externalsByNamespace.delete(old.ref.namespace, key);
    if (external) this.#externals.set(key, external);
    else this.#externals.delete(key);
    for (const ip of external?.ips ?? []) this.#externalsByIp.add(ip, key);
    if (external) this.#externalsByNamespace.add(external.ref.namespace, key);
    for (const ip of old?.ips ?? []) topics.add(`ip/${ip}`);
    this.#touchExternal(key, topics);
  }

  #touchExternal(key: string, topics: Set<Topic>): void {
    topics.add(`external/${key}`);
    for (const ip of this.#externals.get(key)?.ips ?? []) topics.add(`ip/${ip}`);
    for (const slice of this.#slicesByExternal.get(key)) topics.add(`service/${this.#slices.get(slice)!.serviceKey}`);
  }

  #replaceService(key: string, service: Service | undefined, topics: Set<Topic>): void {
    const old = this.#services.get(key);
    if (isDeepStrictEqual(old, service)) return;
    if (old) {
      this.#touchService(old, topics);
      for (const ip of old.clusterIps) this.#servicesByIp.delete(canonicalIp(ip), key);
      this.#servicesByNamespace.delete(old.namespace, key);
      this.#services.delete(key);
    }
    if (!service) return;
    this.#services.set(key, service);
    for (const ip of service.clusterIps) this.#servicesByIp.add(canonicalIp(ip), key);
    this.#servicesByNamespace.add(service.namespace, key);
    this.#touchService(service, topics);
  }

  #touchService(service: Service, topics: Set<Topic>): void {
    topics.add(`service/${service.key}`);
    topics.add(serviceSpecTopic(service.key));
    for (const ip of service.clusterIps) topics.add(`ip/${canonicalIp(ip)}`);
  }

  #replaceSlice(key: string, slice: EndpointSlice | undefined, topics: Set<Topic>): void {
    const old = this.#slices.get(key);
    if (isDeepStrictEqual(old, slice)) return;
    if (old) {
      topics.add(`service/${old.serviceKey}`);
      this.#slicesByService.delete(old.serviceKey, key);
      for (const { podKey, externalKey } of old.members) {
        if (podKey) this.#slicesByPod.delete(podKey, key);
        if (externalKey) this.#slicesByExternal.delete(externalKey, key);
      }
      this.#slices.delete(key);
    }
    if (!slice) return;
    this.#slices.set(key, slice);
    this.#slicesByService.add(slice.serviceKey, key);
    for (const { podKey, externalKey } of slice.members) {
      if (podKey) this.#slicesByPod.add(podKey, key);
      if (externalKey) this.#slicesByExternal.add(externalKey, key);
    }
    topics.add(`service/${slice.serviceKey}`);
  }

  #replaceOwner(key: string, owner: Owner | undefined, topics: Set<Topic>): void {
    const old = this.#owners.get(key);
    if (old?.kind === owner?.kind && old?.name === owner?.name) return;
    if (owner) this.#owners.set(key, owner);
    else this.#owners.delete(key);
    for (const podKey of this.#podsByOwner.get(key)) this.#touchPod(this.#pods.get(podKey)!, topics);
  }

  #replaceZone(nodeName: string, zone: string | undefined, topics: Set<Topic>): void {
    if (this.#zones.get(nodeName) === zone) return;
    if (zone === undefined) this.#zones.delete(nodeName);
    else this.#zones.set(nodeName, zone);
    topics.add(`node/${nodeName}`);
    for (const podKey of this.#podsByNode.get(nodeName)) this.#touchPod(this.#pods.get(podKey)!, topics);
  }

  #replaceNamespace(name: string, settings: NamespaceSettings | undefined, topics: Set<Topic>): void {
    const old = this.#namespaces.get(name);
    if (settings) this.#namespaces.set(name, settings);
    else this.#namespaces.delete(name);
    const pods = this.#podsByNamespace.get(name);
    const externals = this.#externalsByNamespace.get(name);
    if (!isDeepStrictEqual(old?.opaquePorts, settings?.opaquePorts)) {
      for (const key of pods) this.#touchPod(this.#pods.get(key)!, topics);
      for (const key of externals) this.#touchExternal(key, topics);
      for (const key of this.#servicesByNamespace.get(name)) this.#touchService(this.#services.get(key)!, topics);
    } else if (old?.defaultInboundPolicy !== settings?.defaultInboundPolicy) {
      // Clients need not know who is let in.
      for (const key of pods) topics.add(`pod/${key}`);
      for (const key of externals) topics.add(`external/${key}`);
    }
  }
}

function ownerKey(pod: Pod): string {
  return `${pod.owner?.kind}/${pod.namespace}/${pod.owner?.name}`;
}

function controllerOf(object: KubeObject): Owner | undefined {
  const reference = object.metadata.ownerReferences?.find((candidate) => candidate.controller);
  return reference && { kind: reference.kind, name: reference.name };
}

/** Addresses by which a pod may be looked up: its own, and its host's where it takes a port there. */
function addressesOf(pod: Pod): Set<string> {
  const takesHostPort = pod.containerPorts.some(({ hostPort }) => hostPort !== undefined);
  return new Set([...pod.ips, ...(takesHostPort ? pod.hostIps : [])].map(canonicalIp));
}
