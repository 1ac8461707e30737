/** A Deployment's status from its ReplicaSets': the counts, and the conditions that `kubectl rollout status` waits for. */

import type { Deployment, ReplicaSet } from '@tulle/api';
import { formatTime, timeMs } from '../pod-state.ts';
import { setCondition } from '../status-conditions.ts';
import type { Bounds } from './rolling-update.ts';

export type DeploymentStatus = NonNullable<Deployment['status']>;
type Conditions = DeploymentStatus['conditions'];

/** Something that this sync did and that counts as progress. */
export interface Progress {
  status: 'True' | 'Unknown';
  reason: 'NewReplicaSetCreated' | 'FoundNewReplicaSet' | 'DeploymentPaused' | 'DeploymentResumed';
  message: string;
}

export function deploymentStatus(
  deployment: Deployment,
  newSet: ReplicaSet | undefined,
  oldSets: ReplicaSet[],
  bounds: Bounds,
  progress: Progress | undefined,
  nowMs: number,
): DeploymentStatus {
  const all = newSet ? [newSet, ...oldSets] : oldSets;
  const before: DeploymentStatus = deployment.status ?? {};
  const total = (field: 'replicas' | 'readyReplicas' | 'availableReplicas') =>
    all.reduce((count, { status }) => count + (status?.[field] ?? 0), 0);
  const asked = all.reduce((count, { spec }) => count + (spec?.replicas ?? 0), 0);
  const availableReplicas = total('availableReplicas');
  const status: DeploymentStatus = {
    ...before,
    observedGeneration: deployment.metadata.generation,
    replicas: total('replicas'),
    updatedReplicas: newSet?.status?.replicas ?? 0,
    readyReplicas: total('readyReplicas'),
    availableReplicas,
    unavailableReplicas: Math.max(0, asked - availableReplicas),
  };
  const isAvailable = availableReplicas >= bounds.desired - bounds.maxUnavailable;
  let conditions: Conditions = setCondition(
    before.conditions,
    nowMs,
    {
      type: 'Available',
      status: isAvailable ? 'True' : 'False',
      reason: isAvailable ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
      message: `Deployment ${isAvailable ? 'has' : 'does not have'} minimum availability.`,
    },
    'lastUpdateTime',
  );
  conditions = withProgress(deployment, { ...status, conditions }, newSet, bounds.desired, progress, nowMs);
  const failure = all
    .flatMap((set) => set.status?.conditions ?? [])
    .find((condition) => condition.type === 'ReplicaFailure' && condition.status === 'True');
  const { reason = '', message = '' } = failure ?? {};
  status.conditions = setCondition(
    conditions,
    nowMs,
    { type: 'ReplicaFailure', status: failure && 'True', reason, message },
    'lastUpdateTime',
  );
  return status;
}

/** All replicas are of the newest template and available, and no others are left. */
export function isComplete(deployment: Deployment, status: DeploymentStatus, desired: number): boolean {
  return (
    status.updatedReplicas === desired &&
    status.replicas === desired &&
    status.availableReplicas === desired &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  );
}

/** How long until the progress deadline, for a rollout that has one and is under way. */
export function deadlineInMs(deployment: Deployment, status: DeploymentStatus, nowMs: number): number | undefined {
  const seconds = deployment.spec?.progressDeadlineSeconds;
  const condition = conditionOf(status.conditions, 'Progressing');
  if (!hasDeadline(deployment) || !condition || deployment.spec?.paused) return undefined;
  if (condition.reason === 'NewReplicaSetAvailable' || condition.reason === 'ProgressDeadlineExceeded')
    return undefined;
  return Math.max(0, timeMs(condition.lastUpdateTime) + (seconds ?? 0) * 1000 - nowMs);
}

function withProgress(
  deployment: Deployment,
  status: DeploymentStatus,
  newSet: ReplicaSet | undefined,
  desired: number,
  progress: Progress | undefined,
  nowMs: number,
): Conditions {
  const { conditions } = status;
  const set = (state: string | undefined, reason: string, message: string) =>
    setCondition(conditions, nowMs, { type: 'Progressing', status: state, reason, message }, 'lastUpdateTime');
  if (!hasDeadline(deployment)) return set(undefined, '', '');
  if (progress) return set(progress.status, progress.reason, progress.message);
  if (deployment.spec?.paused) return conditions;

  const condition = conditionOf(conditions, 'Progressing');
  const subject = newSet ? `ReplicaSet "${newSet.metadata.name}"` : `Deployment "${deployment.metadata.name}"`;
  const wasComplete = condition?.reason === 'NewReplicaSetAvailable' && status.replicas === status.updatedReplicas;
  if (wasComplete) return conditions;
  if (isComplete(deployment, status, desired)) {
    return set('True', 'NewReplicaSetAvailable', `${subject} has successfully progressed.`);
  }
  if (isProgressing(deployment.status ?? {}, status)) {
    const marked = set('True', 'ReplicaSetUpdated', `${subject} is progressing.`);
    // The deadline counts from the last progress, also where the words are the same as before.
    return marked?.map((one) => (one.type === 'Progressing' ? { ...one, lastUpdateTime: formatTime(nowMs) } : one));
  }
  if (condition && deadlineInMs(deployment, status, nowMs) === 0) {
    return set('False', 'ProgressDeadlineExceeded', `${subject} has timed out progressing.`);
  }
  return conditions;
}

/** kubectl writes the largest int32 for "no deadline". */
const NO_DEADLINE_S = 2 ** 31 - 1;

function hasDeadline(deployment: Deployment): boolean {
  const seconds = deployment.spec?.progressDeadlineSeconds;
  return seconds !== undefined && seconds !== NO_DEADLINE_S;
}

function isProgressing(before: DeploymentStatus, now: DeploymentStatus): boolean {
  const old = ({ replicas = 0, updatedReplicas = 0 }: DeploymentStatus) => replicas - updatedReplicas;
  return (
    (now.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) ||
    old(now) < old(before) ||
    (now.readyReplicas ?? 0) > (before.readyReplicas ?? 0) ||
    (now.availableReplicas ?? 0) > (before.availableReplicas ?? 0)
  );
}

export function conditionOf(conditions: Conditions, type: string) {
  return conditions?.find((condition) => condition.type === type);
}
