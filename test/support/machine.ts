/** A machine outside the cluster: a network of its own beside that of the one-machine cluster, whose Services it reaches and resolves. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SERVICES, type Service } from '@tulle/api';
import { enterNetwork, root, type TestCluster } from './cluster.ts';

const exec = promisify(execFile);
/** Of a block for documentation (RFC 5737): outside every cluster. */
const ADDRESS = '203.0.113.20';
const GATEWAY = '203.0.113.1';
/** The user whose connections the proxy's rules leave alone. */
const PROXY_UID = 2102;

export interface Machine extends AsyncDisposable {
  address: string;
  /** A folder that programs on the machine see under the same path. */
  folder: string;
  /** Runs a program to its end. */
  run(command: string, ...args: string[]): Promise<string>;
  /** Starts a program that ends with the machine. */
  start(env: Record<string, string>, command: string, ...args: string[]): ChildProcess;
  /** Redirects the machine's traffic and starts the proxy. */
  startProxy(env: Record<string, string>): Promise<ChildProcess>;
}

export async function startMachine(cluster: TestCluster): Promise<Machine> {
  const folder = mkdtempSync(join(tmpdir(), 'tulle-machine-'));
  // The proxy is another user, who may not enter where the project is.
  await exec('chmod', ['755', folder]);
  copyFileSync(join(root, 'target/release/tulle-proxy'), join(folder, 'linkerd2-proxy'));
  symlinkSync('linkerd2-proxy', join(folder, 'linkerd2-proxy-init'));
  const dns = await cluster.client.get<Service>(SERVICES, 'kube-dns', 'kube-system');
  const resolv = join(folder, 'resolv.conf');
  writeFileSync(resolv, `nameserver ${dns.spec?.clusterIP}\n`);
  const script = `mount --bind ${resolv} /etc/resolv.conf && echo up && exec sleep infinity`;
  const holder = spawnOwn('unshare', ['--net', '--mount', 'sh', '-c', script]);
  await firstOutput(holder);
  const pid = String(holder.pid);
  const inside = (...command: string[]) => ['--target', pid, '--net', '--mount', '--', ...command];
  const run = async (command: string, ...args: string[]) => {
    const { stdout } = await exec('nsenter', inside(command, ...args), { maxBuffer: 16 * 1024 * 1024 });
    return stdout;
  };
  const beside = `ip link add machine type veth peer name eth0 netns ${pid}; ip address add ${GATEWAY}/24 dev machine; ip link set machine up`;
  await exec(...enterNetwork(cluster, 'sh', '-ec', beside));
  const own = `ip address add ${ADDRESS}/24 dev eth0; ip link set lo up; ip link set eth0 up; ip route add default via ${GATEWAY}`;
  await run('sh', '-ec', own);
  const started: ChildProcess[] = [holder];
  const start: Machine['start'] = (env, command, ...args) => {
    const child = spawnOwn('nsenter', inside(command, ...args), env);
    child.stdout!.resume();
    started.push(child);
    return child;
  };
  return {
    address: ADDRESS,
    folder,
    run,
    start,
    async startProxy(env) {
      const flags = ['-p', '4143', '-o', '4140', '--proxy-uid', String(PROXY_UID)];
      await run(join(folder, 'linkerd2-proxy-init'), ...flags, '--inbound-ports-to-ignore', '4190,4191');
      const user = ['--reuid', String(PROXY_UID), '--regid', String(PROXY_UID), '--clear-groups'];
      return start(env, 'setpriv', ...user, '--pdeathsig', 'KILL', join(folder, 'linkerd2-proxy'));
    },
    async [Symbol.asyncDispose]() {
      // The last one's end is the end of the networks and of the link.
      for (const child of started.reverse()) {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Dies with this process. */
function spawnOwn(command: string, args: string[], env?: Record<string, string>): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(env ? { env: { PATH: process.env.PATH, ...env } } : {}),
  });
}

/** Until a program has said its first word. */
export async function firstOutput(child: ChildProcess): Promise<void> {
  const failed = once(child, 'exit').then(([code]) => Promise.reject(new Error(`the program ended with ${code}`)));
  await Promise.race([once(child.stdout!, 'data'), failed]);
}
