/** For tests: Kubernetes objects, short. */
import type { KubeObject } from '@tulle/api';

interface PodOptions {
  namespace?: string;
  ip?: string;
  ips?: string[];
  isMeshed?: boolean;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  nodeName?: string;
  owner?: { kind: string; name: string };
  containers?: object[];
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
  deletionTimestamp?: string;
  uid?: string;
}

export const PROXY_CONTAINER = {
  name: 'linkerd-proxy',
  ports: [
    { name: 'linkerd-proxy', containerPort: 4143 },
    { name: 'linkerd-admin', containerPort: 4191 },
  ],
  env: [
    { name: 'LINKERD2_PROXY_INBOUND_LISTEN_ADDR', value: '[::]:4143' },
    { name: 'LINKERD2_PROXY_ADMIN_LISTEN_ADDR', value: '[::]:4191' },
    { name: 'LINKERD2_PROXY_CONTROL_LISTEN_ADDR', value: '[::]:4190' },
  ],
};

export function pod(name: string, options: PodOptions = {}): KubeObject {
  const { namespace = 'app', isMeshed = false, owner } = options;
  const ips = options.ips ?? (options.ip ? [options.ip] : []);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      uid: options.uid ?? `uid-${name}`,
      labels: { ...(isMeshed ? { 'linkerd.io/control-plane-ns': 'linkerd' } : {}), ...options.labels },
      annotations: options.annotations ?? {},
      ...(options.deletionTimestamp ? { deletionTimestamp: options.deletionTimestamp } : {}),
      ...(owner ? { ownerReferences: [{ ...owner, apiVersion: 'apps/v1', uid: 'x', controller: true }] } : {}),
    },
    spec: {
      serviceAccountName: name.split('-')[0],
      nodeName: options.nodeName ?? 'node-1',
      containers: [...(options.containers ?? [{ name: 'app' }]), ...(isMeshed ? [PROXY_CONTAINER] : [])],
      ...options.spec,
    },
    status: {
      phase: 'Running',
      podIP: ips[0],
      podIPs: ips.map((ip) => ({ ip })),
      hostIP: '192.168.0.1',
      ...options.status,
    },
  };
}

interface ServiceOptions {
  namespace?: string;
  clusterIPs?: string[];
  ports?: { port: number; name?: string; appProtocol?: string; targetPort?: number | string; protocol?: string }[];
  annotations?: Record<string, string>;
  spec?: Record<string, unknown>;
}

export function service(name: string, options: ServiceOptions = {}): KubeObject {
  const clusterIPs = options.clusterIPs ?? ['None'];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: options.namespace ?? 'app', annotations: options.annotations ?? {} },
    spec: { clusterIP: clusterIPs[0], clusterIPs, ports: options.ports ?? [{ port: 80 }], ...options.spec },
  };
}

export interface SliceEndpoint {
  ip: string;
  pod?: string;
  uid?: string;
  ready?: boolean;
  terminating?: boolean;
  hostname?: string;
  nodeName?: string;
  zone?: string;
  forZones?: string[];
}

export function slice(
  serviceName: string,
  endpoints: SliceEndpoint[],
  options: { namespace?: string; name?: string; ports?: { name?: string; port: number }[]; addressType?: string } = {},
): KubeObject {
  const { namespace = 'app', name = `${serviceName}-1`, ports = [{ port: 8080 }], addressType = 'IPv4' } = options;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': serviceName } },
    addressType,
    ports: ports.map((port) => ({ name: '', protocol: 'TCP', ...port })),
    endpoints: endpoints.map(({ ip, pod: podName, uid, ready = true, terminating = false, forZones, ...rest }) => ({
      addresses: [ip],
      conditions: { ready, serving: ready, terminating },
      ...(podName ? { targetRef: { kind: 'Pod', name: podName, namespace, ...(uid ? { uid } : {}) } } : {}),
      ...(forZones ? { hints: { forZones: forZones.map((zone) => ({ name: zone })) } } : {}),
      ...rest,
    })),
  };
}

export function node(name: string, zone?: string): KubeObject {
  return { kind: 'Node', metadata: { name, labels: zone ? { 'topology.kubernetes.io/zone': zone } : {} } };
}

export function namespace(name: string, annotations: Record<string, string> = {}): KubeObject {
  return { kind: 'Namespace', metadata: { name, annotations } };
}

export function replicaSet(name: string, deployment: string, namespaceName = 'app'): KubeObject {
  const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'Deployment', name: deployment, uid: 'd', controller: true }];
  return { kind: 'ReplicaSet', metadata: { name, namespace: namespaceName, ownerReferences } };
}
