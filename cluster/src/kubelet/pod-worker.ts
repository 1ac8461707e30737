/**
 * Runs one pod. Level-triggered: whatever happens (a change of the pod, the end of a container, a probe's verdict, a
 * timer) pokes the worker, which looks at where things stand and does the next thing.
 */

import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { MeshError, type Pod } from '@tulle/api';
import { BRIDGE_MAC } from '../network/interfaces.ts';
import type { AgentContext } from './agent-context.ts';
import { ContainerRunner, type PodSandbox } from './container-runner.ts';
import type { ContainerState } from './container-state.ts';
import { Deadline } from './deadline.ts';
import { podHostname, writePodFiles } from './pod-files.ts';
import { isInitialized, podPhase, podStatus, willRestart } from './pod-status.ts';
import { restoreContainers } from './restored-pod.ts';
import { isRefreshed, prepareVolumes } from './volumes.ts';

/** A volume that cannot be had yet (a missing ConfigMap) is tried again after this, or when the object comes. */
const SETUP_RETRY_MS = 2000;
const DEFAULT_GRACE_S = 30;
/** Longer waits are looked at again in between: Node's timers end at 24 days. */
const TIMER_MS_MAX = 600_000;

export class PodWorker {
  readonly containers: ContainerState[];
  readonly #context: AgentContext;
  readonly #runner: ContainerRunner;
  readonly #startTime: string;
  #pod: Pod;
  #sandbox: PodSandbox | undefined;
  #addressOffset: number | undefined;
  #podIps: string[] = [];
  #failure: { reason: string; message: string } | undefined;
  #deadline: Deadline | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = 0;
  #tokenTimer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isPoked = false;
  #isGone = false;
  /** All init containers have been through once; from then on none of them holds back the others. */
  #isInitialized = false;
  /** Everything has ended and been cleared away. */
  #isDone = false;
  #refreshing: Promise<void> = Promise.resolve();

