/** What a cluster begins with: namespaces, priority classes, roles, and the Service by which pods reach the API. */
import { randomUUID } from 'node:crypto';
import { rfc3339 } from './apiserver/write.ts';
import { bootstrapAccess } from './authorization/bootstrap-roles.ts';
import type { Registry } from './resources/registry.ts';
import { DNS_SERVICE_IP, KUBERNETES_SERVICE_IP } from './service-addresses.ts';
import type { Store } from './store/store.ts';
import { Entry, type Fields, type StoredObject } from './store/stored-object.ts';

const NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

export interface Bootstrap {
  store: Store;
  registry: Registry;
  nowMs: number;
  /** Where pods reach the API server; without it there are no endpoints for the `kubernetes` Service. */
  advertise?: { addresses: readonly string[]; port: number };
}

export function bootstrapObjects({ store, registry, nowMs, advertise }: Bootstrap): void {
  const ensure = (object: Fields, isOurs = false) => {
    const resource = registry.findKind(object.apiVersion, object.kind)!;
    const present = store.get(resource.storage, Entry.keyOf(object.metadata));
    if (present !== undefined && !isOurs) return;
    const made = structuredClone(object);
    made.metadata.uid = present?.object.metadata.uid ?? randomUUID();
    made.metadata.creationTimestamp = present?.object.metadata.creationTimestamp ?? rfc3339(nowMs);
    if (present === undefined) {
      resource.applyDefaults(made);
      resource.prepareCreate(made);
    } else {
      resource.applyDefaults(made);
      if (present.object.status !== undefined) made.status = present.object.status;
    }
    store.put(resource.storage, made as StoredObject, present);
  };
  for (const name of NAMESPACES) ensure({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  for (const [name, value] of [
    ['system-cluster-critical', 2_000_000_000],
    ['system-node-critical', 2_000_001_000],
  ] as const) {
    ensure({ apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name }, value });
  }
  for (const object of bootstrapAccess()) ensure(object);
  ensure({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { component: 'apiserver', provider: 'kubernetes' } },
    spec: {
      clusterIP: KUBERNETES_SERVICE_IP,
      clusterIPs: [KUBERNETES_SERVICE_IP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ name: 'https', port: 443, targetPort: advertise?.port ?? 6443 }],
    },
  });
  ensure({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kube-dns', namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' } },
    spec: {
      clusterIP: DNS_SERVICE_IP,
      clusterIPs: [DNS_SERVICE_IP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP' },
        { name: 'dns-tcp', port: 53, protocol: 'TCP' },
      ],
    },
  });
  if (advertise === undefined) return;
  const addresses = advertise.addresses.filter((address) => !address.includes(':'));
  ensure(
    {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: {
        name: 'kubernetes',
        namespace: 'default',
        labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' },
      },
      subsets: [
        {
          addresses: addresses.map((ip) => ({ ip })),
          ports: [{ name: 'https', port: advertise.port, protocol: 'TCP' }],
        },
      ],
    },
    true,
  );
  ensure(
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
      addressType: 'IPv4',
      endpoints: [{ addresses, conditions: { ready: true } }],
      ports: [{ name: 'https', port: advertise.port, protocol: 'TCP' }],
    },
    true,
  );
}
