/** Jobs: pods until enough of them have succeeded or too many have failed. */

import { JOBS, type Job, objectKey, PODS, type Pod } from '@tulle/api';
import { matchesSelector } from '@tulle/client';
import { type ControllerContext, enqueueController, enqueueEach } from '../controller-context.ts';
import { claim } from '../ownership.ts';
import { createPods, deletePods } from '../pod-control.ts';
import { timeMs } from '../pod-state.ts';
import { podFromTemplate } from '../pod-template.ts';
import { isSameStatus } from '../status-conditions.ts';
import { COMPLETION_INDEX } from './indexes.ts';
import { finishedCondition, planJob } from './plan.ts';

const UID_LABELS = ['batch.kubernetes.io/controller-uid', 'controller-uid'];
const NAME_LABELS = ['batch.kubernetes.io/job-name', 'job-name'];

export function startJobController(context: ControllerContext): void {
  const jobs = context.collection<Job>(JOBS);
  const pods = context.collection<Pod>(PODS);
  const recorder = context.recorder('job-controller');
  const queue = context.queue('job', sync);
  enqueueEach(jobs, queue);
  enqueueController(pods, JOBS, queue, (orphan) => {
    for (const job of jobs.inNamespace(orphan.metadata.namespace ?? '')) {
      if (matchesSelector(job.spec?.selector, orphan.metadata.labels)) queue.add(objectKey(job));
    }
  });

  async function sync(key: string): Promise<void> {
    const job = jobs.get(key);
    if (!job?.spec || job.metadata.deletionTimestamp) return;
    const own = await claim(pods, JOBS, job, job.spec.selector ?? { matchLabels: uidLabels(job) });
    const plan = planJob(job, own, context.now());
    await deletePods(pods, recorder, job, plan.delete);
    await createPods(
      pods,
      recorder,
      job,
      plan.create.map((index) => newPod(job, index)),
    );
    // The counts of what is active are of after this sync; all else was decided on what was there before.
    const after = planJob(job, pods.controlledBy(job.metadata.uid ?? ''), context.now());
    const status = plan.event ? plan.status : after.event ? undefined : after.status;
    const current = jobs.get(key) ?? job;
    if (status && !isSameStatus(status, current.status)) await jobs.updateStatus({ ...current, status });
    if (plan.event) recorder.record(job, plan.event.type, plan.event.reason, plan.event.message);
    else if (after.event) queue.add(key);
    if (plan.nextMs !== undefined) queue.addAfter(key, plan.nextMs);
    await expire(jobs.get(key) ?? job);
  }

  /** Deletes a finished Job when its time to live is over. */
  async function expire(job: Job): Promise<void> {
    const finished = finishedCondition(job.status);
    const seconds = job.spec?.ttlSecondsAfterFinished;
    if (!finished || seconds === undefined) return;
    const leftMs = timeMs(finished.lastTransitionTime) + seconds * 1000 - context.now();
    if (leftMs > 0) queue.addAfter(objectKey(job), leftMs);
    else await jobs.delete(job, { propagationPolicy: 'Foreground' });
  }
}

function uidLabels(job: Job): Record<string, string> {
  return Object.fromEntries(UID_LABELS.map((label) => [label, job.metadata.uid ?? '']));
}

function newPod(job: Job, index: number): Pod {
  const labels = { ...uidLabels(job), ...Object.fromEntries(NAME_LABELS.map((label) => [label, job.metadata.name])) };
  const template = job.spec?.template ?? {};
  if (job.spec?.completionMode !== 'Indexed') return podFromTemplate(template, JOBS, job, { labels });
  const text = String(index);
  const pod = podFromTemplate(template, JOBS, job, {
    labels: { ...labels, [COMPLETION_INDEX]: text },
    annotations: { [COMPLETION_INDEX]: text },
  });
  // The server adds the random end of the name to this base.
  pod.metadata.generateName = `${job.metadata.name}-${index}-`;
  const env = {
    name: 'JOB_COMPLETION_INDEX',
    valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${COMPLETION_INDEX}']` } },
  };
  for (const container of [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])]) {
    container.env = [...(container.env ?? []), env];
  }
  if (pod.spec && !pod.spec.hostname) pod.spec.hostname = `${job.metadata.name}-${index}`;
  return pod;
}
