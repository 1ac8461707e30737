/**
 * A large cluster's objects: 50 namespaces of 20 Services with five meshed pods each, ten Servers with an authorization
 * each, and 40 HTTPRoutes. Pods are as large as injected ones are.
 */
import {
  AUTHORIZATION_POLICIES,
  ENDPOINT_SLICES,
  EXTERNAL_WORKLOADS,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  JOBS,
  type Kind,
  type KubeObject,
  LEASES,
  MESH_TLS_AUTHENTICATIONS,
  NAMESPACES,
  NETWORK_AUTHENTICATIONS,
  NODES,
  PODS,
  POLICY_HTTP_ROUTES,
  REPLICA_SETS,
  SERVER_AUTHORIZATIONS,
  SERVERS,
  SERVICE_PROFILES,
  SERVICES,
} from '@tulle/api';
import { CONFIG_MAPS, CORE_EVENTS, EGRESS_NETWORKS, GRPC_ROUTES, HTTP_ROUTES } from '@tulle/api/kinds.ts';
import type { ScaleApiServer } from './scale-api-server.ts';

export const SCALE = { namespaces: 50, services: 20, podsPerService: 5, servers: 10, routes: 40, nodes: 100 };

/** Kinds that a cluster with the mesh serves, also where it has no objects of them. */
const SERVED: readonly Kind[] = [
  ...[AUTHORIZATION_POLICIES, EXTERNAL_WORKLOADS, HTTP_LOCAL_RATE_LIMIT_POLICIES, JOBS, LEASES, CORE_EVENTS],
  ...[MESH_TLS_AUTHENTICATIONS, NETWORK_AUTHENTICATIONS, POLICY_HTTP_ROUTES, SERVER_AUTHORIZATIONS, SERVERS],
  ...[CONFIG_MAPS, SERVICE_PROFILES, EGRESS_NETWORKS, GRPC_ROUTES, HTTP_ROUTES],
];

export interface ScaleService {
  namespace: string;
  name: string;
  clusterIp: string;
  pods: { name: string; ip: string; node: string }[];
}

export function fill(api: ScaleApiServer): ScaleService[] {
  for (const kind of SERVED) api.serve(kind);
  for (let node = 0; node < SCALE.nodes; node++) {
    const labels = { 'topology.kubernetes.io/zone': `zone-${node % 3}`, 'kubernetes.io/hostname': `node-${node}` };
    api.put(NODES, { metadata: { name: `node-${node}`, labels }, status: { conditions: [] } });
  }
  const services: ScaleService[] = [];
  for (let n = 0; n < SCALE.namespaces; n++) {
    const namespace = `team-${n}`;
    api.put(NAMESPACES, { metadata: { name: namespace, annotations: { 'linkerd.io/inject': 'enabled' } } });
    for (let s = 0; s < SCALE.services; s++) services.push(putService(api, namespace, services.length));
    for (let s = 0; s < SCALE.servers; s++) putPolicies(api, namespace, n * SCALE.services + s);
    for (let r = 0; r < SCALE.routes; r++) {
      api.put(HTTP_ROUTES, httpRoute(namespace, `route-${r}`, `app-${n * SCALE.services + (r % SCALE.services)}`, r));
    }
  }
  return services;
}

function putService(api: ScaleApiServer, namespace: string, number: number): ScaleService {
  const name = `app-${number}`;
  const clusterIp = `10.96.${number >> 8}.${number & 255}`;
  const ports = [{ name: 'http', port: 80, targetPort: 'http', protocol: 'TCP' }];
  const selector = { app: name };
  const labels = { app: name };
  api.put(SERVICES, {
    metadata: { name, namespace, labels },
    spec: { clusterIP: clusterIp, clusterIPs: [clusterIp], ipFamilies: ['IPv4'], ports, selector, type: 'ClusterIP' },
  });
  api.put(REPLICA_SETS, {
    metadata: { name: `${name}-5d8f9`, namespace, labels, ownerReferences: [owner('Deployment', name)] },
    spec: { replicas: SCALE.podsPerService, selector: { matchLabels: labels } },
  });
  const pods = Array.from({ length: SCALE.podsPerService }, (_, p) => {
    const at = number * SCALE.podsPerService + p;
    const one = {
      name: `${name}-5d8f9-${p}`,
      ip: `10.${42 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}`,
      node: `node-${at % SCALE.nodes}`,
    };
    api.put(PODS, pod(namespace, name, one));
    return one;
  });
  const service = { namespace, name, clusterIp, pods };
  api.put(ENDPOINT_SLICES, endpointSlice(service, pods.length));
  return service;
}

