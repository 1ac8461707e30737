/**
 * What a StatefulSet does next: which pods it makes, deletes or gives their identity back, and its status. Pure.
 * `OrderedReady` takes one step at a time, from the lowest ordinal up and from the highest down.
 */

import type { Pod, StatefulSet } from '@tulle/api';
import { isPodAvailable, isPodFinished, isPodReady } from '../pod-state.ts';

export interface Plan {
  create: Array<{ ordinal: number; revision: string }>;
  delete: Pod[];
  /** Pods whose labels no longer say who they are. */
  restore: Pod[];
  status: NonNullable<StatefulSet['status']>;
}

export interface Situation {
  set: StatefulSet;
  pods: Pod[];
  currentRevision: string;
  updateRevision: string;
  nowMs: number;
}

export const POD_NAME = 'statefulset.kubernetes.io/pod-name';
const REVISION = 'controller-revision-hash';

export function planStatefulSet(situation: Situation): Plan {
  const { set, pods } = situation;
  const start = set.spec?.ordinals?.start ?? 0;
  const count = set.spec?.replicas ?? 1;
  const slots = Array.from({ length: count }, (_, index) => pods.find((pod) => ordinalOf(pod, set) === start + index));
  const condemned = pods
    .filter((pod) => ordinalOf(pod, set) < start || ordinalOf(pod, set) >= start + count)
    .sort((a, b) => ordinalOf(b, set) - ordinalOf(a, set));
  const plan: Plan = { create: [], delete: [], restore: [], status: statusOf(situation) };
  if (set.metadata.deletionTimestamp) return plan;
  if (
    fillSlots(situation, slots, start, plan) &&
    removeCondemned(situation, slots, condemned, plan) &&
    set.spec?.updateStrategy?.type !== 'OnDelete'
  ) {
    replaceOutdated(situation, slots, plan);
  }
  return plan;
}

/** The number at the end of the name; -1 for a pod that is not named after the set. */
export function ordinalOf(pod: Pod, set: StatefulSet): number {
  const rest = pod.metadata.name.startsWith(`${set.metadata.name}-`)
    ? pod.metadata.name.slice(set.metadata.name.length + 1)
    : '';
  return /^(0|[1-9]\d*)$/.test(rest) ? Number(rest) : -1;
}

/** Whether the next phase may begin. */
function fillSlots(situation: Situation, slots: Array<Pod | undefined>, start: number, plan: Plan): boolean {
  const isOrdered = situation.set.spec?.podManagementPolicy !== 'Parallel';
  let isDone = true;
  for (const [index, pod] of slots.entries()) {
    const ordinal = start + index;
    if (!pod) {
      plan.create.push({ ordinal, revision: revisionFor(situation, ordinal) });
      isDone = false;
      if (isOrdered) return false;
      continue;
    }
    if (isPodFinished(pod)) {
      if (!pod.metadata.deletionTimestamp) plan.delete.push(pod);
      isDone = false;
      if (isOrdered) return false;
      continue;
    }
    if (isOrdered && (pod.metadata.deletionTimestamp || !isAvailable(situation, pod))) return false;
    if (pod.metadata.labels?.[POD_NAME] !== pod.metadata.name) plan.restore.push(pod);
  }
  return isDone;
}

function removeCondemned(situation: Situation, slots: Array<Pod | undefined>, condemned: Pod[], plan: Plan): boolean {
  const isOrdered = situation.set.spec?.podManagementPolicy !== 'Parallel';
  const all = [...slots, ...[...condemned].reverse()].filter((pod): pod is Pod => pod !== undefined);
  const firstUnhealthy = all.find((pod) => !isHealthy(pod));
  for (const pod of condemned) {
    if (pod.metadata.deletionTimestamp) {
      if (isOrdered) return false;
      continue;
    }
    if (isOrdered && !isAvailable(situation, pod) && pod !== firstUnhealthy) return false;
    plan.delete.push(pod);
    if (isOrdered) return false;
  }
  return true;
}

/** From the highest ordinal down to the partition, one at a time, and the next only when the last is healthy. */
function replaceOutdated({ set, updateRevision }: Situation, slots: Array<Pod | undefined>, plan: Plan): void {
  const partition = set.spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
  for (let index = slots.length - 1; index >= partition; index--) {
    const pod = slots[index];
    if (!pod) return;
    if (pod.metadata.labels?.[REVISION] !== updateRevision && !pod.metadata.deletionTimestamp) {
      plan.delete.push(pod);
      return;
    }
    if (!isHealthy(pod)) return;
  }
}

/** A pod that comes back while an update is on its way comes back as it was, unless the update has passed it. */
function revisionFor({ set, currentRevision, updateRevision }: Situation, ordinal: number): string {
  if (set.spec?.updateStrategy?.type === 'OnDelete') return updateRevision;
  const start = set.spec?.ordinals?.start ?? 0;
  const partition = set.spec?.updateStrategy?.rollingUpdate?.partition;
  const kept = partition ? partition : (set.status?.currentReplicas ?? 0);
  return currentRevision !== updateRevision && ordinal < start + kept ? currentRevision : updateRevision;
}

function statusOf({ set, pods, currentRevision, updateRevision, nowMs }: Situation): Plan['status'] {
  const replicas = set.spec?.replicas ?? 1;
  const present = pods.filter((pod) => !isPodFinished(pod) || !pod.metadata.deletionTimestamp);
  const withRevision = (revision: string) =>
    present.filter((pod) => pod.metadata.labels?.[REVISION] === revision && !pod.metadata.deletionTimestamp).length;
  const status: Plan['status'] = {
    ...set.status,
    observedGeneration: set.metadata.generation,
    replicas: present.length,
    readyReplicas: present.filter(isRunningAndReady).length,
    availableReplicas: present.filter(
      (pod) => isRunningAndReady(pod) && isPodAvailable(pod, set.spec?.minReadySeconds, nowMs),
    ).length,
    currentReplicas: withRevision(currentRevision),
    updatedReplicas: withRevision(updateRevision),
    currentRevision,
    updateRevision,
    collisionCount: set.status?.collisionCount ?? 0,
  };
  const isUpdated =
    set.spec?.updateStrategy?.type !== 'OnDelete' &&
    status.updatedReplicas === replicas &&
    status.readyReplicas === replicas &&
    status.replicas === replicas;
  return isUpdated ? { ...status, currentRevision: updateRevision, currentReplicas: status.updatedReplicas } : status;
}

function isAvailable({ set, nowMs }: Situation, pod: Pod): boolean {
  return isRunningAndReady(pod) && isPodAvailable(pod, set.spec?.minReadySeconds, nowMs);
}

function isRunningAndReady(pod: Pod): boolean {
  return pod.status?.phase === 'Running' && isPodReady(pod);
}

function isHealthy(pod: Pod): boolean {
  return isRunningAndReady(pod) && !pod.metadata.deletionTimestamp;
}