  constructor(context: AgentContext, pod: Pod) {
    this.#context = context;
    this.#pod = pod;
    this.#startTime = String(pod.status?.startTime ?? new Date().toISOString().replace(/\.\d+/, ''));
    this.containers = restoreContainers(pod);
    this.#runner = new ContainerRunner(
      context,
      () => this.#podWithStatus(),
      () => this.poke(),
    );
  }

  get pod(): Pod {
    return this.#pod;
  }

  get sandboxId(): string | undefined {
    return this.#sandbox?.id;
  }

  update(pod: Pod): void {
    const old = this.#pod.metadata;
    this.#pod = pod;
    const { deletionTimestamp, deletionGracePeriodSeconds = DEFAULT_GRACE_S } = pod.metadata;
    if (deletionTimestamp) this.#deadline?.shorten(deletionGracePeriodSeconds * 1000);
    if (!isDeepStrictEqual([old.labels, old.annotations], [pod.metadata.labels, pod.metadata.annotations]))
      this.refreshVolumes();
    this.poke();
  }

  /** The pod is no longer in the API: what still runs is killed at once. Resolves when nothing is left. */
  async remove(): Promise<void> {
    this.#isGone = true;
    this.#deadline?.shorten(0);
    this.poke();
    while (!this.#isDone) await (this.#running ?? this.#step());
  }

  /** Something that happens in between is not lost: one more round follows. */
  poke(): void {
    this.#context.reportStatus(this.#pod.metadata.uid ?? '');
    this.#isPoked = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#isPoked) this.poke();
    });
  }

  /** The agent ends: nothing more is begun. The runtime ends what runs. */
  abandon(): void {
    this.#isDone = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#tokenTimer);
    this.#deadline?.cancel();
    for (const c of this.containers) c.stopAllProbers();
  }

  status(): NonNullable<Pod['status']> {
    return podStatus({
      pod: this.#pod,
      containers: this.containers,
      hasSandbox: this.#sandbox !== undefined,
      podIps: this.#podIps,
      hostIps: this.#context.nodeIps,
      startTime: this.#startTime,
      failure: this.#failure,
      now: new Date().toISOString().replace(/\.\d+/, ''),
    });
  }

  logPath(container: ContainerState, previous: boolean): string {
    return this.#runner.logPath(container, container.restartCount - (previous ? 1 : 0));
  }

  /** Writes volumes anew that follow objects of the API. */
  refreshVolumes(): void {
    const sandbox = this.#sandbox;
    if (!sandbox || this.#isGone || this.#pod.metadata.deletionTimestamp) {
      this.poke();
      return;
    }
    this.#refreshing = this.#refreshing
      .then(() => this.#prepareVolumes())
      .then(() => undefined)
      .catch((error) => this.#runner.event('Warning', 'FailedMount', MeshError.from(error).message));
  }

  async #run(): Promise<void> {
    while (this.#isPoked) {
      this.#isPoked = false;
      try {
        await this.#step();
      } catch (error) {
        this.#context.logger.error({ err: MeshError.from(error), pod: this.#pod.metadata.name }, 'pod step failed');
        this.#pokeAfter(SETUP_RETRY_MS);
      }
    }
  }

  async #step(): Promise<void> {
    if (this.#isDone) return;
    if (this.#isGone || this.#pod.metadata.deletionTimestamp) return this.#terminate();
    if (this.#failure || this.#isOver()) {
      await this.#stopAll(this.#graceMs());
      return this.#clearAway();
    }
    if (this.#isPastDeadline())
      return this.#fail('DeadlineExceeded', 'Pod was active on the node longer than the specified deadline');
    if (!this.#sandbox && !(await this.#setUp())) return;
    const sandbox = this.#sandbox;
    if (!sandbox) return;
    if (this.#mainsAreOver()) return this.#stopSidecars(sandbox);
    for (const c of this.containers.filter(({ role }) => role !== 'main')) {
      if (!(this.#isInitialized && c.role === 'init')) await this.#keepRunning(c, sandbox);
      if (!this.#isInitialized && !isInitialized(c)) return;
    }
    this.#isInitialized = true;
    for (const c of this.containers.filter(({ role }) => role === 'main')) {
      await this.#keepRunning(c, sandbox);
      // A postStart hook holds back the containers after it.
      if (c.isHookRunning || c.phase === 'starting') return;
    }
  }

  /** Starts the container when it should run and it is time to. */
  async #keepRunning(c: ContainerState, sandbox: PodSandbox): Promise<void> {
    if (c.isStopping || c.phase === 'running' || c.phase === 'starting') return;
    if (c.phase === 'terminated') {
      if (!willRestart(c, this.#pod.spec?.restartPolicy ?? 'Always')) return;
      c.lastTermination = c.termination;
      c.isRestart = true;
      c.phase = 'waiting';
      c.waiting = { reason: 'ContainerCreating' };
      if (c.failures > 1 && c.retryAtMs > performance.now()) {
        const seconds = Math.round((c.retryAtMs - performance.now()) / 1000);
        const message = `back-off ${seconds}s restarting failed container=${c.name} pod=${this.#pod.metadata.name}`;
        c.waiting = { reason: 'CrashLoopBackOff', message };
        this.#runner.event('Warning', 'BackOff', `Back-off restarting failed container ${c.name}`, c);
      }
    }
    const waitMs = c.retryAtMs - performance.now();
    if (waitMs > 0) {
      this.#pokeAfter(waitMs);
      return;
    }
    await this.#runner.start(c, sandbox);
  }

  async #setUp(): Promise<boolean> {
    const { metadata, spec } = this.#pod;
    const id = metadata.uid ?? '';
    const { addresses, bridge, runtime, nodeIps, names, diskDir, memoryDir } = this.#context;
    try {
      const folder = join(memoryDir, id);
      await mkdir(join(diskDir, id, 'logs'), { recursive: true });
      if (spec?.hostNetwork) this.#podIps = nodeIps;
      else if (this.#addressOffset === undefined) {
        const allocated = addresses.allocate();
        this.#addressOffset = allocated.offset;
        this.#podIps = allocated.addresses;
      }
      const files = await writePodFiles(join(folder, 'etc'), this.#pod, this.#podIps, names);
      const volumes = await this.#prepareVolumes();
      const pairs = this.#podIps.map((address, i) => ({ address, gateway: nodeIps[i] ?? '' }));
      const network = {
        bridge,
        bridgeMac: macBytes(BRIDGE_MAC),
        hostInterface: hostInterface(id),
        mac: podMac(this.#podIps[0] ?? ''),
        addresses: pairs,
      };
      const hostname = podHostname(this.#pod);
      await runtime.createSandbox(spec?.hostNetwork ? { sandbox: id, hostname } : { sandbox: id, hostname, network });
      this.#sandbox = { id, podIps: this.#podIps, volumes, files, folder: join(folder, 'etc') };
      return true;
    } catch (error) {
      const { message } = MeshError.from(error);
      const reason = message.startsWith('MountVolume') ? 'FailedMount' : 'FailedCreatePodSandBox';
      this.#runner.event('Warning', reason, message);
      this.#pokeAfter(SETUP_RETRY_MS);
      return false;
    }
  }

  async #prepareVolumes(): Promise<Map<string, string>> {
    const { diskDir, memoryDir, objects, tokens } = this.#context;
    const id = this.#pod.metadata.uid ?? '';
    const fsGroup = this.#pod.spec?.securityContext?.fsGroup;
    const group = fsGroup !== undefined && fsGroup < this.#context.uids.count ? fsGroup : undefined;
    const folders = { diskDir: join(diskDir, id, 'volumes'), memoryDir: join(memoryDir, id, 'volumes'), group };
    const source = {
      configMap: (key: string) => objects.configMap(key),
      secret: (key: string) => objects.secret(key),
      token: (pod: Pod, audience: string | undefined, lifetimeS: number) => tokens.token(pod, audience, lifetimeS),
    };
    const paths = await prepareVolumes(this.#podWithStatus(), folders, source);
    const renewAtMs = tokens.renewAtMs(this.#pod);
    clearTimeout(this.#tokenTimer);
    if (renewAtMs !== undefined && this.#pod.spec?.volumes?.some(isRefreshed))
      this.#tokenTimer = setTimeout(() => this.refreshVolumes(), Math.max(renewAtMs - Date.now(), 1000));
    return paths;
  }

  /** The pod as its containers should see it: the API's copy may not have the addresses yet. */
  #podWithStatus(): Pod {
    const ips = this.#podIps.map((ip) => ({ ip }));
    const hostIPs = this.#context.nodeIps.map((ip) => ({ ip }));
    const own = { podIP: this.#podIps[0], podIPs: ips, hostIP: this.#context.nodeIps[0], hostIPs };
    return { ...this.#pod, status: { ...this.#pod.status, ...own } } as Pod;
  }

  #isOver(): boolean {
    const facts = { pod: this.#pod, containers: this.containers } as Parameters<typeof podPhase>[0];
    const phase = podPhase(facts);
    return phase === 'Succeeded' || phase === 'Failed';
  }

  #mainsAreOver(): boolean {
    const policy = this.#pod.spec?.restartPolicy ?? 'Always';
    const mains = this.containers.filter(({ role }) => role === 'main');
    return mains.every((c) => c.phase === 'terminated' && !willRestart(c, policy));
  }

  #isPastDeadline(): boolean {
    const { activeDeadlineSeconds } = this.#pod.spec ?? {};
    if (activeDeadlineSeconds === undefined) return false;
    const leftMs = Date.parse(this.#startTime) + activeDeadlineSeconds * 1000 - Date.now();
    if (leftMs > 0) this.#pokeAfter(leftMs);
    return leftMs <= 0;
  }

  #graceMs(): number {
    return (this.#pod.spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_S) * 1000;
  }

  async #fail(reason: string, message: string): Promise<void> {
    this.#runner.event('Warning', reason, message);
    this.#failure = { reason, message };
    await this.#stopAll(this.#graceMs());
    this.#isPoked = true;
  }

  async #stopSidecars(sandbox: PodSandbox): Promise<void> {
    const sidecars = this.containers.filter(({ role }) => role === 'sidecar');
    for (const c of sidecars) c.isStopping = true;
    const deadline = new Deadline(this.#graceMs());
    this.#deadline = deadline;
    for (const c of sidecars.reverse()) await this.#runner.stop(c, sandbox, deadline);
    deadline.cancel();
    this.#deadline = undefined;
    this.#isPoked = true;
  }

  /** Main containers together, then sidecars, the last started first. */
  async #stopAll(graceMs: number): Promise<void> {
    for (const c of this.containers) c.isStopping = true;
    const sandbox = this.#sandbox;
    if (!sandbox) return;
    const deadline = new Deadline(this.#isGone ? 0 : graceMs);
    this.#deadline = deadline;
    const first = this.containers.filter(({ role }) => role !== 'sidecar');
    await Promise.all(first.map((c) => this.#runner.stop(c, sandbox, deadline)));
    for (const c of this.containers.filter(({ role }) => role === 'sidecar').reverse())
      await this.#runner.stop(c, sandbox, deadline);
    deadline.cancel();
    this.#deadline = undefined;
  }

  async #terminate(): Promise<void> {
    await this.#stopAll((this.#pod.metadata.deletionGracePeriodSeconds ?? DEFAULT_GRACE_S) * 1000);
    await this.#clearAway();
    const { uid = '' } = this.#pod.metadata;
    const { diskDir, memoryDir, tokens, logger } = this.#context;
    tokens.forget(this.#pod);
    await this.#refreshing;
    for (const folder of [diskDir, memoryDir]) {
      await rm(join(folder, uid), { recursive: true, force: true }).catch((error) =>
        logger.warn({ err: MeshError.from(error), pod: this.#pod.metadata.name }, 'folder of an ended pod not removed'),
      );
    }
    this.#isDone = true;
    if (!this.#isGone) this.#context.finishDeletion(this.#pod);
  }

  /** Gives back what a pod that has ended no longer needs; its logs stay until it is deleted. */
  async #clearAway(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    clearTimeout(this.#tokenTimer);
    for (const c of this.containers) c.stopAllProbers();
    const sandbox = this.#sandbox;
    this.#sandbox = undefined;
    if (sandbox) await this.#context.runtime.removeSandbox(sandbox.id);
    if (this.#addressOffset !== undefined) this.#context.addresses.release(this.#addressOffset);
    this.#addressOffset = undefined;
  }

  /** The soonest of what is asked for; each step asks anew for what is still to come. */
  #pokeAfter(ms: number): void {
    if (this.#isDone) return;
    const atMs = performance.now() + ms;
    if (this.#timer && atMs >= this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.poke();
      },
      Math.min(ms, TIMER_MS_MAX),
    );
  }
}

/** Linux allows 15 bytes; the parts of a uid that differ are anywhere, so they are mixed. */
function hostInterface(uid: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(uid)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return `veth${hash.toString(16).padStart(16, '0').slice(0, 11)}`;
}

/** From the IPv4 address, so that it is one of a kind on the bridge. */
function podMac(ip: string): number[] {
  return [0x0a, 0x58, ...ip.split('.').map(Number)];
}

function macBytes(mac: string): number[] {
  return mac.split(':').map((byte) => Number.parseInt(byte, 16));
}
