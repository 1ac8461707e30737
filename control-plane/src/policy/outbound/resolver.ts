/** From what a client asks for to the policy for it, and to what that depends on. */
import { MeshError, SERVICES } from '@tulle/api';
import { type IpNetwork, networkContains, parseIp } from '@tulle/api/ip-address.ts';
import { type ObjectRef, objectRef } from '@tulle/api/object-ref.ts';
import type { WorkloadName } from '../../workloads/context-token.ts';
import {
  type Endpoint,
  externalEndpoint,
  isExternalPortOpaque,
  isPodPortOpaque,
  type MeshSettings,
  podEndpoint,
} from '../../workloads/endpoint.ts';
import { overlapsCluster } from '../../workloads/network-overlap.ts';
import { portProtocol, type Service } from '../../workloads/service.ts';
import type { WorkloadIndex } from '../../workloads/workload-index.ts';
import type { EgressNetworkSettings, OutboundIndex } from './outbound-index.ts';
import type { Address, OutboundPolicy, RoutedPolicy } from './outbound-policy.ts';
import type { ParentSettings } from './request-rules.ts';
import { chooseRoutes, chooseSplits } from './route-choice.ts';
import { type RestRoutes, ROUTE_KINDS, routedPolicy } from './routed-policy.ts';
import { EVERY_OTHER_REQUEST } from './split-set.ts';
import type { TopicSet } from './topic-set.ts';

export type OutboundTarget = ({ kind: 'ip' } & Address) | { kind: 'service'; key: string; port: number };

/** Who asks: a pod or an external workload. */
export type OutboundClient = WorkloadName;

export interface OutboundSettings {
  clusterNetworks: readonly IpNetwork[];
  /** EgressNetworks here hold for clients of every namespace that have none of their own. */
  globalEgressNetworkNamespace: string;
  allowsL5dRequestHeaders: boolean;
}

/** What a target is. */
export type Located =
  | { kind: 'service'; service: Service; port: number }
  | { kind: 'endpoint'; endpoint: Endpoint; isOpaque: boolean; clientZone?: string }
  | { kind: 'egress-network'; network: EgressNetworkSettings; address: Address }
  | { kind: 'external'; address: Address };

export class OutboundResolver {
  readonly #workloads: WorkloadIndex;
  readonly #index: OutboundIndex;
  readonly #mesh: MeshSettings;
  readonly #settings: OutboundSettings;

  constructor(workloads: WorkloadIndex, index: OutboundIndex, mesh: MeshSettings, settings: OutboundSettings) {
    this.#workloads = workloads;
    this.#index = index;
    this.#mesh = mesh;
    this.#settings = settings;
  }

  /** @throws MeshError `NOT_FOUND` for an address of the cluster, or a name, that is nothing: proxies then fall back. */
  locate(target: OutboundTarget, client: OutboundClient, topics: TopicSet): Located {
    if (target.kind === 'service') {
      const [namespace, name] = target.key.split('/') as [string, string];
      topics.addServiceSpec({ namespace, name });
      const service = this.#workloads.service(target.key);
      if (service && !service.isExternalName) return { kind: 'service', service, port: target.port };
      const why = service ? 'it is an external name' : 'no such service';
      throw new MeshError('NOT_FOUND', `outbound policy of service ${target.key}: ${why}`);
    }
    const { ip, port } = target;
    topics.addIp(ip);
    const service = this.#workloads.serviceByIp(ip);
    if (service) return { kind: 'service', service, port };
    const endpoint = this.#endpoint(ip, port);
    if (endpoint) {
      return { ...endpoint, clientZone: this.#clientZone(client, topics) };
    }
    const address = parseIp(ip);
    const { clusterNetworks, globalEgressNetworkNamespace } = this.#settings;
    if (!address || clusterNetworks.some((network) => networkContains(network, address))) {
      throw new MeshError('NOT_FOUND', `outbound policy of ${ip}: no service or pod has this address`);
    }
    const namespaces = [client.namespace, globalEgressNetworkNamespace];
    for (const namespace of namespaces) topics.addEgressNetworks(namespace);
    const [matched] = this.#index.egressNetworksOf(address, namespaces, clusterNetworks);
    if (matched) return { kind: 'egress-network', network: matched.network, address: { ip, port } };
    return { kind: 'external', address: { ip, port } };
  }

  /** Clients with the same key have the same policy. */
  shareKey(located: Located, client: OutboundClient): string {
    switch (located.kind) {
      case 'service': {
        const { service, port } = located;
        return `service/${service.key}:${port}${this.#consumerKey('service', service, client)}`;
      }
      case 'egress-network': {
        const { network, address } = located;
        const { namespace, name } = network.ref;
        const consumer = this.#consumerKey('egress', network.ref, client);
        return `egress/${namespace}/${name}/${address.ip}:${address.port}${consumer}`;
      }
      case 'endpoint':
        return `endpoint/${located.endpoint.ip}:${located.endpoint.port}@${located.clientZone ?? ''}`;
      case 'external':
        return `external/${located.address.ip}:${located.address.port}`;
    }
  }

  policy(located: Located, client: OutboundClient, topics: TopicSet): OutboundPolicy {
    switch (located.kind) {
      case 'service':
        return this.#servicePolicy(located.service, located.port, client, topics);
      case 'egress-network':
        return this.#egressPolicy(located.network, located.address, client, topics);
      case 'endpoint':
        topics.addIp(located.endpoint.ip);
        return { kind: 'endpoint', endpoint: located.endpoint, isOpaque: located.isOpaque };
      case 'external':
        return { kind: 'external', address: located.address };
    }
  }

  #consumerKey(
    kind: 'service' | 'egress',
    parent: { namespace: string; name: string },
    client: OutboundClient,
  ): string {
    const isConsumer = client.namespace !== parent.namespace;
    return isConsumer && this.#index.hasRoutesFrom(client.namespace, kind, parent) ? `@${client.namespace}` : '';
  }

