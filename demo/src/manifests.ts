/**
 * The sample application as Kubernetes objects: five workloads in one meshed namespace, the same on every cluster.
 * vote-bot → web (HTTP/1.1) → emoji and voting (gRPC); voting → store (plain TCP on an opaque port).
 */

export const NAMESPACE = 'emojivote';
const STORE_PORT = 7000;
const GRPC_PORT = 8080;
const HTTP_PORT = 8080;

interface Workload {
  name: string;
  replicas: number;
  env: Record<string, string>;
  port?: { name: string; containerPort: number; servicePort: number };
  readiness?: object;
  isOpaque?: boolean;
}

const workloads: Workload[] = [
  { name: 'vote-bot', replicas: 1, env: { WEB_ADDR: 'web:80' } },
  {
    name: 'web',
    replicas: 1,
    env: { HTTP_PORT: `${HTTP_PORT}`, EMOJI_ADDR: `emoji:${GRPC_PORT}`, VOTING_ADDR: `voting:${GRPC_PORT}` },
    port: { name: 'http', containerPort: HTTP_PORT, servicePort: 80 },
    readiness: { httpGet: { path: '/healthz', port: 'http' } },
  },
  {
    name: 'emoji',
    replicas: 2,
    env: { GRPC_PORT: `${GRPC_PORT}` },
    port: { name: 'grpc', containerPort: GRPC_PORT, servicePort: GRPC_PORT },
    readiness: { tcpSocket: { port: 'grpc' } },
  },
  {
    name: 'voting',
    replicas: 2,
    env: { GRPC_PORT: `${GRPC_PORT}`, STORE_ADDR: `store:${STORE_PORT}` },
    port: { name: 'grpc', containerPort: GRPC_PORT, servicePort: GRPC_PORT },
    readiness: { tcpSocket: { port: 'grpc' } },
  },
  {
    name: 'store',
    replicas: 1,
    env: { STORE_PORT: `${STORE_PORT}` },
    port: { name: 'votes', containerPort: STORE_PORT, servicePort: STORE_PORT },
    readiness: { tcpSocket: { port: 'votes' } },
    isOpaque: true,
  },
];

/** The edges that the application has, client first; what `npm run demo` expects to see. */
export const edges = [
  { client: 'vote-bot', server: 'web' },
  { client: 'web', server: 'emoji' },
  { client: 'web', server: 'voting' },
  { client: 'voting', server: 'store' },
] as const;

export const workloadNames = workloads.map((w) => w.name);

/** All objects of the application, in the order to apply them. */
export function applicationManifests(version: string): Record<string, unknown>[] {
  const namespace = {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: NAMESPACE, annotations: { 'linkerd.io/inject': 'enabled' } },
  };
  return [namespace, ...workloads.flatMap((w) => [serviceAccount(w), ...service(w), deployment(w, version)])];
}

function serviceAccount({ name }: Workload) {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: NAMESPACE } };
}

function service({ name, port, isOpaque }: Workload) {
  if (!port) return [];
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: NAMESPACE, ...opaqueAnnotation(isOpaque, port.servicePort) },
      spec: {
        selector: { app: name },
        ports: [{ name: port.name, port: port.servicePort, targetPort: port.name }],
      },
    },
  ];
}

function deployment({ name, replicas, env, port, readiness, isOpaque }: Workload, version: string) {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: NAMESPACE, labels: { app: name } },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name }, ...(port ? opaqueAnnotation(isOpaque, port.containerPort) : {}) },
        spec: {
          serviceAccountName: name,
          containers: [
            {
              name: 'app',
              image: `tulle/demo:${version}`,
              args: [name],
              env: Object.entries(env).map(([key, value]) => ({ name: key, value })),
              ...(port ? { ports: [{ name: port.name, containerPort: port.containerPort }] } : {}),
              ...(readiness ? { readinessProbe: { ...readiness, periodSeconds: 1 } } : {}),
            },
          ],
        },
      },
    },
  };
}

function opaqueAnnotation(isOpaque: boolean | undefined, port: number) {
  return isOpaque ? { annotations: { 'config.linkerd.io/opaque-ports': `${port}` } } : {};
}
