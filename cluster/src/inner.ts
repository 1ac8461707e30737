/** What runs inside the cluster's namespaces, in one process: API server, controllers, pod network and node agents. */
import { join } from 'node:path';
import { MeshError } from '@tulle/api';
import { type Client, createClient } from '@tulle/client';
import { startApiServer } from './apiserver/server.ts';
import type { KeyPair } from './authentication/pki.ts';
import { startControllers } from './controllers/start-controllers.ts';
import type { InnerConfig, InnerMessage } from './inner-message.ts';
import { loadImages } from './kubelet/images.ts';
import { startNodeAgent } from './kubelet/node-agent.ts';
import { kubelet as kubeletLogger, network as networkLogger } from './logger.ts';
import { createInterfaces, gatewayOf, type NetworkLayout, usableAddresses } from './network/interfaces.ts';
import { startNetwork } from './network/network.ts';
import { nodePodCidrs } from './pod-ranges.ts';
import { DNS_SERVICE_IP, SERVICE_CIDR_IPV4, SERVICE_CIDR_IPV6 } from './service-addresses.ts';

const API_PORT = 6443;
const AGENT_PORT_MIN = 10_250;
const CLUSTER_DOMAIN = 'cluster.local';
const ZONES = ['zone-a', 'zone-b', 'zone-c'];
const DNS_SERVICE_IPV6 = 'fd96::a';

/** Runs until the process that started it lets go of the IPC channel, or asks by a signal. */
export async function runInner(): Promise<never> {
  const stopping = new AbortController();
  for (const event of ['disconnect', 'SIGTERM', 'SIGINT'] as const) process.on(event, () => stopping.abort());
  const config = await new Promise<InnerConfig>((resolve) =>
    process.once('message', (message) => resolve(message as InnerConfig)),
  );
  try {
    await runCluster(config, stopping.signal);
    process.exit(0);
  } catch (error) {
    if (stopping.signal.aborted) process.exit(0);
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`${message}\n`);
    tell({ type: 'failed', message: error instanceof Error ? error.message : message });
    process.exit(1);
  }
}

async function runCluster(config: InnerConfig, signal: AbortSignal): Promise<void> {
  const layout = layoutOf(config.nodes, config.number);
  const images = await loadImages(config.imagesFile);
  await createInterfaces(layout);
  const addresses = usableAddresses(layout.nodes[0]?.podCidrs ?? []).map(gatewayOf);
  await using server = await startApiServer({
    stateDir: config.stateDir,
    listen: [{ host: '::', port: API_PORT }, { path: config.socketPath }],
    addresses: [...addresses, '127.0.0.1'],
    advertise: { addresses, port: API_PORT },
  });
  const admin = await server.pki.issueClient('kubernetes-admin', ['system:masters']);
  const client = adminClient(server.pki.caPem, admin, config.socketPath);
  startControllers({ client, signal });
  await using _network = await startNetwork({
    client,
    layout,
    clusterDomain: CLUSTER_DOMAIN,
    signal,
    logger: networkLogger,
  });
  await using agents = new AsyncDisposableStack();
  const failures: Promise<never>[] = [];
  for (const [index, { name, podCidrs }] of layout.nodes.entries()) {
    const agent = agents.use(
      await startNodeAgent({
        client,
        nodeName: name,
        zone: ZONES[index % ZONES.length] ?? '',
        podCidrs,
        images,
        runtimePath: config.podRuntime,
        stateDir: join(config.stateDir, 'nodes', name),
        clusterDomain: CLUSTER_DOMAIN,
        dnsAddress: DNS_SERVICE_IP,
        port: AGENT_PORT_MIN + index,
        signal,
        logger: kubeletLogger.child({ node: name }),
      }),
    );
    failures.push(agent.failed);
  }
  tell({ type: 'ready', caPem: server.pki.caPem, adminCertPem: admin.certPem, adminKeyPem: admin.keyPem });
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await Promise.race([stopped, ...failures]);
}

function adminClient(caPem: string, { certPem, keyPem }: KeyPair, socketPath: string): Client {
  const server = `https://127.0.0.1:${API_PORT}`;
  return createClient({
    server,
    caPem,
    clientCertPem: certPem,
    clientKeyPem: keyPem,
    namespace: 'default',
    socketPath,
  });
}

function layoutOf(nodes: number, clusterNumber: number): NetworkLayout {
  return {
    nodes: Array.from({ length: nodes }, (_, index) => ({
      name: `node-${index + 1}`,
      podCidrs: nodePodCidrs(clusterNumber, index),
    })),
    serviceCidrs: [SERVICE_CIDR_IPV4, SERVICE_CIDR_IPV6],
    dnsAddresses: [DNS_SERVICE_IP, DNS_SERVICE_IPV6],
  };
}

function tell(message: InnerMessage): void {
  if (!process.connected) throw new MeshError('CANCELLED', 'the process that started the cluster is gone');
  process.send?.(message);
}
