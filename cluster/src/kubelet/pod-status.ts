/** A pod's status from the states of its containers. Pure. */

import type { Pod } from '@tulle/api';
import type { ContainerState, Termination } from './container-state.ts';

type PodStatus = NonNullable<Pod['status']>;
type Condition = NonNullable<PodStatus['conditions']>[number];
export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

export interface PodFacts {
  pod: Pod;
  containers: ContainerState[];
  hasSandbox: boolean;
  podIps: string[];
  hostIps: string[];
  startTime: string;
  /** Set when the agent ended the pod: DeadlineExceeded and the like. */
  failure?: { reason: string; message: string };
  now: string;
}

export function podStatus(facts: PodFacts): PodStatus {
  const { pod, containers, podIps, hostIps } = facts;
  const phase = podPhase(facts);
  const inits = containers.filter(({ role }) => role !== 'main');
  const mains = containers.filter(({ role }) => role === 'main');
  return {
    phase,
    conditions: conditions(facts, phase),
    ...(facts.failure ?? {}),
    startTime: facts.startTime as unknown as PodStatus['startTime'],
    hostIP: hostIps[0],
    hostIPs: hostIps.map((ip) => ({ ip })),
    ...(podIps.length > 0 ? { podIP: podIps[0], podIPs: podIps.map((ip) => ({ ip })) } : {}),
    qosClass: pod.status?.qosClass ?? qosClass(pod),
    ...(inits.length > 0 ? { initContainerStatuses: inits.map(containerStatus) } : {}),
    containerStatuses: mains.map(containerStatus),
  } as PodStatus;
}

export function podPhase({ pod, containers, failure }: PodFacts): PodPhase {
  const policy = pod.spec?.restartPolicy ?? 'Always';
  const isOver = (c: ContainerState) => c.phase === 'terminated' && (c.isStopping || !willRestart(c, policy));
  const mains = containers.filter(({ role }) => role === 'main');
  const inits = containers.filter(({ role }) => role === 'init');
  const isAllEnded = containers.every((c) => c.phase === 'terminated' || (c.phase === 'waiting' && c.isStopping));
  if (failure) return isAllEnded ? 'Failed' : mains.some((c) => c.startedAt) ? 'Running' : 'Pending';
  if (inits.some((c) => isOver(c) && c.termination?.exitCode !== 0)) return 'Failed';
  // Sidecars end after the rest; until they have, the pod is still running.
  if (mains.every(isOver) && isAllEnded)
    return mains.every((c) => c.termination?.exitCode === 0) ? 'Succeeded' : 'Failed';
  const isBegun = mains.some((c) => c.phase === 'running' || c.phase === 'terminated' || c.lastTermination);
  return isBegun && inits.every(isInitialized) ? 'Running' : 'Pending';
}

/** Whether an ended container is started again. Init containers of a pod that always restarts do so on failure. */
export function willRestart({ role, termination }: ContainerState, policy: string): boolean {
  if (role === 'sidecar') return true;
  const hasFailed = termination?.exitCode !== 0;
  if (role === 'init') return policy !== 'Never' && hasFailed;
  return policy === 'Always' || (policy === 'OnFailure' && hasFailed);
}

export function isInitialized(c: ContainerState): boolean {
  if (c.role === 'sidecar') return c.isStarted;
  return c.phase === 'terminated' && c.termination?.exitCode === 0;
}

function conditions(facts: PodFacts, phase: PodPhase): Condition[] {
  const { pod, containers, hasSandbox, now } = facts;
  const old = pod.status?.conditions ?? [];
  const inits = containers.filter(({ role }) => role !== 'main');
  const mains = containers.filter(({ role }) => role === 'main');
  const isOver = phase === 'Succeeded' || phase === 'Failed';
  const isInit = phase === 'Succeeded' || inits.every(isInitialized);
  const unready = [...mains, ...inits.filter((c) => c.role === 'sidecar')].filter((c) => !c.isReady);
  const names = (list: ContainerState[]) => `[${list.map((c) => c.name).join(' ')}]`;
  const why = isOver
    ? { reason: phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed' }
    : { reason: 'ContainersNotReady', message: `containers with unready status: ${names(unready)}` };
  const areReady = !isOver && isInit && unready.length === 0;
  const gates = pod.spec?.readinessGates ?? [];
  const closed = gates.filter(({ conditionType }) => old.find((c) => c.type === conditionType)?.status !== 'True');
  const gate =
    areReady && closed.length > 0
      ? {
          reason: 'ReadinessGatesNotReady',
          message: `the status of pod readiness gate "${closed[0]?.conditionType}" is not "True"`,
        }
      : why;
  const incomplete = inits.filter((c) => !isInitialized(c));
  const notInit = {
    reason: 'ContainersNotInitialized',
    message: `containers with incomplete status: ${names(incomplete)}`,
  };
  const wanted: [string, boolean, object][] = [
    ['PodReadyToStartContainers', hasSandbox, {}],
    ['Initialized', isInit, notInit],
    ['Ready', areReady && closed.length === 0, gate],
    ['ContainersReady', areReady, why],
  ];
  return wanted.map(([type, isTrue, reason]) => {
    const before = old.find((c) => c.type === type);
    const status = isTrue ? 'True' : 'False';
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now;
    const explanation = isTrue ? (type === 'Initialized' && isOver ? why : { reason: null, message: null }) : reason;
    return { type, status, lastProbeTime: null, lastTransitionTime, ...explanation } as unknown as Condition;
  });
}

function containerStatus(c: ContainerState) {
  const state =
    c.phase === 'running'
      ? { running: { startedAt: c.startedAt } }
      : c.phase === 'terminated' && c.termination
        ? { terminated: terminated(c.termination) }
        : { waiting: c.waiting };
  return {
    name: c.name,
    state,
    lastState: c.lastTermination ? { terminated: terminated(c.lastTermination) } : {},
    ready: c.role === 'init' ? c.phase === 'terminated' && c.termination?.exitCode === 0 : c.isReady,
    restartCount: c.restartCount,
    image: c.spec.image ?? '',
    imageID: c.containerId ? `tulle://${c.spec.image}` : '',
    ...(c.containerId ? { containerID: `tulle://${c.containerId}` } : {}),
    started: c.role === 'init' ? false : c.phase === 'running' && c.isStarted,
  };
}

function terminated({ exitCode, signal, reason, message, startedAt, finishedAt, containerId }: Termination) {
  const times = { startedAt: startedAt || null, finishedAt };
  const more = { ...(signal ? { signal } : {}), ...(message ? { message } : {}) };
  return { exitCode, reason, ...times, ...more, containerID: containerId ? `tulle://${containerId}` : '' };
}

function qosClass(pod: Pod): string {
  const all = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].map((c) => c.resources ?? {});
  const hasAny = all.some(({ limits, requests }) => limits?.cpu || limits?.memory || requests?.cpu || requests?.memory);
  const isFull = all.every(
    ({ limits, requests }) =>
      limits?.cpu &&
      limits.memory &&
      (requests?.cpu ?? limits.cpu) === limits.cpu &&
      (requests?.memory ?? limits.memory) === limits.memory,
  );
  return !hasAny ? 'BestEffort' : isFull ? 'Guaranteed' : 'Burstable';
}
