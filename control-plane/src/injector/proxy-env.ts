/**
 * The environment of the container linkerd-proxy. Names and order are those of Linkerd's injected pods: the variables
 * are the proxy's configuration contract, and `$(name)` may only point at what stands above.
 */
import type { EnvVar, Values } from './values.ts';
import { trustDomain } from './values.ts';

export interface ProxyEnvContext {
  /** Namespace of the control plane. */
  controlPlaneNamespace: string;
  /** What INBOUND_PORTS lists: ports whose policy the proxy watches from its start. */
  inboundPorts: string;
  /** Opaque ports with names resolved. */
  opaquePorts: string;
  /** For tracing: the name of the pod's owner, as `deployment/web`. */
  traceService?: string;
  /** The control plane's own pod: reaches its services on loopback and reads trust anchors from their ConfigMap. */
  isControlPlane: boolean;
}

export function proxyEnv(values: Values, context: ProxyEnvContext): EnvVar[] {
  const env = new EnvList();
  const { proxy } = values;
  env.field('_pod_name', 'metadata.name');
  env.field('_pod_ns', 'metadata.namespace');
  env.field('_pod_uid', 'metadata.uid');
  env.field('_pod_ip', 'status.podIP');
  env.field('_pod_nodeName', 'spec.nodeName');
  env.raw('_pod_containerName', 'linkerd-proxy');

  const { minimum, maximum, maximumCPURatio } = proxy.runtime.workers;
  env.set('CORES', maximum ?? minimum);
  env.set('CORES_MIN', minimum);
  env.setIf('CORES_MAX', maximum);
  env.setIf('CORES_MAX_RATIO', maximumCPURatio);
  env.setIf('INBOUND_PORTS_REQUIRE_IDENTITY', proxy.requireIdentityOnInboundPorts);
  env.setIf('INBOUND_PORTS_REQUIRE_TLS', proxy.requireTLSOnInboundPorts);
  env.set('SHUTDOWN_ENDPOINT_ENABLED', proxy.enableShutdownEndpoint);
  env.set('LOG', proxy.logHTTPHeaders === 'insecure' ? proxy.logLevel : `${proxy.logLevel},${HEADERS_OFF}`);
  env.set('LOG_FORMAT', proxy.logFormat);
  env.set('DESTINATION_SVC_ADDR', controlAddress('linkerd-dst-headless', 8086, values, context));
  env.set('DESTINATION_PROFILE_NETWORKS', values.clusterNetworks);
  env.set('POLICY_SVC_ADDR', controlAddress('linkerd-policy', 8090, values, context));
  env.set('POLICY_WORKLOAD', '{"ns":"$(_pod_ns)", "pod":"$(_pod_name)"}\n');
  env.set('INBOUND_DEFAULT_POLICY', proxy.defaultInboundPolicy);
  env.set('POLICY_CLUSTER_NETWORKS', values.clusterNetworks);
  env.set('CONTROL_STREAM_INITIAL_TIMEOUT', proxy.control.streams.initialTimeout);
  env.set('CONTROL_STREAM_IDLE_TIMEOUT', proxy.control.streams.idleTimeout);
  env.set('CONTROL_STREAM_LIFETIME', proxy.control.streams.lifetime);
  setTraffic(env, values, context);
  env.set('INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION', context.opaquePorts);
  env.set('DESTINATION_CONTEXT', '{"ns":"$(_pod_ns)", "nodeName":"$(_pod_nodeName)", "pod":"$(_pod_name)"}\n');
  setIdentity(env, values, context);
  env.setIf('ACCESS_LOG', proxy.accessLog);
  env.setIf('SHUTDOWN_GRACE_PERIOD', proxy.shutdownGracePeriod);
  return [...env.list, ...proxy.additionalEnv, ...proxy.experimentalEnv];
}

export const IDENTITY_DIR = '/var/run/linkerd/identity/end-entity';
export const TOKEN_DIR = '/var/run/secrets/tokens';
export const PODINFO_DIR = '/var/run/linkerd/podinfo';
const HEADERS_OFF = '[{headers}]=off,[{request}]=off';

