/** What is compared: nothing in between, the floor, and proxies. Each has a client pod and a server pod of its own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { chown } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Authority } from './authority.ts';
import { CLIENT_NAME, SERVER_NAME, startControlPlane } from './control-plane.ts';
import { hasUsers } from './isolation.ts';
import { NODE_IP, Pod, type Running } from './pod.ts';
import { cpuUs, rssBytes } from './process-figures.ts';
import { proxyEnvironment } from './proxy-environment.ts';

/** HTTP/1.1; HTTP/2 and gRPC are on the next port, echo on the one after. */
export const SERVER_PORT = 8080;
export const ECHO_PORT = SERVER_PORT + 2;
const PROXY_UID = 2102;
/** The mark of our proxy's own packets where there is but one user. */
const PROXY_MARK = 2102;
const ADMIN_PORT = 4191;
const READY_TIMEOUT_MS = 10_000;
const POLL_INTERVAL_MS = 1;

export interface Programs {
  /** Ours, for its `init` sub-command. */
  proxy: string;
  floor: string;
  load: string;
}

export interface Contender {
  name: string;
  kind: 'direct' | 'floor' | 'proxy';
  client: Pod;
  server: Pod;
  /** CPU time so far of the client's and the server's forwarder. */
  cpuUs(): { client: number; server: number };
  rssBytes(): { client: number; server: number };
  /** Of the client's and the server's proxy, for proxies. */
  startToReadyMs: number[];
}

export interface Setting {
  programs: Programs;
  authority: Authority;
  /** Numbers pods from here. */
  nextPod: number;
}

export async function startDirect(setting: Setting): Promise<Contender> {
  const [client, server] = await createPods(setting);
  const none = () => ({ client: 0, server: 0 });
  return { name: 'direct', kind: 'direct', client, server, cpuUs: none, rssBytes: none, startToReadyMs: [] };
}

export async function startFloor(setting: Setting): Promise<Contender> {
  const [client, server] = await createPods(setting);
  const running: Running[] = [];
  const mark = hasUsers() ? [] : [String(PROXY_MARK)];
  for (const pod of [client, server]) {
    redirect(pod, setting.programs.proxy);
    const forwarder = pod.start([...asProxyUser(), setting.programs.floor, '127.0.0.1:4140', '0.0.0.0:4143', ...mark]);
    await forwarder.nextLine();
    running.push(forwarder);
  }
  return { name: 'floor', kind: 'floor', client, server, startToReadyMs: [], ...figures(running) };
}

/** `starts`: how often each proxy is started, to see how long that takes; the last ones stay. */
export async function startProxy(setting: Setting, name: string, path: string, starts: number): Promise<Contender> {
  const [client, server] = await createPods(setting);
  const controlPort = await startControlPlane(setting.authority, NODE_IP, {
    ip: server.ip,
    isOpaque: (port) => port === ECHO_PORT,
  });
  const running: Running[] = [];
  const startToReadyMs: number[] = [];
  for (const [pod, identity] of [
    [client, CLIENT_NAME],
    [server, SERVER_NAME],
  ] as const) {
    redirect(pod, setting.programs.proxy);
    const dir = await identityDir(setting.authority, identity);
    const env = proxyEnvironment({
      controlPort,
      dir,
      identity,
      ip: pod.ip,
      trustAnchors: setting.authority.trustAnchorsPem,
    });
    if (!hasUsers()) env.TULLE_PROXY_MARK = String(PROXY_MARK);
    for (let start = 1; start <= starts; start++) {
      const startedAt = performance.now();
      const proxy = pod.start([...asProxyUser(), path], env);
      await waitUntilReady(pod, proxy, path);
      startToReadyMs.push(performance.now() - startedAt);
      if (start < starts) await proxy.stop();
      else running.push(proxy);
    }
  }
  return { name, kind: 'proxy', client, server, startToReadyMs, ...figures(running) };
}

async function createPods(setting: Setting): Promise<[Pod, Pod]> {
  const client = await Pod.create(setting.nextPod++);
  const server = await Pod.create(setting.nextPod++);
  await server.start([setting.programs.load, 'serve', String(SERVER_PORT)]).nextLine();
  return [client, server];
}

function redirect(pod: Pod, binary: string): void {
  const exempt = hasUsers() ? ['--proxy-uid', String(PROXY_UID)] : ['--proxy-mark', String(PROXY_MARK)];
  const ports = [
    '--incoming-proxy-port',
    '4143',
    '--outgoing-proxy-port',
    '4140',
    '--inbound-ports-to-ignore',
    '4190,4191',
  ];
  pod.run([binary, 'init', ...ports, ...exempt, '--log-level', 'error']);
}

function asProxyUser(): string[] {
  const id = String(PROXY_UID);
  return hasUsers() ? ['setpriv', '--reuid', id, '--regid', id, '--clear-groups'] : [];
}

function figures(running: Running[]): Pick<Contender, 'cpuUs' | 'rssBytes'> {
  const [client = 0, server = 0] = running.map(({ process }) => process.pid ?? 0);
  return {
    cpuUs: () => ({ client: cpuUs(client), server: cpuUs(server) }),
    rssBytes: () => ({ client: rssBytes(client), server: rssBytes(server) }),
  };
}

/** A folder with what the injector mounts and the identity helper makes: token, key and CSR. */
async function identityDir(authority: Authority, name: string): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'tulle-bench-'));
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
  mkdirSync(join(dir, 'identity'));
  writeFileSync(join(dir, 'token'), 'bench');
  const { keyDer, csrDer } = await authority.createRequest(name);
  writeFileSync(join(dir, 'identity', 'key.p8'), keyDer);
  writeFileSync(join(dir, 'identity', 'csr.der'), csrDer);
  if (hasUsers())
    for (const path of [dir, join(dir, 'identity'), join(dir, 'identity', 'key.p8')])
      await chown(path, PROXY_UID, PROXY_UID);
  return dir;
}

async function waitUntilReady(pod: Pod, proxy: Running, path: string): Promise<void> {
  let hasEnded: Error | undefined;
  // The line that ends the wait is the error: a proxy that logs to stdout goes on.
  const watch = async () => {
    while (true) await proxy.nextLine();
  };
  watch().catch((error: Error) => {
    hasEnded = error;
  });
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (!(await isReady(pod.ip))) {
    if (hasEnded) throw hasEnded;
    if (performance.now() > deadline) throw new Error(`${path}: not ready within ${READY_TIMEOUT_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}

async function isReady(ip: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${ip}:${ADMIN_PORT}/ready`, { headers: { connection: 'close' } });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    // Nothing listens yet.
    return false;
  }
}
