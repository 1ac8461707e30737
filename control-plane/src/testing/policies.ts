/** For tests: policy objects, short, and what a port's policy comes to with them. */
import { type Kind, type KubeObject, SERVERS } from '@tulle/api';
import { parseNetwork } from '@tulle/api/ip-address.ts';
import { INBOUND_KINDS, InboundIndex, SMI_INBOUND_KINDS } from '../policy/inbound/inbound-index.ts';
import { type InboundServer, type InboundSettings, inboundServer } from '../policy/inbound/inbound-server.ts';
import type { WorkloadRef } from '../policy/inbound/workload.ts';
import type { MeshSettings } from '../workloads/endpoint.ts';
import { parsePortList } from '../workloads/port-set.ts';
import { WORKLOAD_KINDS, WorkloadIndex, type WorkloadKind } from '../workloads/workload-index.ts';

interface PolicyOptions {
  namespace?: string;
  labels?: Record<string, string>;
  createdAt?: string;
}

/** An object of a policy kind. */
export function policy(
  kind: Pick<Kind, 'apiVersion' | 'kind'>,
  name: string,
  spec: unknown,
  options: PolicyOptions = {},
): KubeObject {
  const { namespace = 'app', labels = {}, createdAt = '2026-01-01T00:00:00Z' } = options;
  return {
    apiVersion: kind.apiVersion,
    kind: kind.kind,
    metadata: { name, namespace, labels, creationTimestamp: createdAt },
    spec,
  };
}

/** For the pods with `app: web`, unless the spec says otherwise. */
export function server(name: string, spec: object = {}, options: PolicyOptions = {}): KubeObject {
  return policy(SERVERS, name, { podSelector: { matchLabels: { app: 'web' } }, port: 8080, ...spec }, options);
}

export const MESH = {
  controllerNamespace: 'linkerd',
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  defaultOpaquePorts: parsePortList('3306').ports,
} as MeshSettings;

export const INBOUND_SETTINGS: InboundSettings = {
  defaultPolicy: 'all-unauthenticated',
  clusterNetworks: [parseNetwork('10.0.0.0/8')!],
  probeNetworks: [parseNetwork('0.0.0.0/0')!],
  controlPlanePorts: { identity: 8080, destination: 8086, policy: 8090, webhooks: [8443, 9443, 8444] },
};

/** Both indexes of a cluster in which just these objects are. */
export class InboundWorld {
  readonly workloads = new WorkloadIndex();
  readonly policies = new InboundIndex({ ...MESH, clusterNetworks: INBOUND_SETTINGS.clusterNetworks });
  readonly settings: InboundSettings;

  constructor(objects: readonly KubeObject[] = [], settings: Partial<InboundSettings> = {}) {
    this.settings = { ...INBOUND_SETTINGS, ...settings };
    for (const object of objects) this.apply('set', object);
  }

  /** Topics of both indexes. */
  apply(type: 'set' | 'delete', object: KubeObject): Set<string> {
    if ((WORKLOAD_KINDS as readonly string[]).includes(object.kind ?? '')) {
      const topics = this.workloads.apply({ kind: object.kind as WorkloadKind, type, object });
      this.policies.refresh(topics, this.workloads);
      return new Set(topics);
    }
    const kind = [...INBOUND_KINDS, ...SMI_INBOUND_KINDS].find(
      (each) => each.kind === object.kind && sameGroup(each, object),
    );
    if (!kind) throw new Error(`no index takes ${object.apiVersion} ${object.kind}`);
    return new Set(this.policies.apply(kind, type, object));
  }

  server(name: string, port = 8080, options: Partial<WorkloadRef> = {}): InboundServer | undefined {
    const context = { workloads: this.workloads, policies: this.policies, mesh: MESH, settings: this.settings };
    return inboundServer(context, { kind: 'Pod', namespace: 'app', name, ...options }, port);
  }
}

function sameGroup(kind: Kind, { apiVersion = '' }: KubeObject): boolean {
  return kind.apiVersion.split('/')[0] === apiVersion.split('/')[0];
}
