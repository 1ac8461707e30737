/** What a Job does next: pods to make and to delete, its status, and when to look again. Pure. */

import type { Job, Pod } from '@tulle/api';
import { formatTime, isPodActive, isPodReady, timeMs } from '../pod-state.ts';
import { setCondition } from '../status-conditions.ts';
import { formatIndexes, indexOf, parseIndexes } from './indexes.ts';

export type JobStatus = NonNullable<Job['status']>;

export interface JobPlan {
  /** For an indexed Job the indexes of the pods to make, else as many zeros. */
  create: number[];
  delete: Pod[];
  status: JobStatus;
  /** Milliseconds until time alone changes the plan. */
  nextMs?: number;
  event?: { type: 'Normal' | 'Warning'; reason: string; message: string };
}

/** A pod that failed is followed by the next after 10 s, 20 s, 40 s, … up to 6 min. */
const BACKOFF_MIN_MS = 10_000;
const BACKOFF_MAX_MS = 360_000;

export function isJobFinished(job: Job): boolean {
  return finishedCondition(job.status) !== undefined;
}

export function finishedCondition(status: JobStatus | undefined) {
  return status?.conditions?.find(
    ({ type, status: state }) => ['Complete', 'Failed'].includes(type) && state === 'True',
  );
}

export function planJob(job: Job, pods: Pod[], nowMs: number): JobPlan {
  const { spec, status: before = {} } = job;
  const isIndexed = spec?.completionMode === 'Indexed';
  const active = pods.filter(isPodActive);
  const failedPods = pods.filter((pod) => pod.status?.phase === 'Failed');
  const done = succeeded(job, pods);
  // Pods may be removed after they have finished; what was counted once stays counted.
  const failed = Math.max(before.failed ?? 0, failedPods.length);
  const status: JobStatus = {
    ...before,
    active: active.length,
    ready: active.filter(isPodReady).length,
    terminating: pods.filter((pod) => pod.metadata.deletionTimestamp && !isFinished(pod)).length,
    succeeded: done.count,
    failed,
    ...(isIndexed ? { completedIndexes: formatIndexes(done.indexes) } : {}),
  };
  if (isJobFinished(job)) return { create: [], delete: active, status: { ...status, active: 0 } };
  if (spec?.suspend) return suspended(job, active, status, nowMs);

  const startMs = before.startTime ? timeMs(before.startTime) : nowMs;
  status.startTime = before.startTime ?? formatTime(nowMs);
  status.conditions = resumed(before, nowMs);
  const deadlineMs =
    spec?.activeDeadlineSeconds === undefined ? undefined : startMs + spec.activeDeadlineSeconds * 1000;
  const restarts = active
    .flatMap((pod) => pod.status?.containerStatuses ?? [])
    .reduce((n, one) => n + one.restartCount, 0);
  const limit = spec?.backoffLimit ?? 6;
  const isOverLimit = spec?.template.spec?.restartPolicy === 'OnFailure' ? restarts > limit : failed > limit;
  const end = (type: 'Complete' | 'Failed', reason: string, message: string) =>
    ended(status, active, type, reason, message, nowMs);
  if (isOverLimit) return end('Failed', 'BackoffLimitExceeded', 'Job has reached the specified backoff limit');
  if (deadlineMs !== undefined && deadlineMs <= nowMs) {
    return end('Failed', 'DeadlineExceeded', 'Job was active longer than specified deadline');
  }
  const wanted = spec?.completions;
  const isComplete = wanted === undefined ? done.count > 0 && active.length === 0 : done.count >= wanted;
  if (isComplete) return end('Complete', 'CompletionsReached', 'Reached expected number of succeeded pods');

  const plan = withPods(job, active, failedPods, done, status, nowMs);
  const times = [plan.nextMs, deadlineMs === undefined ? undefined : deadlineMs - nowMs].filter(
    (ms) => ms !== undefined,
  );
  return { ...plan, ...(times.length > 0 ? { nextMs: Math.min(...times) } : {}) };
}

interface Succeeded {
  count: number;
  indexes: Set<number>;
}

function succeeded(job: Job, pods: Pod[]): Succeeded {
  const finished = pods.filter((pod) => pod.status?.phase === 'Succeeded');
  if (job.spec?.completionMode !== 'Indexed') {
    return { count: Math.max(job.status?.succeeded ?? 0, finished.length), indexes: new Set() };
  }
  const indexes = parseIndexes(job.status?.completedIndexes);
  for (const pod of finished) {
    const index = indexOf(pod);
    if (index !== undefined && index < (job.spec.completions ?? 0)) indexes.add(index);
  }
  return { count: indexes.size, indexes };
}

