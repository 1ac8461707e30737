/** `tulle cluster`: a Kubernetes cluster on this one machine, in the foreground or as a daemon. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { MeshError, NODES, type Node, PODS, type Pod } from '@tulle/api';
import { createClient, loadKubeconfig } from '@tulle/client';
import { runningCluster, startCluster } from '@tulle/cluster';
import type { Command } from 'commander';
import { withGlobalOptions } from '../globals.ts';
import { colors } from '../output/colors.ts';
import { SYMBOLS } from '../output/symbols.ts';

interface UpOptions {
  stateDir: string;
  detach?: boolean;
  nodes: string;
  port?: string;
  images?: string;
  link: string[];
}

/** A cluster starts in seconds; one that takes longer than this has failed without saying so. */
const START_MS_MAX = 60_000;
/** Pods are given their grace; after this the processes are killed. */
const STOP_MS_MAX = 30_000;
const POLL_MS = 100;

export function register(program: Command): void {
  const group = program.command('cluster').description('Run a Kubernetes cluster on this machine');
  const stateDir = ['--state-dir <folder>', 'where the cluster keeps its state', defaultStateDir()] as const;
  withGlobalOptions(group.command('up'))
    .description('Start the cluster, or go on from its state; Ctrl-C stops it')
    .option(...stateDir)
    .option('-d, --detach', 'run in the background until `tulle cluster down`')
    .option('--nodes <count>', 'simulated nodes, in zones zone-a, zone-b, zone-c', '1')
    .option('--port <port>', 'port of the API server on 127.0.0.1 (default: any that is free, then the same again)')
    .option('--images <file>', 'JSON table of which programs of this machine an image stands for')
    .option(
      '--link <folder>',
      "let the pods of the cluster with this state folder and this one's reach each other",
      collect,
      [],
    )
    .action((options: UpOptions) => (options.detach ? upDetached(options) : up(options)));
  withGlobalOptions(group.command('down'))
    .description('Stop the cluster; its state is kept')
    .option(...stateDir)
    .action((options: UpOptions) => down(resolve(options.stateDir)));
  withGlobalOptions(group.command('status'))
    .description('Say whether the cluster runs, where, and what is on it')
    .option(...stateDir)
    .action((options: UpOptions) => status(resolve(options.stateDir)));
}

function defaultStateDir(): string {
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local/state'), 'tulle/cluster');
}

async function up(options: UpOptions): Promise<void> {
  const { nodes, port } = parseUp(options);
  const stopping = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => stopping.abort());
  const startedAt = performance.now();
  await using cluster = await startCluster({
    stateDir: options.stateDir,
    nodes,
    ...(port ? { port } : {}),
    ...(options.images ? { imagesFile: resolve(options.images) } : {}),
    links: options.link.map((folder) => resolve(folder)),
    signal: stopping.signal,
  });
  await cluster.ready;
  sayHowToUse(cluster.server, cluster.kubeconfigPath, performance.now() - startedAt);
  process.stdout.write(`${colors.dim('Ctrl-C stops it')}\n`);
  await cluster.ended;
}

/** Starts this same command as a process of its own, and stays until it answers. */
async function upDetached(options: UpOptions): Promise<void> {
  parseUp(options);
  const stateDir = resolve(options.stateDir);
  const running = runningCluster(stateDir);
  if (running)
    throw new MeshError('ALREADY_EXISTS', `start a cluster in ${stateDir}: process ${running.pid} runs one there`);
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const logPath = join(stateDir, 'up.log');
  const log = openSync(logPath, 'w');
  const args = process.argv.slice(1).filter((arg) => arg !== '--detach' && arg !== '-d');
  const child = spawn(process.execPath, [...process.execArgv, ...args], {
    detached: true,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const exited = new Promise<number | null>((done) => child.once('exit', done));
  const startedAt = performance.now();
  for (;;) {
    const code = await Promise.race([exited, delay(POLL_MS, 'running' as const)]);
    if (code !== 'running') {
      throw new MeshError(
        'UNAVAILABLE',
        `start a cluster in ${stateDir}: ${readFileSync(logPath, 'utf8').trim() || `exit code ${code}`}`,
      );
    }
    const { server } = runningCluster(stateDir) ?? {};
    if (server) {
      child.unref();
      return sayHowToUse(server, join(stateDir, 'kubeconfig'), performance.now() - startedAt);
    }
    if (performance.now() - startedAt > START_MS_MAX) {
      child.kill('SIGTERM');
      throw new MeshError(
        'DEADLINE_EXCEEDED',
        `start a cluster in ${stateDir}: not ready after ${START_MS_MAX / 1000} s; see ${logPath}`,
      );
    }
  }
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function parseUp({ nodes, port }: UpOptions): { nodes: number; port?: number } {
  const number = (flag: string, text: string, most: number) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < 1 || value > most) {
      throw new MeshError('INVALID_ARGUMENT', `${flag} ${text}: want a number from 1 to ${most}`);
    }
    return value;
  };
  return { nodes: number('--nodes', nodes, 16), ...(port ? { port: number('--port', port, 65535) } : {}) };
}

function sayHowToUse(server: string, kubeconfigPath: string, tookMs: number): void {
  process.stdout.write(
    `${SYMBOLS.success} cluster at ${server} ${colors.dim(`(${(tookMs / 1000).toFixed(1)} s)`)}\n\n` +
      `  export KUBECONFIG=${kubeconfigPath}\n` +
      '  tulle install --crds | kubectl apply -f -\n' +
      '  tulle install | kubectl apply -f -\n\n',
  );
}

async function down(stateDir: string): Promise<void> {
  const running = runningCluster(stateDir);
  if (!running) {
    process.stdout.write(`no cluster runs in ${stateDir}\n`);
    return;
  }
  process.kill(running.pid, 'SIGTERM');
  const deadline = performance.now() + STOP_MS_MAX;
  while (runningCluster(stateDir)?.pid === running.pid) {
    if (performance.now() > deadline) {
      process.kill(running.pid, 'SIGKILL');
      process.stdout.write(`${SYMBOLS.warning} cluster in ${stateDir} did not stop and was killed\n`);
      return;
    }
    await delay(POLL_MS);
  }
  process.stdout.write(`${SYMBOLS.success} cluster in ${stateDir} stopped\n`);
}

/** Exit code 3, as of a service that is not running, when there is none. */
async function status(stateDir: string): Promise<void> {
  const running = runningCluster(stateDir);
  const kubeconfigPath = join(stateDir, 'kubeconfig');
  if (!running?.server || !existsSync(kubeconfigPath)) {
    process.stdout.write(
      `${SYMBOLS.error} no cluster runs in ${stateDir}\n  start one with: tulle cluster up --detach\n`,
    );
    process.exitCode = 3;
    return;
  }
  process.stdout.write(
    `${SYMBOLS.success} cluster at ${running.server}, process ${running.pid}\n  kubeconfig ${kubeconfigPath}\n`,
  );
  const client = createClient(loadKubeconfig({ path: kubeconfigPath }));
  try {
    const [nodes, pods] = await Promise.all([client.list<Node>(NODES), client.list<Pod>(PODS)]);
    const isReady = ({ status: of }: Node | Pod) =>
      of?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
    process.stdout.write(`  nodes ${nodes.items.filter(isReady).length}/${nodes.items.length} ready\n`);
    process.stdout.write(`  pods ${pods.items.filter(isReady).length}/${pods.items.length} ready\n`);
  } finally {
    client.close();
  }
}
