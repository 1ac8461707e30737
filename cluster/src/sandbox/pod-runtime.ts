/**
 * The agent's side of `tulle-pod`: one child process that makes pods' namespaces and runs their containers.
 * Requests and replies are the JSON lines of cluster/runtime/src/protocol.rs.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { MeshError } from '@tulle/api';

export interface SandboxSpec {
  sandbox: string;
  hostname: string;
  /** Without it the pod uses the node's own network. */
  network?: {
    bridge: string;
    bridgeMac: number[];
    hostInterface: string;
    /** Of the pod's own interface. */
    mac: number[];
    addresses: { address: string; gateway: string }[];
  };
}

export type Mount =
  | { type: 'system'; from: string; to: string }
  | { type: 'bind'; from: string; to: string; readOnly: boolean }
  | { type: 'tmpfs'; to: string; mode: number; bytesMax: number; readOnly: boolean }
  | { type: 'symlink'; target: string; to: string }
  | { type: 'folder'; to: string; mode: number }
  | { type: 'proc' }
  | { type: 'dev' };

export interface ProcessSpec {
  args: string[];
  env: string[];
  cwd: string;
  /** Null keeps the agent's own ids (a user namespace with one uid). */
  user: { uid: number; gid: number; groups: number[] } | null;
  /** Capability numbers that the process may have, and those that it keeps when it is not root. */
  capabilities: number[];
  ambient: number[];
  noNewPrivileges: boolean;
}

export interface ContainerSpec {
  container: string;
  sandbox: string;
  root: string;
  mounts: Mount[];
  readOnlyRoot: boolean;
  log: string;
  process: ProcessSpec;
}

export interface ProcessExit {
  exitCode: number;
  /** 0 when it ended by itself. */
  signal: number;
  /** What an exec wrote, cut at 10 KiB. */
  output: string;
}

export interface PodRuntime extends AsyncDisposable {
  createSandbox(spec: SandboxSpec): Promise<void>;
  removeSandbox(sandbox: string): Promise<void>;
  /** Resolves when the program runs; `onExit` is called once, later. Throws NOT_FOUND when it cannot be executed. */
  start(spec: ContainerSpec, onExit: (exit: ProcessExit) => void): Promise<number>;
  /** Runs one more process in a container to its end; killed when the signal is aborted, and then throws. */
  exec(container: string, process: ProcessSpec, signal: AbortSignal): Promise<ProcessExit>;
  /** Signals a container's first process; nothing happens when it has ended. */
  signal(container: string, signal: number): Promise<void>;
  /** A connection to a port on the pod's loopback address. */
  dial(sandbox: string, port: number): Promise<Socket>;
  /** Rejects when the runtime has ended unasked; every container is gone then. */
  readonly failed: Promise<never>;
}

interface Reply {
  type: 'ok' | 'error' | 'exit';
  id: number;
  pid?: number;
  message: string;
  /** The program itself could not be executed. */
  start: boolean;
  container: string;
  exitCode: number;
  signal: number;
  output?: string;
}

const SIGKILL = 9;

export function startPodRuntime(program: string): PodRuntime {
  const child = spawn(program, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const pending = new Map<number, PromiseWithResolvers<{ pid?: number; socket?: Socket }>>();
  const exits = new Map<string, (exit: ProcessExit) => void>();
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  let lastId = 0;
  let isDisposed = false;

  const gone = once(child).then((reason) => {
    const error = new MeshError('UNAVAILABLE', `${program}: ${reason}`);
    for (const reply of pending.values()) reply.reject(error);
    pending.clear();
    if (!isDisposed) failed.reject(error);
  });

  child.on('message', (message, socket) => {
    const reply = message as Reply;
    if (reply.type === 'exit') {
      const { exitCode, signal, output = '' } = reply;
      const listener = exits.get(reply.container);
      exits.delete(reply.container);
      listener?.({ exitCode, signal, output });
      return;
    }
    const waiting = pending.get(reply.id);
    pending.delete(reply.id);
    if (!waiting) (socket as Socket | undefined)?.destroy();
    else if (reply.type === 'ok') waiting.resolve({ pid: reply.pid, socket: socket as Socket | undefined });
    else waiting.reject(new MeshError(reply.start ? 'NOT_FOUND' : 'INTERNAL', reply.message));
  });

  function request(op: string, fields: object) {
    const id = ++lastId;
    const waiting = Promise.withResolvers<{ pid?: number; socket?: Socket }>();
    if (!child.connected) return Promise.reject(new MeshError('UNAVAILABLE', `${program}: has ended`));
    pending.set(id, waiting);
    child.send({ id, op, ...fields });
    return waiting.promise;
  }

  return {
    failed: failed.promise,
    createSandbox: async (spec) => void (await request('sandbox', spec)),
    removeSandbox: async (sandbox) => void (await request('removeSandbox', { sandbox })),

    async start(spec, onExit) {
      exits.set(spec.container, onExit);
      try {
        return (await request('start', spec)).pid ?? 0;
      } catch (error) {
        exits.delete(spec.container);
        throw error;
      }
    },

    async exec(container, process, signal) {
      signal.throwIfAborted();
      const exec = `${container}/exec-${lastId + 1}`;
      const exit = Promise.withResolvers<ProcessExit>();
      const kill = () => void request('signal', { container: exec, signal: SIGKILL }).catch(() => {});
      exits.set(exec, exit.resolve);
      signal.addEventListener('abort', kill, { once: true });
      try {
        await request('exec', { exec, container, process });
        if (signal.aborted) kill();
        const result = await Promise.race([exit.promise, failed.promise]);
        signal.throwIfAborted();
        return result;
      } finally {
        exits.delete(exec);
        signal.removeEventListener('abort', kill);
      }
    },

    signal: async (container, signal) => void (await request('signal', { container, signal })),

    async dial(sandbox, port) {
      const { socket } = await request('dial', { sandbox, port });
      if (!socket) throw new MeshError('INTERNAL', `dial port ${port}: no socket came`);
      return socket;
    },

    async [Symbol.asyncDispose]() {
      isDisposed = true;
      if (child.connected) child.disconnect();
      await gone;
    },
  };
}

async function once(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ? `ended by ${signal}` : `ended with ${code}`));
  });
}
