/** For tests: a cluster of literals with routes, and what it answers proxies that ask for outbound policies, as JSON. */
import { fromBinary, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import type { KubeObject } from '@tulle/api';
import { OutboundPolicySchema } from '@tulle/api/gen/outbound_pb.ts';
import { OutboundPolicySchema as OverlaySchema } from '@tulle/api/gen/tulle/overlay_pb.ts';
import { parseNetwork } from '@tulle/api/ip-address.ts';
import { OutboundIndex, type OutboundKind } from '../policy/outbound/outbound-index.ts';
import type { OutboundPolicy } from '../policy/outbound/outbound-policy.ts';
import { OutboundResolver, type OutboundTarget } from '../policy/outbound/resolver.ts';
import { SharedPolicies } from '../policy/outbound/shared-policies.ts';
import { TopicSet } from '../policy/outbound/topic-set.ts';
import { PortSet } from '../workloads/port-set.ts';
import { Subscriptions } from '../workloads/subscriptions.ts';
import { type Topic, WORKLOAD_KINDS, WorkloadIndex, type WorkloadKind } from '../workloads/workload-index.ts';
import { service } from './objects.ts';

export const MESH = {
  controllerNamespace: 'linkerd',
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  defaultOpaquePorts: new PortSet([{ from: 3306, to: 3306 }]),
  isH2UpgradeEnabled: true,
  outboundTransportMode: 'transport-header',
  isIpv6Enabled: true,
} as const;

export type WorldKind = OutboundKind | WorkloadKind;
export type WorldObject = readonly [kind: WorldKind, object: KubeObject];

export class OutboundWorld {
  readonly workloads = new WorkloadIndex();
  readonly index = new OutboundIndex();
  readonly subscriptions = new Subscriptions();
  readonly resolver = new OutboundResolver(this.workloads, this.index, MESH, {
    clusterNetworks: [parseNetwork('10.0.0.0/8')!, parseNetwork('fd00::/8')!],
    globalEgressNetworkNamespace: 'linkerd-egress',
    allowsL5dRequestHeaders: false,
  });
  readonly policies = new SharedPolicies(this.resolver, this.subscriptions, MESH.clusterDomain);

  constructor(objects: readonly WorldObject[] = []) {
    for (const object of objects) this.set(...object);
  }

  set(kind: WorldKind, object: KubeObject): ReadonlySet<Topic> {
    return this.#apply(kind, 'set', object);
  }

  delete(kind: WorldKind, object: KubeObject): ReadonlySet<Topic> {
    return this.#apply(kind, 'delete', object);
  }

  /** `10.96.0.1:80`, or `ns/name:80` for a Service by its name; the client is a pod `client` of the namespace. */
  wire(target: string, namespace = 'app'): JsonValue {
    return toJson(OutboundPolicySchema, this.policies.get(toTarget(target), client(namespace)));
  }

  /** Our own fields of the same answer. */
  overlay(target: string, namespace = 'app'): JsonValue {
    const message = this.policies.get(toTarget(target), client(namespace));
    return toJson(OverlaySchema, fromBinary(OverlaySchema, toBinary(OutboundPolicySchema, message)));
  }

  policy(target: string, namespace = 'app'): OutboundPolicy {
    const located = this.resolver.locate(toTarget(target), client(namespace), new TopicSet());
    return this.resolver.policy(located, client(namespace), new TopicSet());
  }

  #apply(kind: WorldKind, type: 'set' | 'delete', object: KubeObject): ReadonlySet<Topic> {
    const isWorkload = (WORKLOAD_KINDS as readonly string[]).includes(kind);
    const topics = isWorkload
      ? this.workloads.apply({ kind: kind as WorkloadKind, type, object })
      : this.index.apply({ kind: kind as OutboundKind, type, object });
    this.subscriptions.notify(topics);
    return topics;
  }
}

export const client = (namespace: string) => ({ kind: 'Pod', namespace, name: 'client' }) as const;

export function toTarget(text: string): OutboundTarget {
  const at = text.lastIndexOf(':');
  const host = text.slice(0, at);
  const port = Number(text.slice(at + 1));
  return host.includes('/') ? { kind: 'service', key: host, port } : { kind: 'ip', ip: host, port };
}

/** `app/web` on 10.96.0.1 and its like, with ports 80 and 81. */
export function clusterService(name: string, ip: string, options: Parameters<typeof service>[1] = {}): WorldObject {
  const ports = [
    { name: 'http', port: 80 },
    { name: 'other', port: 81 },
  ];
  return ['Service', service(name, { clusterIPs: [ip], ports, ...options })];
}

export interface RouteOptions {
  namespace?: string;
  annotations?: Record<string, string>;
  /** Seconds after an arbitrary moment. */
  createdAt?: number;
  parents?: object[];
  hostnames?: string[];
}

const GROUPS: Record<string, { apiVersion: string; kind: string }> = {
  'policy-http': { apiVersion: 'policy.linkerd.io/v1beta3', kind: 'HTTPRoute' },
  http: { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute' },
  grpc: { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'GRPCRoute' },
  tls: { apiVersion: 'gateway.networking.k8s.io/v1alpha2', kind: 'TLSRoute' },
  tcp: { apiVersion: 'gateway.networking.k8s.io/v1alpha2', kind: 'TCPRoute' },
};

export const SERVICE_PARENT = { group: 'core', kind: 'Service', name: 'web', namespace: 'app', port: 80 };
export const EGRESS_PARENT = {
  group: 'policy.linkerd.io',
  kind: 'EgressNetwork',
  name: 'outside',
  namespace: 'app',
  port: 443,
};

/** A route with these rules, of `app/web:80` unless it says otherwise. */
export function route(
  kind: 'policy-http' | 'http' | 'grpc' | 'tls' | 'tcp',
  name: string,
  rules: object[],
  options: RouteOptions = {},
): WorldObject {
  const { namespace = 'app', annotations = {}, createdAt = 0, parents = [SERVICE_PARENT], hostnames } = options;
  const creationTimestamp = new Date(Date.UTC(2025, 0, 1, 0, 0, createdAt)).toISOString();
  const spec = { parentRefs: parents, rules, ...(hostnames ? { hostnames } : {}) };
  return [kind, { ...GROUPS[kind], metadata: { name, namespace, annotations, creationTimestamp }, spec } as KubeObject];
}

export function egressNetwork(
  name: string,
  spec: Record<string, unknown>,
  options: { namespace?: string; annotations?: Record<string, string>; createdAt?: number } = {},
): WorldObject {
  const { namespace = 'app', annotations = {}, createdAt = 0 } = options;
  const creationTimestamp = new Date(Date.UTC(2025, 0, 1, 0, 0, createdAt)).toISOString();
  const type = { apiVersion: 'policy.linkerd.io/v1alpha1', kind: 'EgressNetwork' };
  return [
    'egress-network',
    { ...type, metadata: { name, namespace, annotations, creationTimestamp }, spec } as KubeObject,
  ];
}

/** The value at a path of JSON. */
export function at(json: JsonValue | undefined, ...path: (string | number)[]): JsonValue | undefined {
  return path.reduce<JsonValue | undefined>(
    (value, key) => (value as Record<string, JsonValue> | undefined)?.[key],
    json,
  );
}
