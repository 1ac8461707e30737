/**
 * Starts a Node program as the first process of new network, mount and PID namespaces (and a user namespace when not root). It ends when
 * this process ends: the kernel kills it with its parent, and it notices the closed IPC channel itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { MeshError } from '@tulle/api';
import type { InnerConfig, InnerMessage } from './inner-message.ts';

export interface Enclosure extends AsyncDisposable {
  send(config: InnerConfig): void;
  nextMessage(signal: AbortSignal): Promise<InnerMessage>;
  /** The program's pid as this process sees it. */
  innerPid(): number;
  /** Resolves after a disposal, rejects when the program ended unasked. */
  ended: Promise<void>;
}

/** Output of the program goes to the open file `log`. Disposal asks it to end and kills it after `stopMsMax`. */
export function startEnclosure(program: string, log: number, stopMsMax: number): Enclosure {
  // A session of its own: Ctrl-C of the terminal reaches the outer process alone, which then stops this one.
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', 'unshare', ...unshareFlags(), '--', process.execPath, program, 'inner'],
    {
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    },
  );
  let isStopping = false;
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ? `killed by ${signal}` : `exit code ${code}`));
  });
  const ended = exited.then((how) => {
    if (!isStopping) throw new MeshError('UNAVAILABLE', `the cluster ended by itself: ${how}`);
  });
  ended.catch(() => {});
  return {
    ended,
    send: (config) => void child.send(config),
    innerPid: () => firstChildOf(child.pid ?? 0),
    nextMessage: (signal) => messageOf(child, exited, signal),
    async [Symbol.asyncDispose]() {
      isStopping = true;
      if (child.connected) child.disconnect();
      const timer = setTimeout(() => child.kill('SIGKILL'), stopMsMax);
      await exited;
      clearTimeout(timer);
    },
  };
}

function unshareFlags(): string[] {
  const flags = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  if (process.getuid?.() === 0) return flags;
  return ['--user', '--map-root-user', ...(hasSubordinateIds() ? ['--map-auto'] : []), ...flags];
}

/** With newuidmap and a range of ids the pods' users exist; without, all of them are the one uid of this user. */
function hasSubordinateIds(): boolean {
  const hasTool = ['/usr/bin/newuidmap', '/bin/newuidmap'].some((path) => existsSync(path));
  const { username } = userInfo();
  return (
    hasTool &&
    ['/etc/subuid', '/etc/subgid'].every(
      (file) =>
        existsSync(file) &&
        readFileSync(file, 'utf8')
          .split('\n')
          .some((line) => line.startsWith(`${username}:`)),
    )
  );
}

function messageOf(child: ChildProcess, exited: Promise<string>, signal: AbortSignal): Promise<InnerMessage> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as InnerMessage));
    const fail = (why: string) => reject(new MeshError('UNAVAILABLE', `start the cluster: ${why}`));
    exited.then(fail);
    signal.addEventListener('abort', () => fail(signal.reason instanceof Error ? signal.reason.message : 'stopped'), {
      once: true,
    });
  });
}

function firstChildOf(pid: number): number {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid) return Number(entry);
    } catch {
      // It ended while the list was read.
    }
  }
  throw new MeshError('NOT_FOUND', `find the first process of the cluster: process ${pid} has no child`);
}
