/**
 * A cluster as its users start it: an outer part on the host's network (this process) and an inner process in namespaces of its own.
 * The inner one dies with this one, however this one ends, and everything below it dies with its PID namespace.
 */
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { MeshError } from '@tulle/api';
import { type Enclosure, startEnclosure } from './enclosure.ts';
import { startHostGateway } from './host-gateway.ts';
import type { InnerConfig, InnerMessage } from './inner-message.ts';
import { linkClusters, numberBeside, openLinks } from './link.ts';
import { openStateFolder } from './state-folder.ts';

export interface ClusterOptions {
  /** Everything that the cluster writes is in here; it goes on from what it finds. */
  stateDir: string;
  /** Simulated nodes; their zones are `zone-a`, `zone-b`, `zone-c` in turn. */
  nodes?: number;
  /** The table of images, by default `dist/images.json`. */
  imagesFile?: string;
  /** The program that runs pods, by default the release build of cluster/runtime. */
  podRuntime?: string;
  /** TCP port of the API server on 127.0.0.1; by default the one of last time, or any that is free. */
  port?: number;
  /** State folders of clusters that run and whose pods, and API servers, are to reach this one's, and back. Needs root. */
  links?: string[];
  /** Stops the cluster. */
  signal?: AbortSignal;
}

export interface RunningCluster extends AsyncDisposable {
  kubeconfigPath: string;
  /** `https://127.0.0.1:PORT` */
  server: string;
  /** The first process inside, as the host sees it: its namespaces are the cluster's. */
  innerPid: number;
  /** Settles when the inner process has ended; rejects when nobody asked it to. */
  ended: Promise<void>;
  /** Resolved: a started cluster answers. */
  ready: Promise<void>;
  stop(): Promise<void>;
}

const NODES_MAX = 16;
/** The API server and the network are up within a second or two; a machine that needs longer than this is stuck. */
const START_MS_MAX = 60_000;
/** From the wish to stop until the inner process is killed: pods on it end at once, the store is on disk at any time. */
const STOP_MS_MAX = 3000;

/** Resolves when the API server answers and the node agents have registered. */
export async function startCluster(options: ClusterOptions): Promise<RunningCluster> {
  const { stateDir, nodes = 1, signal } = options;
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > NODES_MAX) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `start a cluster with ${nodes} nodes: between 1 and ${NODES_MAX} are possible`,
    );
  }
  signal?.throwIfAborted();
  const root = installRoot();
  await using stack = new AsyncDisposableStack();
  const links = openLinks(options.links ?? []);
  const folder = stack.use(await openStateFolder(stateDir));
  const number = numberBeside(folder.number, links);
  folder.writeNumber(number);
  const config: InnerConfig = {
    stateDir: folder.path,
    socketPath: folder.socketPath,
    nodes,
    number,
    imagesFile: options.imagesFile ?? join(root, 'dist/images.json'),
    podRuntime: options.podRuntime ?? join(root, 'target/release/tulle-pod'),
  };
  const log = openSync(join(folder.path, 'cluster.log'), 'a');
  const enclosure = startEnclosure(innerProgram(), log, STOP_MS_MAX);
  stack.use(enclosure);
  enclosure.send(config);
  const started = await firstMessage(enclosure, folder.path, signal);
  const innerPid = enclosure.innerPid();
  for (const link of links) await linkClusters({ innerPid, number }, link);
  const gateway = stack.use(
    await startHostGateway(folder.socketPath, options.port ?? folder.lastPort, options.port !== undefined),
  );
  const server = `https://127.0.0.1:${gateway.port}`;
  const kubeconfigPath = folder.writeKubeconfig(server, gateway.port, innerPid, started);
  const owned = stack.move();
  const stop = () => owned.disposeAsync();
  signal?.addEventListener('abort', () => void stop(), { once: true });
  return {
    kubeconfigPath,
    server,
    innerPid,
    ended: enclosure.ended,
    ready: Promise.resolve(),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function firstMessage(enclosure: Enclosure, stateDir: string, signal?: AbortSignal) {
  const timeout = AbortSignal.timeout(START_MS_MAX);
  const message: InnerMessage = await enclosure.nextMessage(signal ? AbortSignal.any([signal, timeout]) : timeout);
  if (message.type === 'failed') {
    throw new MeshError(
      'INTERNAL',
      `start the cluster in ${stateDir}: ${message.message} (more in ${stateDir}/cluster.log)`,
    );
  }
  return message;
}

/** The folder that has `dist/` and `target/`: two above this file as a source, one above as a bundle. */
function installRoot(): string {
  return isSource() ? join(import.meta.dirname, '../..') : join(import.meta.dirname, '..');
}

function innerProgram(): string {
  return join(import.meta.dirname, isSource() ? 'main.ts' : 'cluster.js');
}

function isSource(): boolean {
  return import.meta.filename.endsWith('.ts');
}
