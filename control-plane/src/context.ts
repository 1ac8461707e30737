/** Everything that runs, wired: one client, one view of the cluster, the components that were asked for. */
import { hostname } from 'node:os';
import { type Client, createClient, loadInClusterConfig, loadKubeconfig } from '@tulle/client';
import { startAdmin } from './admin.ts';
import { startAdmission, watchNeighbours } from './admission/service.ts';
import { inboundSettings, meshSettings } from './component-settings.ts';
import type { Config } from './config.ts';
import { createDestinationRoutes, watchProfiles } from './destination/service.ts';
import { createExternalWorkloads } from './external-workloads/controller.ts';
import { startIdentity } from './identity/service.ts';
import { createInjector } from './injector/service.ts';
import type { Loggers } from './logger.ts';
import { compactHeap } from './memory.ts';
import { MetricRegistry } from './metric-registry.ts';
import { watchInboundPolicies } from './policy/inbound/sources.ts';
import { watchOutboundPolicies } from './policy/outbound/sources.ts';
import { createPolicyRoutes } from './policy/service.ts';
import { registerProcessMetrics } from './process-metrics.ts';
import { startGrpcServer } from './server.ts';
import { createStatus } from './status/service.ts';
import { ClusterState } from './workloads/cluster-state.ts';

/** Long enough for the first answers, short enough that nobody sees the memory of the lists. */
const COMPACT_AFTER_MS = 3_000;

export interface Context extends AsyncDisposable {
  /** Where each server listens. */
  ports: Readonly<Record<string, number>>;
}

/**
 * Disposing it ends streams with Unavailable, then closes everything; `cancel` ends a start that waits. @throws MeshError when something cannot start.
 */
export async function startContext(config: Config, loggers: Loggers, cancel: AbortSignal): Promise<Context> {
  const stopping = new AbortController();
  const signal = AbortSignal.any([cancel, stopping.signal]);
  const stack = new AsyncDisposableStack();
  try {
    const client = createClient(
      config.kubeconfigPath ? loadKubeconfig({ path: config.kubeconfigPath }) : loadInClusterConfig(),
    );
    stack.defer(() => client.close());
    stack.defer(() => stopping.abort());
    const ports = await startComponents(config, loggers, client, signal, stack);
    return { ports, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function startComponents(
  config: Config,
  loggers: Loggers,
  client: Client,
  signal: AbortSignal,
  stack: AsyncDisposableStack,
): Promise<Record<string, number>> {
  const metrics = new MetricRegistry();
  registerProcessMetrics(metrics);
  const state = new ClusterState();
  const missing = new Map<string, () => boolean>();
  const ports: Record<string, number> = {};
  const has = (name: Parameters<Config['components']['has']>[0]) => config.components.has(name);
  const serve = async (name: string, address: string, routes: Parameters<typeof startGrpcServer>[0]['routes']) => {
    const server = stack.use(await startGrpcServer({ address, routes, metrics, logger: loggers.of('grpc') }));
    ports[name] = server.port;
    loggers.of('main').info({ component: name, port: server.port }, 'component listens');
  };

  const notReady = () => [...missing].flatMap(([name, isMissing]) => (isMissing() ? [name] : []));
  const admin = stack.use(await startAdmin({ address: config.adminAddress, metrics, notReady }));
  ports.admin = admin.port;
  loggers.of('main').info({ port: admin.port }, 'admin server listens');

  const inboundPolicies = watchInboundPolicies(state, config);
  const mesh = {
    ...meshSettings(config),
    isOpaqueByServer: (...args: Parameters<typeof inboundPolicies.isOpaque>) => inboundPolicies.isOpaque(...args),
  };
  const outboundPolicies = watchOutboundPolicies(state, config);
  const profiles = watchProfiles(state, mesh, config);
  const status =
    has('status') || has('admission')
      ? createStatus({
          client,
          state,
          metrics,
          clusterNetworks: config.clusterNetworks,
          controllerNamespace: config.controllerNamespace,
          isSmiEnabled: config.isSmiEnabled,
          holder: hostname(),
          logger: loggers.of('status'),
        })
      : undefined;
  const externalWorkloads = has('destination')
    ? createExternalWorkloads({
        client,
        state,
        controllerNamespace: config.controllerNamespace,
        holder: hostname(),
        logger: loggers.of('workloads'),
      })
    : undefined;
  const neighbours = has('admission') ? watchNeighbours(state, config.clusterDomain) : undefined;
  if (has('destination') || has('policy') || status) {
    missing.set('cluster', () => !state.isSynced);
    // Both reject only when the process stops; until then they are tried again.
    const synced = state.start(client, loggers.of('workloads'), signal);
    // Streams that waited are answered first.
    synced.then(() => setTimeout(compactHeap, COMPACT_AFTER_MS).unref()).catch(() => undefined);
    externalWorkloads?.(synced, signal).catch(() => undefined);
    if (has('status')) status?.run(synced, signal).catch(() => undefined);
    const size = metrics.gauge('workload_index_size', 'Objects and entries of the workload index');
    metrics.collect(() => {
      const sizes = { ...state.index.sizes(), ...inboundPolicies.sizes(), ...outboundPolicies.sizes() };
      for (const [table, entries] of Object.entries(sizes)) size.set(entries, { table });
    });
  }
  if (has('identity')) {
    const identity = startIdentity({ ...config, client, metrics, logger: loggers.of('identity') }, signal);
    missing.set('issuer', () => !identity.isReady());
    await serve('identity', config.identityAddress, identity.routes);
  }
  if (has('destination'))
    await serve('destination', config.destinationAddress, createDestinationRoutes({ state, mesh, profiles }));
  if (has('policy')) {
    const inbound = { ...inboundSettings(config), index: inboundPolicies };
    await serve(
      'policy',
      config.policyAddress,
      createPolicyRoutes({ state, mesh, inbound, outbound: { index: outboundPolicies, settings: config } }),
    );
  }
  if (has('injector')) {
    let isStarted = false;
    missing.set('injector', () => !isStarted);
    const options = {
      client,
      controlPlaneNamespace: config.controllerNamespace,
      address: config.injectorAddress,
      certDir: config.injectorTlsPath,
      logger: loggers.of('injector'),
      metrics,
    };
    const injector = stack.use(await createInjector(options, signal));
    isStarted = true;
    ports.injector = injector.port;
  }
  if (status && neighbours) {
    const admission = await startAdmission({
      policyValidator: { address: config.policyValidatorAddress, certDir: config.policyValidatorTlsPath },
      spValidator: { address: config.spValidatorAddress, certDir: config.spValidatorTlsPath },
      neighbours,
      preview: status.preview,
      isSynced: () => state.isSynced,
      logger: loggers.of('admission'),
      metrics,
    });
    stack.use(admission);
    Object.assign(ports, admission.ports);
  }
  return ports;
}
