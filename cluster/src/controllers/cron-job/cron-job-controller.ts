/** CronJobs: a Job at every time that the schedule names. */

import { CRON_JOBS, type CronJob, JOBS, type Job, MeshError, objectKey } from '@tulle/api';
import { type ControllerContext, enqueueController, enqueueEach } from '../controller-context.ts';
import { finishedCondition } from '../job/plan.ts';
import { controllerReference } from '../ownership.ts';
import { statusMessage } from '../pod-control.ts';
import { formatTime, timeMs } from '../pod-state.ts';
import { isSameStatus } from '../status-conditions.ts';
import { parseSchedule, type Schedule } from './schedule.ts';

/** Missed times that are counted; with more, a deadline is what the user should set. */
const MISSED_MAX = 100;
const SCHEDULED_AT = 'batch.kubernetes.io/cronjob-scheduled-timestamp';

export function startCronJobController(context: ControllerContext): void {
  const cronJobs = context.collection<CronJob>(CRON_JOBS);
  const jobs = context.collection<Job>(JOBS);
  const recorder = context.recorder('cronjob-controller');
  const queue = context.queue('cron-job', sync);
  enqueueEach(cronJobs, queue);
  enqueueController(jobs, CRON_JOBS, queue);

  async function sync(key: string): Promise<void> {
    const cronJob = cronJobs.get(key);
    if (!cronJob?.spec || cronJob.metadata.deletionTimestamp) return;
    const own = jobs.controlledBy(cronJob.metadata.uid ?? '');
    await trimHistory(cronJob, own);
    let schedule: Schedule;
    try {
      schedule = parseSchedule(cronJob.spec.schedule, cronJob.spec.timeZone);
    } catch (error) {
      recorder.record(cronJob, 'Warning', 'UnparseableSchedule', MeshError.from(error).message);
      return;
    }
    const nowMs = context.now();
    const dueMs = cronJob.spec.suspend ? undefined : lastMissedMs(cronJob, schedule, nowMs);
    if (dueMs === undefined || !(await startJob(cronJob, own, dueMs))) await updateStatus(cronJob, undefined);
    else await updateStatus(cronJob, dueMs);
    const nextMs = cronJob.spec.suspend ? undefined : schedule.nextMs(nowMs);
    if (nextMs !== undefined) queue.addAfter(key, nextMs - context.now());
  }

  /** The latest time that has come and that no Job was made for. */
  function lastMissedMs(cronJob: CronJob, schedule: Schedule, nowMs: number): number | undefined {
    const { startingDeadlineSeconds } = cronJob.spec ?? {};
    let fromMs = timeMs(cronJob.status?.lastScheduleTime ?? cronJob.metadata.creationTimestamp);
    if (startingDeadlineSeconds !== undefined) fromMs = Math.max(fromMs, nowMs - startingDeadlineSeconds * 1000);
    let dueMs: number | undefined;
    let missed = 0;
    for (let atMs = schedule.nextMs(fromMs); atMs !== undefined && atMs <= nowMs; atMs = schedule.nextMs(atMs)) {
      dueMs = atMs;
      if (++missed > MISSED_MAX) {
        recorder.record(cronJob, 'Warning', 'TooManyMissedTimes', `more than ${MISSED_MAX} start times were missed`);
        // The jump to the last minutes finds the latest without counting years.
        return lastBefore(schedule, nowMs) ?? dueMs;
      }
    }
    return dueMs;
  }

  /** Whether the time is dealt with. */
  async function startJob(cronJob: CronJob, own: Job[], dueMs: number): Promise<boolean> {
    const { concurrencyPolicy, jobTemplate } = cronJob.spec as NonNullable<CronJob['spec']>;
    const active = own.filter((job) => !finishedCondition(job.status) && !job.metadata.deletionTimestamp);
    const name = `${cronJob.metadata.name}-${Math.floor(dueMs / 60_000)}`;
    if (own.some((job) => job.metadata.name === name)) return true;
    if (concurrencyPolicy === 'Forbid' && active.length > 0) {
      const message = 'Not starting job because prior execution is running and concurrency policy is Forbid';
      recorder.record(cronJob, 'Normal', 'JobAlreadyActive', message);
      return false;
    }
    if (concurrencyPolicy === 'Replace') {
      for (const job of active) await jobs.delete(job);
    }
    try {
      await jobs.create({
        metadata: {
          ...jobTemplate.metadata,
          name,
          namespace: cronJob.metadata.namespace,
          annotations: { ...jobTemplate.metadata?.annotations, [SCHEDULED_AT]: formatTime(dueMs) },
          ownerReferences: [controllerReference(CRON_JOBS, cronJob)],
        },
        spec: structuredClone(jobTemplate.spec),
      } as Job);
    } catch (error) {
      if (error instanceof MeshError && error.code === 'ALREADY_EXISTS') return true;
      recorder.record(cronJob, 'Warning', 'FailedCreate', `Error creating job: ${statusMessage(error)}`);
      throw error;
    }
    recorder.record(cronJob, 'Normal', 'SuccessfulCreate', `Created job ${name}`);
    return true;
  }

  async function updateStatus(cronJob: CronJob, scheduledMs: number | undefined): Promise<void> {
    const own = jobs.controlledBy(cronJob.metadata.uid ?? '');
    const active = own.filter((job) => !finishedCondition(job.status) && !job.metadata.deletionTimestamp);
    const completions = own.map((job) => job.status?.completionTime).filter((time) => time !== undefined);
    const lastSuccessfulTime = [cronJob.status?.lastSuccessfulTime ?? '', ...completions].sort().at(-1);
    const status = {
      ...cronJob.status,
      active: active
        .map(({ metadata: { name, namespace, uid, resourceVersion } }) => ({
          apiVersion: JOBS.apiVersion,
          kind: JOBS.kind,
          name,
          namespace,
          uid,
          resourceVersion,
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
      ...(scheduledMs === undefined ? {} : { lastScheduleTime: formatTime(scheduledMs) }),
      ...(lastSuccessfulTime ? { lastSuccessfulTime } : {}),
    };
    const current = cronJobs.get(objectKey(cronJob)) ?? cronJob;
    if (!isSameStatus(withoutVersions(status), withoutVersions(current.status))) {
      await cronJobs.updateStatus({ ...current, status });
    }
  }

  async function trimHistory(cronJob: CronJob, own: Job[]): Promise<void> {
    const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cronJob.spec ?? {};
    const finished = (type: string) =>
      own
        .filter((job) => finishedCondition(job.status)?.type === type && !job.metadata.deletionTimestamp)
        .sort((a, b) => timeMs(a.status?.startTime) - timeMs(b.status?.startTime));
    const excess = (list: Job[], limit: number) => list.slice(0, Math.max(0, list.length - limit));
    const unwanted = [
      ...excess(finished('Complete'), successfulJobsHistoryLimit),
      ...excess(finished('Failed'), failedJobsHistoryLimit),
    ];
    for (const job of unwanted) await jobs.delete(job);
  }
}

/** The version of a Job changes with each of its pods; the CronJob's status need not. */
function withoutVersions(status: CronJob['status']): object {
  return { ...status, active: status?.active?.map(({ resourceVersion: _, ...reference }) => reference) };
}

/** The last time that the schedule names before now, looked for in windows that double. */
function lastBefore(schedule: Schedule, nowMs: number): number | undefined {
  for (let windowMs = 60_000; windowMs < 2 ** 36; windowMs *= 2) {
    let lastMs: number | undefined;
    for (
      let atMs = schedule.nextMs(nowMs - windowMs);
      atMs !== undefined && atMs <= nowMs;
      atMs = schedule.nextMs(atMs)
    ) {
      lastMs = atMs;
    }
    if (lastMs !== undefined) return lastMs;
  }
  return undefined;
}