  #clientZone(client: OutboundClient, topics: TopicSet): string | undefined {
    if (client.kind !== 'Pod') return undefined;
    const key = `${client.namespace}/${client.name}`;
    topics.addPod(key);
    const nodeName = this.#workloads.pod(key)?.nodeName;
    return nodeName === undefined ? undefined : this.#workloads.zone(nodeName);
  }

  #endpoint(ip: string, port: number): Extract<Located, { kind: 'endpoint' }> | undefined {
    const found = this.#workloads.podByAddress(ip, port);
    if (found) {
      const endpoint = podEndpoint(this.#workloads, this.#mesh, found.pod, found.address);
      const isOpaque = isPodPortOpaque(this.#workloads, this.#mesh, found.pod, found.address.port);
      return { kind: 'endpoint', endpoint, isOpaque };
    }
    const external = this.#workloads.externalWorkloadByIp(ip);
    if (!external) return undefined;
    const endpoint = externalEndpoint(this.#workloads, this.#mesh, external, { ip, port });
    const isOpaque = isExternalPortOpaque(this.#workloads, this.#mesh, external, port);
    return { kind: 'endpoint', endpoint, isOpaque };
  }

  #servicePolicy(service: Service, port: number, client: OutboundClient, topics: TopicSet): OutboundPolicy {
    const { namespace, name } = service;
    const parent = { kind: 'Service', namespace, name, port } as const;
    topics.addServiceSpec(service);
    topics.addRoutes('service', service);
    const opaquePorts = this.#workloads.namespace(namespace)?.opaquePorts ?? this.#mesh.defaultOpaquePorts;
    const declared = portProtocol(service, port, opaquePorts);
    if (declared === 'undefined') return { kind: 'undefined-port', parent };
    // Without an address of its own a Service is no parent: clients speak to its pods.
    const attached = service.clusterIps.length > 0 ? this.#index.attached('service', service) : [];
    const portName = service.ports.find((each) => each.port === port)?.name;
    const splits = this.#index.splitRoutes(service, port);
    const kinds = ROUTE_KINDS[declared];
    const choice = splits
      ? chooseSplits(splits, attached, kinds)
      : chooseRoutes(attached, { namespace, port, portName }, client.namespace, kinds);
    const penalty = declared === 'opaque' ? undefined : service.traffic.penalty;
    const context = { workloads: this.#workloads, index: this.#index, parent, penalty, topics };
    const settings = this.#parentSettings(objectRef({ metadata: { namespace, name } }, SERVICES), service.traffic);
    const rest = splits && splits.tcp.length === 0 ? BEHIND_SPLITS : OF_SERVICES;
    return routedPolicy(context, settings, declared, choice, rest);
  }

  #egressPolicy(
    network: EgressNetworkSettings,
    address: Address,
    client: OutboundClient,
    topics: TopicSet,
  ): RoutedPolicy {
    const { namespace, name } = network.ref;
    const { port } = address;
    topics.addEgressNetworks(namespace);
    topics.addRoutes('egress', network.ref);
    const declared = (network.opaquePorts ?? this.#mesh.defaultOpaquePorts).has(port) ? 'opaque' : 'detect';
    const attached = isAccepted(network, this.#settings.clusterNetworks)
      ? this.#index.attached('egress', network.ref)
      : [];
    const choice = chooseRoutes(attached, { namespace, port }, client.namespace, ROUTE_KINDS[declared]);
    const parent = { kind: 'EgressNetwork', namespace, name, port } as const;
    const context = { workloads: this.#workloads, index: this.#index, parent, address, topics };
    const settings = this.#parentSettings(network.ref, network.traffic);
    return routedPolicy(context, settings, declared, choice, OF_EGRESS[network.trafficPolicy]);
  }

  #parentSettings(ref: ObjectRef, traffic: ParentSettings['traffic']): ParentSettings {
    const allowsRequestHeaders = this.#settings.allowsL5dRequestHeaders;
    return { source: { kind: 'object', ref }, traffic, allowsRequestHeaders };
  }
}

/** As its status says. One that is not accepted still allows or denies, but takes no routes. */
export function isAccepted(
  { isReadable, networks = [] }: EgressNetworkSettings,
  clusterNetworks: readonly IpNetwork[],
): boolean {
  return isReadable && !overlapsCluster(networks, clusterNetworks);
}

const OF_SERVICES: RestRoutes = {
  names: { http: 'http', grpc: 'grpc', tls: 'tls', opaque: 'opaq' },
  isForbidden: false,
  isAlways: false,
};

const BEHIND_SPLITS: RestRoutes = { ...OF_SERVICES, httpMatch: EVERY_OTHER_REQUEST, isAlways: true };

const OF_EGRESS: Record<EgressNetworkSettings['trafficPolicy'], RestRoutes> = {
  Allow: egressRest('allow'),
  Deny: egressRest('deny'),
};

function egressRest(verdict: 'allow' | 'deny'): RestRoutes {
  const named = (what: string) => `${what}-egress-${verdict}`;
  const names = { http: named('http'), grpc: named('grpc'), tls: named('tls'), opaque: named('tcp') };
  return { names, isForbidden: verdict === 'deny', isAlways: true };
}
