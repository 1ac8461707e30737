/** Starts, watches and stops the containers of one pod. What is to run and when is decided in `pod-worker.ts`. */

import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MeshError, type Pod } from '@tulle/api';
import type { ContainerSpec, ProcessExit, ProcessSpec } from '../sandbox/pod-runtime.ts';
import type { AgentContext } from './agent-context.ts';
import { containerMounts } from './container-mounts.ts';
import { BACKOFF_RESET_MS, backoffMs, type ContainerState } from './container-state.ts';
import { Deadline } from './deadline.ts';
import { containerEnvironment, expand } from './environment.ts';
import { findImage, type Image, unknownImage } from './images.ts';
import { type Action, runAction } from './probe-action.ts';
import { type ProbeSpec, startProber } from './prober.ts';
import { containerIdentity } from './security.ts';
import { adaptToSingleUid } from './single-uid.ts';

export interface PodSandbox {
  id: string;
  podIps: string[];
  volumes: ReadonlyMap<string, string>;
  files: { hosts: string; resolvConf: string; hostname: string };
  folder: string;
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** As much as the API accepts in a container's status. */
const TERMINATION_MESSAGE_BYTES_MAX = 4096;
/** A configuration that cannot be used yet (a missing Secret) is looked at again after this. */
const CONFIG_RETRY_MS = 3000;
const IMAGE_RETRY_MS = 300_000;
const SIGNALS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGTERM: 15,
};
/** What a container is given to end after its preStop hook, whatever is left of the grace period. */
const AFTER_HOOK_MS = 2000;

export class ContainerRunner {
  readonly #context: AgentContext;
  /** The pod as it is now, with the addresses that it has. */
  readonly #pod: () => Pod;
  readonly #changed: () => void;

  constructor(context: AgentContext, pod: () => Pod, changed: () => void) {
    this.#context = context;
    this.#pod = pod;
    this.#changed = changed;
  }

  event(type: 'Normal' | 'Warning', reason: string, message: string, c?: ContainerState): void {
    const list = c?.role === 'main' ? 'containers' : 'initContainers';
    this.#context.events.record(this.#pod(), type, reason, message, c && `spec.${list}{${c.name}}`);
  }