function setTraffic(env: EnvList, values: Values, context: ProxyEnvContext): void {
  const { proxy } = values;
  const any = values.disableIPv6 ? '0.0.0.0' : '[::]';
  env.set('INBOUND_CONNECT_TIMEOUT', proxy.inboundConnectTimeout);
  env.set('OUTBOUND_CONNECT_TIMEOUT', proxy.outboundConnectTimeout);
  env.set('OUTBOUND_DISCOVERY_IDLE_TIMEOUT', proxy.outboundDiscoveryCacheUnusedTimeout);
  env.set('INBOUND_DISCOVERY_IDLE_TIMEOUT', proxy.inboundDiscoveryCacheUnusedTimeout);
  if (proxy.disableOutboundProtocolDetectTimeout) env.set('OUTBOUND_DETECT_TIMEOUT', '365d');
  if (proxy.disableInboundProtocolDetectTimeout) env.set('INBOUND_DETECT_TIMEOUT', '365d');
  env.set('CONTROL_LISTEN_ADDR', `${any}:${proxy.ports.control}`);
  env.set('ADMIN_LISTEN_ADDR', `${any}:${proxy.ports.admin}`);
  const loopback = [`127.0.0.1:${proxy.ports.outbound}`];
  env.set('OUTBOUND_LISTEN_ADDR', loopback[0]!);
  if (!values.disableIPv6) loopback.push(`[::1]:${proxy.ports.outbound}`);
  env.set('OUTBOUND_LISTEN_ADDRS', loopback.join(','));
  env.set('INBOUND_LISTEN_ADDR', `${any}:${proxy.ports.inbound}`);
  env.field('LINKERD2_PROXY_INBOUND_IPS', 'status.podIPs');
  env.set('INBOUND_PORTS', context.inboundPorts);
  if (proxy.isGateway) env.set('INBOUND_GATEWAY_SUFFIXES', `svc.${values.clusterDomain}.`);
  if (proxy.isIngress) env.set('INGRESS_MODE', true);
  env.set('DESTINATION_PROFILE_SUFFIXES', proxy.enableExternalProfiles ? '.' : `svc.${values.clusterDomain}.`);
  env.set('INBOUND_ACCEPT_KEEPALIVE', '10000ms');
  env.set('OUTBOUND_CONNECT_KEEPALIVE', '10000ms');
  env.set('INBOUND_ACCEPT_USER_TIMEOUT', '30s');
  env.set('OUTBOUND_CONNECT_USER_TIMEOUT', '30s');
  env.set('OUTBOUND_METRICS_HOSTNAME_LABELS', proxy.metrics.hostnameLabels);
  setTracing(env, values, context);
  for (const direction of ['inbound', 'outbound'] as const) {
    for (const [scope, protocols] of Object.entries(proxy[direction])) {
      for (const [protocol, parameters] of Object.entries(protocols)) {
        for (const [parameter, value] of Object.entries(parameters)) {
          env.set([direction, scope, protocol, parameter].map(upperSnake).join('_'), value);
        }
      }
    }
  }
}

function setTracing(env: EnvList, values: Values, context: ProxyEnvContext): void {
  const { tracing } = values.proxy;
  if (!tracing.enabled || !tracing.collector.endpoint) return;
  const { serviceAccountName, namespace } = tracing.collector.meshIdentity;
  env.set('TRACE_ATTRIBUTES_PATH', `${PODINFO_DIR}/labels`);
  env.set('TRACE_ANNOTATIONS_PATH', `${PODINFO_DIR}/annotations`);
  env.set('TRACE_PROTOCOL', 'opentelemetry');
  env.set('TRACE_SERVICE_NAME', tracing.traceServiceName);
  env.set('TRACE_COLLECTOR_SVC_ADDR', tracing.collector.endpoint);
  if (serviceAccountName) {
    env.set('TRACE_COLLECTOR_SVC_NAME', identityName(serviceAccountName, namespace, values, context));
  }
  const extra = { ...(context.traceService ? { 'k8s.workload': context.traceService } : {}), ...tracing.labels };
  env.set(
    'TRACE_EXTRA_ATTRIBUTES',
    Object.entries(extra)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(''),
  );
}

function setIdentity(env: EnvList, values: Values, context: ProxyEnvContext): void {
  const { controlPlaneNamespace } = context;
  env.field('_pod_sa', 'spec.serviceAccountName');
  env.raw('_l5d_ns', controlPlaneNamespace);
  env.raw('_l5d_trustdomain', trustDomain(values));
  env.set('IDENTITY_DIR', IDENTITY_DIR);
  if (context.isControlPlane) {
    env.list.push({
      name: 'LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS',
      valueFrom: { configMapKeyRef: { name: 'linkerd-identity-trust-roots', key: 'ca-bundle.crt' } },
    });
  } else {
    env.set('IDENTITY_TRUST_ANCHORS', values.identityTrustAnchorsPEM);
  }
  env.set('IDENTITY_TOKEN_FILE', `${TOKEN_DIR}/linkerd-identity-token`);
  env.set('IDENTITY_SVC_ADDR', controlAddress('linkerd-identity-headless', 8080, values, context));
  env.set('IDENTITY_LOCAL_NAME', '$(_pod_sa).$(_pod_ns).serviceaccount.identity.$(_l5d_ns).$(_l5d_trustdomain)');
  // One process serves identity, destination and policy, so that all three are the name of its one service account.
  const name = 'linkerd-destination.$(_l5d_ns).serviceaccount.identity.$(_l5d_ns).$(_l5d_trustdomain)';
  env.set('IDENTITY_SVC_NAME', name);
  env.set('DESTINATION_SVC_NAME', name);
  env.set('POLICY_SVC_NAME', name);
}

/** The TLS name of a service account's workloads. */
export function identityName(
  serviceAccount: string,
  namespace: string,
  values: Values,
  { controlPlaneNamespace }: { controlPlaneNamespace: string },
): string {
  return `${serviceAccount}.${namespace}.serviceaccount.identity.${controlPlaneNamespace}.${trustDomain(values)}`;
}

function controlAddress(service: string, port: number, values: Values, context: ProxyEnvContext): string {
  if (context.isControlPlane) return `localhost.:${port}`;
  return `${service}.${context.controlPlaneNamespace}.svc.${values.clusterDomain}.:${port}`;
}

const upperSnake = (camel: string) => camel.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase();

class EnvList {
  readonly list: EnvVar[] = [];
  raw(name: string, value: string): void {
    this.list.push({ name, value });
  }
  set(suffix: string, value: string | number | boolean): void {
    this.raw(`LINKERD2_PROXY_${suffix}`, String(value));
  }
  setIf(suffix: string, value: string | number | null): void {
    if (value !== '' && value !== null) this.set(suffix, value);
  }
  field(name: string, fieldPath: string): void {
    this.list.push({ name, valueFrom: { fieldRef: { fieldPath } } });
  }
}