/** The first `ready` pods of the Service are ready. */
export function endpointSlice(service: ScaleService, ready: number): KubeObject {
  const { namespace, name } = service;
  return {
    metadata: { name: `${name}-x7k2p`, namespace, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: service.pods.map((each, i) => ({
      addresses: [each.ip],
      conditions: { ready: i < ready, serving: i < ready, terminating: false },
      nodeName: each.node,
      zone: `zone-${Number(each.node.slice(5)) % 3}`,
      targetRef: { kind: 'Pod', namespace, name: each.name },
    })),
  };
}

function putPolicies(api: ScaleApiServer, namespace: string, number: number): void {
  const name = `app-${number}`;
  api.put(SERVERS, server(namespace, name, 'deny'));
  api.put(MESH_TLS_AUTHENTICATIONS, {
    metadata: { name, namespace },
    spec: { identities: [`*.${namespace}.serviceaccount.identity.linkerd.cluster.local`] },
  });
  api.put(AUTHORIZATION_POLICIES, {
    metadata: { name, namespace },
    spec: {
      targetRef: { group: 'policy.linkerd.io', kind: 'Server', name },
      requiredAuthenticationRefs: [{ group: 'policy.linkerd.io', kind: 'MeshTLSAuthentication', name }],
    },
  });
}

export function server(namespace: string, name: string, accessPolicy: string): KubeObject {
  return {
    metadata: { name, namespace },
    spec: { podSelector: { matchLabels: { app: name } }, port: 'http', proxyProtocol: 'HTTP/1', accessPolicy },
  };
}

export function httpRoute(namespace: string, name: string, service: string, version: number): KubeObject {
  return {
    metadata: { name, namespace },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: service, port: 80 }],
      rules: [
        {
          matches: [
            { path: { type: 'PathPrefix', value: `/${name}` }, headers: [{ name: 'x-version', value: `v${version}` }] },
          ],
          backendRefs: [{ name: service, port: 80 }],
          timeouts: { request: '10s' },
        },
      ],
    },
  };
}

function owner(kind: string, name: string) {
  return { apiVersion: 'apps/v1', kind, name, uid: `${kind}-${name}`, controller: true };
}

function pod(namespace: string, app: string, { name, ip, node }: ScaleService['pods'][number]): KubeObject {
  const listeners = [
    ['INBOUND', 4143],
    ['ADMIN', 4191],
    ['CONTROL', 4190],
  ];
  // An injected proxy has about this many variables, some of them long.
  const env = [
    ...listeners.map(([which, port]) => ({ name: `LINKERD2_PROXY_${which}_LISTEN_ADDR`, value: `0.0.0.0:${port}` })),
    ...Array.from({ length: 45 }, (_, i) => ({ name: `LINKERD2_PROXY_SETTING_${i}`, value: 'x'.repeat(30 + i) })),
  ];
  const ports = [
    { name: 'linkerd-proxy', containerPort: 4143, protocol: 'TCP' },
    { name: 'linkerd-admin', containerPort: 4191, protocol: 'TCP' },
  ];
  const probe = { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 10, failureThreshold: 3 };
  return {
    metadata: {
      name,
      namespace,
      labels: { app, 'pod-template-hash': '5d8f9', 'linkerd.io/control-plane-ns': 'linkerd' },
      annotations: { 'linkerd.io/proxy-version': 'x', 'linkerd.io/trust-root-sha256': 'f'.repeat(64) },
      ownerReferences: [owner('ReplicaSet', `${app}-5d8f9`)],
      // The server's record of who set which field is a third of a real pod.
      managedFields: [{ manager: 'kubelet', operation: 'Update', fieldsV1: { 'f:status': 'x'.repeat(4_000) } }],
    },
    spec: {
      nodeName: node,
      serviceAccountName: app,
      containers: [
        {
          name: 'app',
          image: `registry/${app}:1`,
          ports: [{ name: 'http', containerPort: 8080 }],
          readinessProbe: probe,
        },
        { name: 'linkerd-proxy', image: 'proxy', env, ports },
      ],
      initContainers: [{ name: 'linkerd-init', image: 'init', args: ['--inbound-ports-to-ignore', '4190,4191'] }],
      volumes: Array.from({ length: 6 }, (_, i) => ({ name: `volume-${i}`, emptyDir: {} })),
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      hostIP: '192.168.0.1',
      conditions: ['Ready', 'Initialized', 'ContainersReady', 'PodScheduled'].map((type) => ({ type, status: 'True' })),
      containerStatuses: ['app', 'linkerd-proxy'].map((each) => ({ name: each, ready: true, image: 'x'.repeat(60) })),
    },
  };
}