  /**
   * Starts the container once more and resolves when it runs; its postStart hook and probes follow by themselves.
   * A failure is left in its state, with the time of the next attempt.
   */
  async start(c: ContainerState, sandbox: PodSandbox): Promise<void> {
    if (c.isRestart) c.restartCount++;
    c.isRestart = false;
    const { images, runtime, logger } = this.#context;
    c.phase = 'starting';
    const image = findImage(images, c.spec.image ?? '');
    if (!image) {
      const message = unknownImage(images, c.spec.image ?? '');
      this.event('Warning', 'Failed', `Failed to pull image "${c.spec.image}": ${message}`, c);
      this.#wait(
        c,
        c.failures++ === 0 ? 'ErrImagePull' : 'ImagePullBackOff',
        message,
        Math.min(CONFIG_RETRY_MS * 10 ** (c.failures - 1), IMAGE_RETRY_MS),
      );
      return;
    }
    let spec: ContainerSpec;
    try {
      spec = await this.#runtimeSpec(c, image, sandbox);
    } catch (error) {
      const { message } = MeshError.from(error);
      this.event('Warning', 'Failed', `Error: ${message}`, c);
      this.#wait(c, 'CreateContainerConfigError', message, CONFIG_RETRY_MS);
      return;
    }
    if (c.isStopping) return this.#wait(c, 'ContainerCreating', undefined, 0);
    if (c.restartCount === 0 || c.attempt === 0)
      this.event('Normal', 'Pulled', `Container image "${c.spec.image}" already present on machine`, c);
    c.exited = Promise.withResolvers<void>();
    c.containerId = spec.container;
    const startedAt = new Date().toISOString().replace(/\.\d+/, '');
    try {
      await runtime.start(spec, (exit) => void this.#ended(c, exit, join(sandbox.folder, `${c.name}.termination`)));
    } catch (error) {
      const { code, message } = MeshError.from(error);
      this.event('Warning', 'Failed', `Error: ${message}`, c);
      if (code === 'NOT_FOUND') {
        // The command cannot be executed: that counts as a run which has failed.
        this.#terminate(c, { exitCode: 128, signal: 0, output: '' }, 'StartError', message, startedAt);
      } else {
        logger.warn({ err: error, pod: this.#pod().metadata.name, container: c.name }, 'container not created');
        this.#wait(c, 'CreateContainerError', message, CONFIG_RETRY_MS);
      }
      return;
    }
    c.phase = 'running';
    c.startedAt = startedAt;
    c.termination = undefined;
    c.attempt++;
    this.event('Normal', 'Created', `Created container: ${c.name}`, c);
    this.event('Normal', 'Started', `Started container ${c.name}`, c);
    void this.#afterStart(c, sandbox);
  }

  /** postStart, then the probes. */
  async #afterStart(c: ContainerState, sandbox: PodSandbox): Promise<void> {
    const run = c.attempt;
    const postStart = c.spec.lifecycle?.postStart as Action | undefined;
    if (postStart) {
      c.isHookRunning = true;
      this.#changed();
      try {
        await Promise.race([this.#act(c, sandbox, postStart, 2 ** 31 - 1), c.exited?.promise]);
      } catch (error) {
        this.event('Warning', 'FailedPostStartHook', `PostStartHook failed: ${MeshError.from(error).message}`, c);
        await this.#context.runtime.signal(c.containerId, SIGNALS.SIGKILL ?? 9);
      }
      c.isHookRunning = false;
      if (c.attempt !== run || !c.isRunning) return;
    }
    this.#startProbes(c, sandbox);
    this.#changed();
  }

  #startProbes(c: ContainerState, sandbox: PodSandbox): void {
    const { startupProbe, readinessProbe, livenessProbe } = c.spec;
    const begin = (
      kind: 'startup' | 'readiness' | 'liveness',
      spec: ProbeSpec,
      onVerdict: (ok: boolean, why: string) => void,
    ) => {
      const title = `${kind[0]?.toUpperCase()}${kind.slice(1)}`;
      const stop = startProber({
        spec,
        kind,
        run: (action, timeoutMs) => this.#act(c, sandbox, action, timeoutMs),
        onVerdict: (ok, why) => {
          onVerdict(ok, why);
          this.#changed();
        },
        onFailure: (why) => this.event('Warning', 'Unhealthy', `${title} probe failed: ${why}`, c),
      });
      c.stopProbers.push(stop);
      return stop;
    };
    const kill = (spec: ProbeSpec, kind: string) => {
      this.event('Normal', 'Killing', `Container ${c.name} failed ${kind} probe, will be restarted`, c);
      c.stopAllProbers();
      const graceS = spec.terminationGracePeriodSeconds ?? this.#pod().spec?.terminationGracePeriodSeconds ?? 30;
      void this.#end(c, sandbox, graceS * 1000);
    };
    const started = () => {
      c.isStarted = true;
      if (!readinessProbe) c.isReady = true;
      else begin('readiness', readinessProbe as ProbeSpec, (ok) => (c.isReady = ok));
      if (livenessProbe)
        begin('liveness', livenessProbe as ProbeSpec, (ok) => ok || kill(livenessProbe as ProbeSpec, 'liveness'));
    };
    if (!startupProbe) {
      started();
      return;
    }
    const stop = begin('startup', startupProbe as ProbeSpec, (ok) => {
      stop();
      if (ok) started();
      else kill(startupProbe as ProbeSpec, 'startup');
    });
  }

  /** Ends a container in order: preStop, its stop signal, and SIGKILL at the deadline. Resolves when it has ended. */
  async stop(c: ContainerState, sandbox: PodSandbox, deadline: Deadline): Promise<void> {
    c.stopAllProbers();
    c.isReady = false;
    if (!c.isRunning) return;
    this.event('Normal', 'Killing', `Stopping container ${c.name}`, c);
    const preStop = c.spec.lifecycle?.preStop as Action | undefined;
    if (preStop && deadline.leftMs > 0) {
      const hook = this.#act(c, sandbox, preStop, Math.max(deadline.leftMs, 1)).catch((error) =>
        this.event('Warning', 'FailedPreStopHook', `PreStopHook failed: ${MeshError.from(error).message}`, c),
      );
      await Promise.race([hook, c.exited?.promise, deadline.reached]);
    }
    const image = findImage(this.#context.images, c.spec.image ?? '');
    const name =
      (c.spec.lifecycle as { stopSignal?: string } | undefined)?.stopSignal ?? image?.stopSignal ?? 'SIGTERM';
    await this.#signal(c, SIGNALS[name] ?? 15);
    let last: NodeJS.Timeout | undefined;
    const afterHook =
      preStop && deadline.leftMs < AFTER_HOOK_MS
        ? new Promise((resolve) => (last = setTimeout(resolve, AFTER_HOOK_MS)))
        : deadline.reached;
    await Promise.race([c.exited?.promise, afterHook]);
    clearTimeout(last);
    await this.#signal(c, SIGNALS.SIGKILL ?? 9);
    await c.exited?.promise;
  }

  async kill(c: ContainerState): Promise<void> {
    c.stopAllProbers();
    await this.#signal(c, SIGNALS.SIGKILL ?? 9);
    if (c.isRunning) await c.exited?.promise;
  }

  async #end(c: ContainerState, sandbox: PodSandbox, graceMs: number): Promise<void> {
    const deadline = new Deadline(graceMs);
    await this.stop(c, sandbox, deadline).catch((error) => this.#context.logger.warn({ err: error }, 'stop container'));
    deadline.cancel();
  }

  async #signal(c: ContainerState, signal: number): Promise<void> {
    if (c.isRunning) await this.#context.runtime.signal(c.containerId, signal);
  }

  async #act(c: ContainerState, sandbox: PodSandbox, action: Action, timeoutMs: number): Promise<void> {
    const podIp = sandbox.podIps[0] ?? this.#context.nodeIps[0] ?? '127.0.0.1';
    const exec = async (command: string[], signal: AbortSignal) => {
      const image = findImage(this.#context.images, c.spec.image ?? '') ?? {};
      const { process } = await this.#runtimeSpec(c, image, sandbox);
      return this.#context.runtime.exec(c.containerId, { ...process, args: command }, signal);
    };
    await runAction(action, { podIp, container: c.spec, exec }, timeoutMs);
  }

  async #runtimeSpec(c: ContainerState, image: Image, sandbox: PodSandbox): Promise<ContainerSpec> {
    const { context, pod } = { context: this.#context, pod: this.#pod() };
    const variables = containerEnvironment(pod, c.spec, context.objects);
    const identity = containerIdentity(pod, c.spec, image, context.uids);
    const env = new Map<string, string>([
      ['PATH', DEFAULT_PATH],
      ['HOSTNAME', pod.spec?.hostname || pod.metadata.name],
      ['HOME', (identity.user?.uid ?? 0) === 0 ? '/root' : '/'],
      ...Object.entries(image.env ?? {}),
      ...variables,
    ]);
    const command = c.spec.command ?? image.entrypoint ?? [];
    const args = c.spec.args ?? (c.spec.command ? [] : (image.command ?? []));
    const process: ProcessSpec = {
      args: [...command, ...args].map((part) => expand(part, variables)),
      env: [],
      cwd: c.spec.workingDir || image.workingDir || '/',
      user: identity.user,
      capabilities: identity.capabilities,
      ambient: identity.ambient,
      noNewPrivileges: identity.noNewPrivileges,
    };
    for (const warning of adaptToSingleUid(c.spec, identity, process, env, context.uids))
      this.event('Warning', 'SingleUid', warning, c);
    process.env = [...env].map(([key, value]) => `${key}=${value}`);
    const terminationLog = join(sandbox.folder, `${c.name}.termination`);
    await writeFile(terminationLog, '');
    await chmod(terminationLog, 0o666);
    return {
      container: `${sandbox.id}/${c.name}/${c.restartCount}-${c.attempt}`,
      sandbox: sandbox.id,
      root: context.rootDir,
      mounts: containerMounts(pod, c.spec, image, sandbox.volumes, { ...sandbox.files, terminationLog }, env),
      readOnlyRoot: c.spec.securityContext?.readOnlyRootFilesystem === true,
      log: this.logPath(c, c.restartCount),
      process,
    };
  }

  logPath(c: ContainerState, restartCount: number): string {
    return join(this.#context.diskDir, this.#pod().metadata.uid ?? '', 'logs', `${c.name}-${restartCount}.log`);
  }

  async #ended(c: ContainerState, exit: ProcessExit, terminationLog: string): Promise<void> {
    const written = await readFile(terminationLog).catch(() => Buffer.alloc(0));
    let message = written.subarray(0, TERMINATION_MESSAGE_BYTES_MAX).toString();
    if (!message && exit.exitCode !== 0 && c.spec.terminationMessagePolicy === 'FallbackToLogsOnError')
      message = await this.#lastLogLines(c);
    this.#terminate(c, exit, exit.exitCode === 0 ? 'Completed' : 'Error', message, c.startedAt);
  }

  async #lastLogLines(c: ContainerState): Promise<string> {
    const LINES = 80;
    const BYTES = 2048;
    const text = await readFile(this.logPath(c, c.restartCount), 'utf8').catch(() => '');
    const lines = text.trimEnd().split('\n').slice(-LINES);
    return lines
      .map((line) => line.split(' ').slice(3).join(' '))
      .join('\n')
      .slice(-BYTES);
  }

  #terminate(c: ContainerState, exit: ProcessExit, reason: string, message: string, startedAt: string): void {
    c.stopAllProbers();
    const lastedMs = Date.now() - Date.parse(startedAt);
    c.failures = lastedMs > BACKOFF_RESET_MS ? 1 : c.failures + 1;
    c.retryAtMs = performance.now() + backoffMs(c.failures);
    const finishedAt = new Date().toISOString().replace(/\.\d+/, '');
    const { exitCode, signal } = exit;
    c.termination = { exitCode, signal, reason, message, startedAt, finishedAt, containerId: c.containerId };
    c.phase = 'terminated';
    c.isReady = false;
    c.isStarted = false;
    c.exited?.resolve();
    this.#changed();
  }

  #wait(c: ContainerState, reason: string, message: string | undefined, retryMs: number): void {
    c.phase = 'waiting';
    c.waiting = { reason, ...(message ? { message } : {}) };
    c.retryAtMs = performance.now() + retryMs;
    this.#changed();
  }
}
