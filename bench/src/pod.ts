/** A pod: a network namespace with an address, a veth to the node that this process is in, and processes. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';

/** The node's address, where the control plane listens. */
export const NODE_IP = '10.99.0.1';

export interface Running {
  process: ChildProcessWithoutNullStreams;
  /** The next line of standard output; rejects, with what was written to standard error, when the process has ended. */
  nextLine(): Promise<string>;
  stop(): Promise<void>;
}

export class Pod {
  readonly ip: string;
  readonly #holder: Running;

  private constructor(ip: string, holder: Running) {
    this.ip = ip;
    this.#holder = holder;
  }

  static async create(number: number): Promise<Pod> {
    // The namespace lives as long as this process, which ends with us.
    const holder = startProcess(['unshare', '--net', 'sh', '-c', 'echo up; exec cat']);
    await holder.nextLine();
    const pod = new Pod(`10.42.0.${number}`, holder);
    const veth = `pod${number}`;
    ip(['link', 'add', veth, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(holder.process.pid)]);
    ip(['link', 'set', veth, 'up']);
    for (const command of [
      'link set lo up',
      `addr add ${pod.ip}/32 dev eth0`,
      'link set eth0 up',
      `route add default via ${NODE_IP} dev eth0 onlink`,
    ])
      pod.run(['ip', ...command.split(' ')]);
    ip(['route', 'add', pod.ip, 'dev', veth]);
    return pod;
  }

  /** Runs a command to its end; throws with its standard error when it fails. */
  run(argv: string[]): void {
    execFileSync('nsenter', this.#enter(argv), { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  start(argv: string[], env: NodeJS.ProcessEnv = {}): Running {
    return startProcess(['nsenter', ...this.#enter(argv)], env);
  }

  #enter(argv: string[]): string[] {
    return ['--target', String(this.#holder.process.pid), '--net', '--', ...argv];
  }
}

export function setUpNode(): void {
  ip(['link', 'set', 'lo', 'up']);
  ip(['addr', 'add', `${NODE_IP}/32`, 'dev', 'lo']);
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
}

function ip(args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function startProcess([command = '', ...args]: string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(command, args, { env: { PATH: process.env.PATH, ...env }, stdio: 'pipe' });
  const lines: Interface = createInterface(child.stdout);
  const iterator = lines[Symbol.asyncIterator]();
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4096);
  });
  // A process that has gone does not read; that shows where its next line is awaited.
  child.stdin.on('error', () => {});
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  child.on('error', (error) => {
    errors = error.message;
  });
  return {
    process: child,
    nextLine: async () => {
      const { value, done } = await iterator.next();
      if (!done) return value;
      await ended;
      throw new Error(
        `${[command, ...args].join(' ')} ended with ${child.signalCode ?? child.exitCode}: ${errors.trim()}`,
      );
    },
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
