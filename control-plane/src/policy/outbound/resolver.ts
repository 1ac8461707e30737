/** From what a client asks for to the policy for it, and to what that depends on. */
import { MeshError, SERVICES } from '@tulle/api';
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
import { type IpNetwork, networkContains, parseIp } from '../../workloads/ip-address.ts';
import { portProtocol, type Service } from '../../workloads/service.ts';
import type { WorkloadIndex } from '../../workloads/workload-index.ts';
import type { BackendContext } from './backends.ts';
import { connectionRoute, defaultConnectionRoute } from './connection-rules.ts';
import type { AnyRoute, EgressNetworkSettings, OutboundIndex } from './outbound-index.ts';
import { type Address, NOT_ALLOWED, type OutboundPolicy, type RoutedPolicy } from './outbound-policy.ts';
import { defaultGrpcRoute, defaultHttpRoute, grpcRoute, httpRoute, type ParentSettings } from './request-rules.ts';
import { chooseRoutes, type RouteChoice } from './route-choice.ts';
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
      if (service) return { kind: 'service', service, port: target.port };
      throw new MeshError('NOT_FOUND', `outbound policy of service ${target.key}: no such service`);
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
    const network = this.#index.egressNetworkOf(address, namespaces, clusterNetworks);
    if (network) return { kind: 'egress-network', network, address: { ip, port } };
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
    const choice = chooseRoutes(attached, { namespace, port, portName }, client.namespace, KINDS[declared]);
    const context = { workloads: this.#workloads, index: this.#index, parent, topics };
    const settings = this.#parentSettings(objectRef({ metadata: { namespace, name } }, SERVICES), service.traffic);
    return routedPolicy(context, settings, declared, choice, (routes) => {
      if (routes.length > 0) return undefined;
      return { http: 'http', grpc: 'grpc', opaque: 'opaque', tls: 'tls', isForbidden: false };
    });
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
    const declared = network.opaquePorts.has(port) ? 'opaque' : 'detect';
    const attached = this.#index.attached('egress', network.ref);
    const choice = chooseRoutes(attached, { namespace, port }, client.namespace, KINDS[declared]);
    const parent = { kind: 'EgressNetwork', namespace, name, port } as const;
    const context = { workloads: this.#workloads, index: this.#index, parent, address, topics };
    const settings = this.#parentSettings(network.ref, network.traffic);
    const verdict = network.trafficPolicy === 'Allow' ? 'allow' : 'deny';
    const named = (what: string) => `${what}-egress-${verdict}`;
    const names = { http: named('http'), grpc: named('grpc'), opaque: named('tcp'), tls: named('tls') };
    return routedPolicy(context, settings, declared, choice, () => ({ ...names, isForbidden: verdict === 'deny' }));
  }

  #parentSettings(ref: ObjectRef, traffic: ParentSettings['traffic']): ParentSettings {
    const allowsRequestHeaders = this.#settings.allowsL5dRequestHeaders;
    return { source: { kind: 'object', ref }, traffic, allowsRequestHeaders };
  }
}

type Declared = 'detect' | 'opaque' | 'http1' | 'http2';

/** The kinds of routes that can be in force on a port of the protocol. */
const KINDS: Record<Declared, AnyRoute['kind'][]> = {
  detect: ['grpc', 'http', 'tls', 'tcp'],
  opaque: ['tcp'],
  http1: ['http'],
  http2: ['grpc', 'http'],
};

/** Names of the routes that take what no attached route takes. */
interface DefaultNames {
  http: string;
  grpc: string;
  opaque: string;
  tls: string;
  isForbidden: boolean;
}

/** `defaults` says, for the routes of a kind that are in force, whether one that takes the rest follows them. */
function routedPolicy(
  context: BackendContext,
  settings: ParentSettings,
  declared: Declared,
  { routes, shadowed }: RouteChoice,
  defaults: (routes: readonly unknown[]) => DefaultNames | undefined,
): RoutedPolicy {
  const of = <K extends AnyRoute['kind']>(kind: K) =>
    routes.filter((one): one is Extract<AnyRoute, { kind: K }> => one.kind === kind);
  const winner = routes[0]?.kind;
  const protocol = protocolOf(declared, winner);
  const failure = (names: DefaultNames) => (names.isForbidden ? NOT_ALLOWED : undefined);
  const isHttp = protocol === 'detect' || protocol === 'http1' || protocol === 'http2';
  const http = of('http').map(({ route }) => httpRoute(context, settings, route));
  const grpc = of('grpc').map(({ route }) => grpcRoute(context, settings, route));
  const tls = of('tls').map(({ route }) => connectionRoute(context, route));
  const opaque = of('tcp').map(({ route }) => connectionRoute(context, route));
  const ofHttp = isHttp ? defaults(http) : undefined;
  if (ofHttp) http.push(defaultHttpRoute(context, settings, ofHttp.http, failure(ofHttp)));
  const ofGrpc = protocol === 'grpc' ? defaults(grpc) : undefined;
  if (ofGrpc) grpc.push(defaultGrpcRoute(context, settings, ofGrpc.grpc, failure(ofGrpc)));
  const ofTls = protocol === 'tls' ? defaults(tls) : undefined;
  if (ofTls) tls.push(defaultConnectionRoute(context, ofTls.tls, ofTls.isForbidden));
  const ofOpaque = protocol === 'opaque' || protocol === 'detect' ? defaults(opaque) : undefined;
  if (ofOpaque) opaque.push(defaultConnectionRoute(context, ofOpaque.opaque, ofOpaque.isForbidden));
  const { parent } = context;
  return { kind: 'routed', parent, protocol, accrual: settings.traffic.accrual, http, grpc, tls, opaque, shadowed };
}

function protocolOf(declared: Declared, winner: AnyRoute['kind'] | undefined): RoutedPolicy['protocol'] {
  if (winner === 'grpc') return 'grpc';
  if (declared !== 'detect') return declared;
  if (winner === 'tls') return 'tls';
  return winner === 'tcp' ? 'opaque' : 'detect';
}
