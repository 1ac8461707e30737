/** The environment that Linkerd's injector gives a proxy. */
import { CONTROL_PLANE_NAME } from './control-plane.ts';
import { NODE_IP } from './pod.ts';

export interface ProxySetting {
  controlPort: number;
  /** Holds `token` and `identity/`. */
  dir: string;
  identity: string;
  ip: string;
  trustAnchors: string;
}

export function proxyEnvironment({ controlPort, dir, identity, ip, trustAnchors }: ProxySetting): NodeJS.ProcessEnv {
  const control = `${NODE_IP}:${controlPort}`;
  const values = {
    LOG: 'warn',
    CORES: '1',
    DESTINATION_SVC_ADDR: control,
    DESTINATION_SVC_NAME: CONTROL_PLANE_NAME,
    DESTINATION_CONTEXT: '{"ns":"bench","nodeName":"node","pod":"pod"}',
    DESTINATION_PROFILE_NETWORKS: '10.0.0.0/8',
    DESTINATION_PROFILE_SUFFIXES: 'svc.cluster.local.',
    POLICY_SVC_ADDR: control,
    POLICY_SVC_NAME: CONTROL_PLANE_NAME,
    POLICY_WORKLOAD: '{"ns":"bench","pod":"pod"}',
    POLICY_CLUSTER_NETWORKS: '10.0.0.0/8',
    IDENTITY_SVC_ADDR: control,
    IDENTITY_SVC_NAME: CONTROL_PLANE_NAME,
    IDENTITY_DIR: `${dir}/identity`,
    IDENTITY_LOCAL_NAME: identity,
    IDENTITY_TOKEN_FILE: `${dir}/token`,
    IDENTITY_TRUST_ANCHORS: trustAnchors,
    CONTROL_LISTEN_ADDR: '0.0.0.0:4190',
    ADMIN_LISTEN_ADDR: '0.0.0.0:4191',
    OUTBOUND_LISTEN_ADDR: '127.0.0.1:4140',
    OUTBOUND_LISTEN_ADDRS: '127.0.0.1:4140',
    INBOUND_LISTEN_ADDR: '0.0.0.0:4143',
    INBOUND_IPS: ip,
    INBOUND_PORTS: '8080,8081,8082',
    INBOUND_DEFAULT_POLICY: 'all-unauthenticated',
    INBOUND_CONNECT_TIMEOUT: '100ms',
    OUTBOUND_CONNECT_TIMEOUT: '1000ms',
    INBOUND_ACCEPT_KEEPALIVE: '10000ms',
    OUTBOUND_CONNECT_KEEPALIVE: '10000ms',
    INBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL: '10s',
    INBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT: '3s',
    OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL: '10s',
    OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT: '3s',
  };
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`LINKERD2_PROXY_${name}`, value]));
}
