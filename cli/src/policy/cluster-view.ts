/**
 * The control plane's own view of the cluster, read once through the Kubernetes API: the same indexes with the same
 * settings, so that what they say here is what proxies are told.
 */
import { DEPLOYMENTS, type Deployment, MeshError } from '@tulle/api';
import type { Client } from '@tulle/client';
import { inboundSettings, meshSettings } from '@tulle/control-plane/component-settings.ts';
import { type Config, parseConfig } from '@tulle/control-plane/config.ts';
import type { ProfileIndex } from '@tulle/control-plane/destination/profile-index.ts';
import { watchProfiles } from '@tulle/control-plane/destination/service.ts';
import type { Logger } from '@tulle/control-plane/logger.ts';
import type { InboundContext } from '@tulle/control-plane/policy/inbound/inbound-server.ts';
import { watchInboundPolicies } from '@tulle/control-plane/policy/inbound/sources.ts';
import type { OutboundIndex } from '@tulle/control-plane/policy/outbound/outbound-index.ts';
import { OutboundResolver } from '@tulle/control-plane/policy/outbound/resolver.ts';
import { watchOutboundPolicies } from '@tulle/control-plane/policy/outbound/sources.ts';
import { ClusterState } from '@tulle/control-plane/workloads/cluster-state.ts';
import type { MeshSettings } from '@tulle/control-plane/workloads/endpoint.ts';
import { MultiMap } from '@tulle/control-plane/workloads/multi-map.ts';
import type { Pod } from '@tulle/control-plane/workloads/pod.ts';
import type { WorkloadIndex } from '@tulle/control-plane/workloads/workload-index.ts';

export interface ClusterView {
  config: Config;
  mesh: MeshSettings;
  workloads: WorkloadIndex;
  inbound: InboundContext;
  routes: OutboundIndex;
  outbound: OutboundResolver;
  profiles: ProfileIndex;
  /** Some pod that runs as the ServiceAccount. */
  podOfAccount(account: { namespace: string; name: string }): Pod | undefined;
}

/** Far above what a large cluster takes to list. */
const READ_MS_MAX = 60_000;
const DEPLOYMENT = 'linkerd-destination';
const CONTAINER = 'control-plane';

export async function readClusterView(client: Client, controlPlaneNamespace: string): Promise<ClusterView> {
  const config = await readConfig(client, controlPlaneNamespace);
  const state = new ClusterState();
  const view = viewOf(state, config);
  const stop = new AbortController();
  let lastError = 'no answer';
  const note = (fields: { error?: string }) => {
    lastError = fields.error ?? lastError;
  };
  const logger = { info() {}, debug() {}, warn: note, error() {} } as unknown as Logger;
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => timeout.reject(new MeshError('UNAVAILABLE', `read the cluster's policies: ${lastError}`)),
    READ_MS_MAX,
  );
  try {
    await Promise.race([state.start(client, logger, stop.signal), timeout.promise]);
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
  return view;
}

/** On a state that has not started. */
export function viewOf(state: ClusterState, config: Config): ClusterView {
  const mesh = meshSettings(config);
  const policies = watchInboundPolicies(state, config);
  const routes = watchOutboundPolicies(state, config);
  const podsByAccount = new MultiMap<string, string>();
  state.onChange((topics) => {
    for (const topic of topics) {
      const pod = topic.startsWith('pod/') ? state.index.pod(topic.slice('pod/'.length)) : undefined;
      if (pod) podsByAccount.add(`${pod.namespace}/${pod.serviceAccount}`, pod.key);
    }
  });
  return {
    config,
    mesh,
    workloads: state.index,
    inbound: { workloads: state.index, policies, mesh, settings: inboundSettings(config) },
    routes,
    outbound: new OutboundResolver(state.index, routes, mesh, config),
    profiles: watchProfiles(state, mesh, config),
    podOfAccount({ namespace, name }) {
      const pods = [...podsByAccount.get(`${namespace}/${name}`)].flatMap((key) => state.index.pod(key) ?? []);
      return pods.find(({ isTerminal, ips }) => !isTerminal && ips.length > 0);
    },
  };
}

/** The flags that the control plane runs with; the defaults where another one is installed. */
async function readConfig(client: Client, namespace: string): Promise<Config> {
  const deployment = await client.get<Deployment>(DEPLOYMENTS, DEPLOYMENT, namespace).catch((cause) => {
    const { code, message } = MeshError.from(cause);
    if (code !== 'NOT_FOUND') throw cause;
    throw new MeshError('FAILED_PRECONDITION', `find the control plane in namespace ${namespace}: ${message}`, {
      cause,
    });
  });
  const container = deployment.spec?.template.spec?.containers.find(({ name }) => name === CONTAINER);
  return parseConfig(container?.args ?? [`--controller-namespace=${namespace}`], {});
}
