/** The node agent: registers its Node, runs the pods that are assigned to it, and serves their logs and ports. */

import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CONFIG_MAPS,
  type ConfigMap,
  MeshError,
  objectKey,
  PODS,
  type Pod,
  SECRETS,
  SERVICES,
  type Secret,
  type Service,
} from '@tulle/api';
import { type Client, startReflector } from '@tulle/client';
import type { Logger } from 'pino';
import { BRIDGE, gatewayOf, runWithInput, usableAddresses } from '../network/interfaces.ts';
import { startPodRuntime } from '../sandbox/pod-runtime.ts';
import { AddressPool } from './address-pool.ts';
import type { AgentContext } from './agent-context.ts';
import { startAgentServer } from './agent-server.ts';
import { EventRecorder } from './event-recorder.ts';
import type { ImageTable } from './images.ts';
import { keepLease, registerNode } from './node-registration.ts';
import { PodWorker } from './pod-worker.ts';
import { parseUidMap } from './security.ts';
import { StatusWriter } from './status-writer.ts';
import { PodTokens } from './tokens.ts';

export interface NodeAgentOptions {
  client: Client;
  nodeName: string;
  zone?: string;
  region?: string;
  /** The node's ranges, one per family; the first address of each is the node's own. */
  podCidrs: string[];
  images: ImageTable;
  /** Path of the program `tulle-pod`. */
  runtimePath: string;
  /** A folder of this node alone. */
  stateDir: string;
  clusterDomain: string;
  dnsAddress: string;
  /** 10250; 0 takes any free one. */
  port?: number;
  signal: AbortSignal;
  logger: Logger;
}

export interface NodeAgent extends AsyncDisposable {
  /** Rejects when the agent cannot go on: its runtime has ended. */
  readonly failed: Promise<never>;
  readonly port: number;
}

const DEFAULT_PORT = 10_250;

export async function startNodeAgent(options: NodeAgentOptions): Promise<NodeAgent> {
  const { client, nodeName, signal, logger } = options;
  const podCidrs = usableAddresses(options.podCidrs);
  const nodeIps = podCidrs.map(gatewayOf);
  const folders = await prepareFolders(options.stateDir);
  await using stack = new AsyncDisposableStack();
  const runtime = stack.use(startPodRuntime(options.runtimePath));
  const stopped = new AbortController();
  const running = AbortSignal.any([signal, stopped.signal]);
  const workers = new Map<string, PodWorker>();
  const byName = new Map<string, string>();
  const statuses = new StatusWriter(client, logger);

  const configMaps = startReflector<ConfigMap>(client, CONFIG_MAPS, {}, running);
  const secrets = startReflector<Secret>(client, SECRETS, {}, running);
  const services = startReflector<Service>(client, SERVICES, {}, running);
  const context: AgentContext = {
    client,
    runtime,
    images: options.images,
    nodeName,
    nodeIps,
    addresses: new AddressPool(podCidrs),
    bridge: BRIDGE,
    names: { clusterDomain: options.clusterDomain, dnsAddress: options.dnsAddress },
    uids: parseUidMap(await readFile('/proc/self/uid_map', 'utf8')),
    ...folders,
    objects: {
      configMap: (key) => configMaps.get(key),
      secret: (key) => secrets.get(key),
      services: () => services.list(),
    },
    tokens: new PodTokens(client),
    events: new EventRecorder(client, nodeName, logger),
    logger,
    reportStatus(uid) {
      const worker = workers.get(uid);
      if (worker) statuses.report(uid, worker);
    },
    finishDeletion: (pod) => void finishDeletion(pod),
  };

  /** The last status first, so that whoever watches sees how it ended. */
  async function finishDeletion(pod: Pod): Promise<void> {
    const { uid = '', name, namespace } = pod.metadata;
    await statuses.flush(uid);
    try {
      await client.delete(PODS, name, namespace, { gracePeriodSeconds: 0, preconditions: { uid } });
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code === 'NOT_FOUND' || error.code === 'ABORTED' || running.aborted) return;
      logger.warn({ err: error, pod: name }, 'ended pod not deleted');
      setTimeout(() => void finishDeletion(pod), 1000).unref();
    }
  }

  const server = await startAgentServer({
    address: nodeIps[0] ?? '127.0.0.1',
    port: options.port ?? DEFAULT_PORT,
    findPod: (key) => workers.get(byName.get(key) ?? ''),
    runtime,
    logger,
  });
  stack.use(server);
  await Promise.all([configMaps.synced, secrets.synced, services.synced]);
  const { zone, region } = options;
  const facts = { name: nodeName, zone, region, podCidrs, addresses: nodeIps, agentPort: server.port };
  await registerNode(client, facts);
  const lease = keepLease(client, nodeName, running, logger);

  const pods = startReflector<Pod>(client, PODS, { fieldSelector: `spec.nodeName=${nodeName}` }, running);
  await pods.synced;
  await forgetOthers(folders.diskDir, new Set(pods.list().map((pod) => pod.metadata.uid ?? '')));
  pods.subscribe(({ type, object }) => {
    const uid = object.metadata.uid ?? '';
    const known = workers.get(uid);
    if (type === 'deleted') {
      if (byName.get(objectKey(object)) === uid) byName.delete(objectKey(object));
      if (!known) return;
      void known.remove().finally(() => {
        workers.delete(uid);
        statuses.forget(uid);
      });
    } else if (known) known.update(object);
    else {
      const worker = new PodWorker(context, object);
      workers.set(uid, worker);
      byName.set(objectKey(object), uid);
      worker.poke();
    }
  });
  const refresh =
    (kind: 'configMap' | 'secret') => (event: { object: { metadata: { name: string; namespace?: string } } }) => {
      for (const worker of workers.values())
        if (refersTo(worker.pod, kind, event.object.metadata)) worker.refreshVolumes();
    };
  configMaps.subscribe(refresh('configMap'));
  secrets.subscribe(refresh('secret'));

  const resources = stack.move();
  return {
    failed: runtime.failed,
    port: server.port,
    async [Symbol.asyncDispose]() {
      stopped.abort();
      for (const worker of workers.values()) worker.abandon();
      await lease;
      await resources.disposeAsync();
    },
  };
}

/** Disk for what stays, memory for what must not be left behind. */
async function prepareFolders(stateDir: string) {
  const diskDir = join(stateDir, 'pods');
  const memoryDir = join(stateDir, 'run');
  const rootDir = join(memoryDir, 'root');
  await mkdir(diskDir, { recursive: true, mode: 0o755 });
  await mkdir(memoryDir, { recursive: true, mode: 0o755 });
  await runWithInput('mount', ['-t', 'tmpfs', '-o', 'mode=755,nosuid,nodev', 'tulle', memoryDir], '');
  await mkdir(rootDir);
  return { diskDir, memoryDir, rootDir };
}

/** What pods left that were deleted while the agent was away. */
async function forgetOthers(diskDir: string, present: Set<string>): Promise<void> {
  for (const name of await readdir(diskDir)) {
    if (!present.has(name)) await rm(join(diskDir, name), { recursive: true, force: true });
  }
}

function refersTo(
  pod: Pod,
  kind: 'configMap' | 'secret',
  { name, namespace }: { name: string; namespace?: string },
): boolean {
  if (pod.metadata.namespace !== namespace) return false;
  return (pod.spec?.volumes ?? []).some((volume) => {
    if (kind === 'configMap' && volume.configMap?.name === name) return true;
    if (kind === 'secret' && volume.secret?.secretName === name) return true;
    return volume.projected?.sources?.some((source) => source[kind]?.name === name) ?? false;
  });
}
