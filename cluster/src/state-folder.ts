/** The folder that a cluster keeps everything in, and the lock that keeps a second cluster out of it. */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { MeshError } from '@tulle/api';
import type { ReadyMessage } from './inner-message.ts';

/** A Unix socket's path has at most 107 bytes (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;

export interface StateFolder extends AsyncDisposable {
  path: string;
  socketPath: string;
  /** The port that the API server had last time, so that a kubeconfig stays right. */
  lastPort: number | undefined;
  /** The cluster's number among linked ones; undefined in a new folder. */
  number: number | undefined;
  writeNumber(number: number): void;
  /** Says that the cluster runs. Answers the path of the kubeconfig. */
  writeKubeconfig(server: string, port: number, innerPid: number, credentials: ReadyMessage): string;
}

export interface ClusterProcess {
  pid: number;
  startTime: string;
  server?: string;
  /** The first process inside; its namespaces are the cluster's. */
  innerPid?: number;
}

export async function openStateFolder(stateDir: string): Promise<StateFolder> {
  const path = resolve(stateDir);
  const socketPath = join(path, 'api.sock');
  if (Buffer.byteLength(socketPath) > SOCKET_PATH_BYTES_MAX) {
    throw new MeshError('INVALID_ARGUMENT', `use ${path} as state folder: the path is too long for a socket in it`);
  }
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
  const running = runningCluster(path);
  if (running)
    throw new MeshError('ALREADY_EXISTS', `start a cluster in ${path}: process ${running.pid} runs one there`);
  const lock = join(path, 'process.json');
  const own: ClusterProcess = { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };
  writeFileSync(lock, JSON.stringify(own));
  rmSync(socketPath, { force: true });
  const portFile = join(path, 'port');
  const numberFile = join(path, 'number');
  return {
    path,
    socketPath,
    lastPort: existsSync(portFile) ? Number(readFileSync(portFile, 'utf8')) || undefined : undefined,
    number: clusterNumber(path),
    writeNumber: (number) => writeFileSync(numberFile, String(number)),
    writeKubeconfig(server, port, innerPid, credentials) {
      const file = join(path, 'kubeconfig');
      writeFileSync(file, kubeconfig(server, credentials), { mode: 0o600 });
      writeFileSync(portFile, String(port));
      writeFileSync(lock, JSON.stringify({ ...own, server, innerPid }));
      return file;
    },
    async [Symbol.asyncDispose]() {
      rmSync(lock, { force: true });
      rmSync(socketPath, { force: true });
    },
  };
}

/** The process that runs a cluster in this folder now; a lock whose process has ended is none. */
export function runningCluster(stateDir: string): ClusterProcess | undefined {
  try {
    const held = JSON.parse(readFileSync(join(resolve(stateDir), 'process.json'), 'utf8')) as ClusterProcess;
    return held.startTime !== '' && startTimeOf(held.pid) === held.startTime ? held : undefined;
  } catch {
    return undefined;
  }
}

/** The number that the cluster of a folder has. */
export function clusterNumber(stateDir: string): number | undefined {
  const file = join(resolve(stateDir), 'number');
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined;
}

/** In clock ticks since boot; with it a pid names one process for good. Undefined for one that has ended. */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended; only its parent has not asked yet.
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function kubeconfig(server: string, { caPem, adminCertPem, adminKeyPem }: ReadyMessage): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return `apiVersion: v1
kind: Config
current-context: tulle
clusters:
  - name: tulle
    cluster:
      server: ${server}
      certificate-authority-data: ${base64(caPem)}
users:
  - name: admin
    user:
      client-certificate-data: ${base64(adminCertPem)}
      client-key-data: ${base64(adminKeyPem)}
contexts:
  - name: tulle
    context:
      cluster: tulle
      user: admin
`;
}