function withPods(
  job: Job,
  active: Pod[],
  failedPods: Pod[],
  done: Succeeded,
  status: JobStatus,
  nowMs: number,
): JobPlan {
  const { parallelism = 1, completions, completionMode } = job.spec ?? {};
  // Without a number of completions, one success means that no more are begun.
  const remaining =
    completions === undefined ? (done.count > 0 ? active.length : parallelism) : completions - done.count;
  const wanted = Math.min(parallelism, remaining);
  if (active.length > wanted) {
    const unready = [...active].sort((a, b) => Number(isPodReady(a)) - Number(isPodReady(b)));
    return { create: [], delete: unready.slice(0, active.length - wanted), status };
  }
  const missing = wanted - active.length;
  if (missing === 0) return { create: [], delete: [], status };
  const waitMs = backoffLeftMs(failedPods, nowMs);
  if (waitMs > 0) return { create: [], delete: [], status, nextMs: waitMs };
  const create =
    completionMode === 'Indexed' ? freeIndexes(active, done, completions ?? 0, missing) : Array(missing).fill(0);
  return { create, delete: [], status };
}

function freeIndexes(active: Pod[], done: Succeeded, completions: number, count: number): number[] {
  const taken = new Set(active.map(indexOf));
  const free: number[] = [];
  for (let index = 0; index < completions && free.length < count; index++) {
    if (!taken.has(index) && !done.indexes.has(index)) free.push(index);
  }
  return free;
}

function backoffLeftMs(failedPods: Pod[], nowMs: number): number {
  if (failedPods.length === 0) return 0;
  const delayMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (failedPods.length - 1));
  return Math.max(...failedPods.map(finishedAtMs)) + delayMs - nowMs;
}

function finishedAtMs(pod: Pod): number {
  const times = (pod.status?.containerStatuses ?? []).map((status) => timeMs(status.state?.terminated?.finishedAt));
  return Math.max(timeMs(pod.metadata.creationTimestamp), ...times);
}

function ended(
  status: JobStatus,
  active: Pod[],
  type: 'Complete' | 'Failed',
  reason: string,
  message: string,
  nowMs: number,
): JobPlan {
  const first = type === 'Complete' ? 'SuccessCriteriaMet' : 'FailureTarget';
  let conditions = setCondition(
    status.conditions,
    nowMs,
    { type: first, status: 'True', reason, message },
    'lastProbeTime',
  );
  const isComplete = type === 'Complete';
  // As upstream: the Job is finished when its last pod is; until then the first condition says that it will be.
  const event = {
    type: isComplete ? ('Normal' as const) : ('Warning' as const),
    reason: isComplete ? 'Completed' : reason,
    message: isComplete ? 'Job completed' : message,
  };
  if (active.length > 0 || (status.terminating ?? 0) > 0) {
    return { create: [], delete: active, status: { ...status, ...(conditions ? { conditions } : {}) } };
  }
  conditions = setCondition(conditions, nowMs, { type, status: 'True', reason, message }, 'lastProbeTime');
  return {
    create: [],
    delete: [],
    status: {
      ...status,
      ...(conditions ? { conditions } : {}),
      ...(isComplete ? { completionTime: formatTime(nowMs) } : {}),
      active: 0,
      ready: 0,
    },
    event,
  };
}

function suspended(job: Job, active: Pod[], status: JobStatus, nowMs: number): JobPlan {
  const message = 'Job suspended';
  const wanted = { type: 'Suspended', status: 'True', reason: 'JobSuspended', message };
  const conditions = setCondition(job.status?.conditions, nowMs, wanted, 'lastProbeTime');
  const isNew = conditions !== job.status?.conditions;
  const { startTime: _, ...rest } = status;
  return {
    create: [],
    delete: active,
    status: { ...rest, ...(conditions ? { conditions } : {}) },
    ...(isNew ? { event: { type: 'Normal', reason: 'Suspended', message } } : {}),
  };
}

function resumed(before: JobStatus, nowMs: number): JobStatus['conditions'] {
  const isSuspended = before.conditions?.some(({ type, status }) => type === 'Suspended' && status === 'True');
  if (!isSuspended) return before.conditions;
  const wanted = { type: 'Suspended', status: 'False', reason: 'JobResumed', message: 'Job resumed' };
  return setCondition(before.conditions, nowMs, wanted, 'lastProbeTime');
}

function isFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}
