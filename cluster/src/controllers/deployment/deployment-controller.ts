/** Deployments: a ReplicaSet for the newest template, and the way there from the older ones. */

import {
  DEPLOYMENTS,
  type Deployment,
  MeshError,
  objectKey,
  PODS,
  type Pod,
  REPLICA_SETS,
  type ReplicaSet,
} from '@tulle/api';
import { matchesSelector } from '@tulle/client';
import { type ControllerContext, enqueueController, enqueueEach } from '../controller-context.ts';
import { claim, controllerOf } from '../ownership.ts';
import { statusMessage } from '../pod-control.ts';
import { isPodFinished, timeMs } from '../pod-state.ts';
import { hashOf } from '../pod-template.ts';
import { isSameStatus } from '../status-conditions.ts';
import { conditionOf, deadlineInMs, deploymentStatus, isComplete, type Progress } from './deployment-status.ts';
import {
  annotationsFor,
  beyondHistory,
  byAge,
  DESIRED_REPLICAS,
  findNewReplicaSet,
  MAX_REPLICAS,
  newReplicaSet,
  nextRevision,
  REVISION,
  revisionOf,
} from './revisions.ts';
import {
  type Bounds,
  boundsOf,
  newReplicas,
  planProportionalScaling,
  planRollingUpdate,
  type Scaling,
  type Share,
} from './rolling-update.ts';

export function startDeploymentController(context: ControllerContext): void {
  const deployments = context.collection<Deployment>(DEPLOYMENTS);
  const replicaSets = context.collection<ReplicaSet>(REPLICA_SETS);
  const pods = context.collection<Pod>(PODS);
  const recorder = context.recorder('deployment-controller');
  const queue = context.queue('deployment', sync);
  enqueueEach(deployments, queue);
  enqueueController(replicaSets, DEPLOYMENTS, queue, (orphan) => {
    for (const deployment of deployments.inNamespace(orphan.metadata.namespace ?? '')) {
      if (matchesSelector(deployment.spec?.selector, orphan.metadata.labels)) queue.add(objectKey(deployment));
    }
  });
  // Recreate waits for the last old pod to be gone.
  pods.subscribe(({ object, isDeleted }) => {
    const owner = isDeleted || isPodFinished(object) ? controllerOf(object) : undefined;
    const replicaSet = owner && replicaSets.get(`${object.metadata.namespace}/${owner.name}`);
    const deployment = replicaSet && controllerOf(replicaSet);
    if (deployment) queue.add(`${object.metadata.namespace}/${deployment.name}`);
  });

  async function sync(key: string): Promise<void> {
    const deployment = deployments.get(key);
    if (!deployment?.spec || deployment.metadata.deletionTimestamp) return;
    const desired = deployment.spec.replicas ?? 1;
    const bounds = boundsOfDeployment(deployment, desired);
    const owned = await claim(replicaSets, DEPLOYMENTS, deployment, deployment.spec.selector);
    const found = findNewReplicaSet(deployment, owned);
    const rollout: Rollout = { deployment, bounds, newSet: found, oldSets: owned.filter((set) => set !== found) };

    rollout.progress = pauseProgress(deployment);
    if (deployment.spec.paused) await resize(rollout);
    else if (isBeingScaled(deployment, owned)) {
      if (rollout.newSet) await annotate(rollout);
      await resize(rollout);
    } else if (deployment.spec.strategy?.type === 'Recreate') await recreate(rollout);
    else await roll(rollout);
    await updateStatus(rollout);
  }

  async function roll(rollout: Rollout): Promise<void> {
    const { bounds, oldSets } = rollout;
    const newSet = await ensureNewSet(rollout, (shares) => newReplicas(bounds, undefined, shares));
    if (!newSet) return;
    await scale(rollout, planRollingUpdate(bounds, shareOf(newSet), oldSets.map(shareOf)));
  }

  async function recreate(rollout: Rollout): Promise<void> {
    const { oldSets, bounds } = rollout;
    const active = oldSets.filter(({ spec }) => (spec?.replicas ?? 0) > 0);
    if (active.length > 0) return scale(rollout, new Map(active.map(({ metadata }) => [metadata.name, 0])));
    const isOldRunning = oldSets.some(({ metadata }) =>
      pods.controlledBy(metadata.uid ?? '').some((pod) => !isPodFinished(pod)),
    );
    if (isOldRunning) return;
    const newSet = await ensureNewSet(rollout, () => bounds.desired);
    if (newSet) await scale(rollout, new Map([[newSet.metadata.name, bounds.desired]]));
  }

  /** Only the number of replicas is followed: of a paused Deployment, or while the number changes. */
  async function resize(rollout: Rollout): Promise<void> {
    const { bounds, newSet, oldSets } = rollout;
    const all = newSet ? [newSet, ...oldSets] : oldSets;
    const active = all.filter(({ spec }) => (spec?.replicas ?? 0) > 0);
    const only =
      active.length === 1 ? active[0] : active.length === 0 ? (newSet ?? [...oldSets].sort(byAge).at(-1)) : undefined;
    if (only) return scale(rollout, new Map([[only.metadata.name, bounds.desired]]), all);
    if (newSet && isSaturated(newSet, bounds.desired)) {
      const old = active.filter((set) => set !== newSet).map(({ metadata }) => [metadata.name, 0] as const);
      return scale(rollout, new Map(old), all);
    }
    const isRolling = rollout.deployment.spec?.strategy?.type !== 'Recreate';
    await scale(rollout, isRolling ? planProportionalScaling(bounds, active.map(shareOf)) : new Map(), all);
  }

  /** Scales what the plan names, and notes on those (and on `noted`) what the numbers were made for. */
  async function scale(rollout: Rollout, plan: Scaling, noted: ReplicaSet[] = []): Promise<void> {
    const { deployment, bounds } = rollout;
    const sets = [...(rollout.newSet ? [rollout.newSet] : []), ...rollout.oldSets];
    const notes = {
      [DESIRED_REPLICAS]: String(bounds.desired),
      [MAX_REPLICAS]: String(bounds.desired + bounds.maxSurge),
    };
    for (const set of sets) {
      const before = set.spec?.replicas ?? 0;
      const after = plan.get(set.metadata.name) ?? before;
      const isNoted = before === 0 && after === 0 ? true : hasNotes(set, notes);
      if (after === before && (isNoted || !(noted.includes(set) || plan.has(set.metadata.name)))) continue;
      const patched = await replicaSets.patch(set, { metadata: { annotations: notes }, spec: { replicas: after } });
      replace(rollout, set, patched);
      if (after === before) continue;
      const direction = after > before ? 'up' : 'down';
      const message = `Scaled ${direction} replica set ${set.metadata.name} from ${before} to ${after}`;
      recorder.record(deployment, 'Normal', 'ScalingReplicaSet', message);
    }
  }

  /** The ReplicaSet of the newest template with its revision, made if it is not there; undefined if it has to wait. */
  async function ensureNewSet(
    rollout: Rollout,
    replicasFor: (old: Share[]) => number,
  ): Promise<ReplicaSet | undefined> {
    const { deployment, bounds, oldSets } = rollout;
    if (rollout.newSet) return annotate(rollout);
    const revision = nextRevision(oldSets);
    const hash = hashOf(deployment.spec?.template, deployment.status?.collisionCount);
    const replicas = replicasFor(oldSets.map(shareOf));
    const annotations = {
      ...annotationsFor(deployment, {}, revision),
      [DESIRED_REPLICAS]: String(bounds.desired),
      [MAX_REPLICAS]: String(bounds.desired + bounds.maxSurge),
    };
    const wanted = newReplicaSet(deployment, hash, replicas, annotations);
    try {
      rollout.newSet = await replicaSets.create(wanted);
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== 'ALREADY_EXISTS') {
        const message = `Failed to create new replica set "${wanted.metadata.name}": ${statusMessage(error)}`;
        recorder.record(deployment, 'Warning', 'ReplicaSetCreateError', message);
        throw error;
      }
      await avoidCollision(deployment, wanted);
      return undefined;
    }
    const { name } = rollout.newSet.metadata;
    rollout.progress = { status: 'True', reason: 'NewReplicaSetCreated', message: `Created new replica set "${name}"` };
    const message = `Scaled up replica set ${name} from 0 to ${replicas}`;
    if (replicas > 0) recorder.record(deployment, 'Normal', 'ScalingReplicaSet', message);
    await setRevision(rollout, revision);
    return rollout.newSet;
  }

  async function annotate(rollout: Rollout): Promise<ReplicaSet> {
    const { deployment, oldSets } = rollout;
    const newSet = rollout.newSet as ReplicaSet;
    const present = newSet.metadata.annotations ?? {};
    const revision = Math.max(nextRevision(oldSets), revisionOf(newSet));
    const annotations = annotationsFor(deployment, present, nextRevision(oldSets));
    const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
    const isSame =
      Object.keys(annotations).every((name) => annotations[name] === present[name]) &&
      (newSet.spec?.minReadySeconds ?? 0) === minReadySeconds;
    if (!isSame)
      replace(
        rollout,
        newSet,
        await replicaSets.patch(newSet, { metadata: { annotations }, spec: { minReadySeconds } }),
      );
    if (!conditionOf(deployment.status?.conditions, 'Progressing') && !rollout.progress) {
      const message = `Found new replica set "${newSet.metadata.name}"`;
      rollout.progress = { status: 'True', reason: 'FoundNewReplicaSet', message };
    }
    await setRevision(rollout, revision);
    return rollout.newSet as ReplicaSet;
  }

  async function setRevision(rollout: Rollout, revision: number): Promise<void> {
    const { deployment } = rollout;
    if (deployment.metadata.annotations?.[REVISION] === String(revision)) return;
    rollout.deployment = await deployments.patch(deployment, {
      metadata: { annotations: { [REVISION]: String(revision) } },
    });
  }

  /** The name is taken by a ReplicaSet that is not ours: the next attempt hashes to another. */
  async function avoidCollision(deployment: Deployment, wanted: ReplicaSet): Promise<void> {
    const taken = await context.client.get<ReplicaSet>(REPLICA_SETS, wanted.metadata.name, wanted.metadata.namespace);
    const isOurs = controllerOf(taken)?.uid === deployment.metadata.uid;
    if (isOurs && findNewReplicaSet(deployment, [taken])) {
      replicaSets.remember(taken);
    } else {
      const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
      await deployments.updateStatus({ ...deployment, status: { ...deployment.status, collisionCount } });
    }
    queue.add(objectKey(deployment));
  }

  async function updateStatus(rollout: Rollout): Promise<void> {
    const { deployment, newSet, oldSets, bounds, progress } = rollout;
    const current = deployments.get(objectKey(deployment)) ?? deployment;
    const status = deploymentStatus(deployment, newSet, oldSets, bounds, progress, context.now());
    if (!isSameStatus(status, deployment.status)) await deployments.updateStatus({ ...current, status });
    if (isComplete(deployment, status, bounds.desired)) {
      for (const replicaSet of beyondHistory(deployment, oldSets)) await replicaSets.delete(replicaSet);
    }
    const deadlineMs = deadlineInMs(deployment, status, context.now());
    if (deadlineMs !== undefined) queue.addAfter(objectKey(deployment), deadlineMs + DEADLINE_MARGIN_MS);
  }
}

/** Times in conditions are cut to whole seconds. */
const DEADLINE_MARGIN_MS = 1_000;

interface Rollout {
  deployment: Deployment;
  bounds: Bounds;
  newSet: ReplicaSet | undefined;
  oldSets: ReplicaSet[];
  progress?: Progress | undefined;
}

function replace(rollout: Rollout, before: ReplicaSet, after: ReplicaSet): void {
  if (rollout.newSet === before) rollout.newSet = after;
  rollout.oldSets = rollout.oldSets.map((set) => (set === before ? after : set));
}

function boundsOfDeployment(deployment: Deployment, desired: number): Bounds {
  const { strategy } = deployment.spec ?? {};
  if (strategy?.type === 'Recreate') return { desired, maxSurge: 0, maxUnavailable: 0 };
  return boundsOf(desired, strategy?.rollingUpdate?.maxSurge, strategy?.rollingUpdate?.maxUnavailable);
}

function shareOf({ metadata, spec, status }: ReplicaSet): Share {
  return {
    name: metadata.name,
    replicas: spec?.replicas ?? 0,
    available: status?.availableReplicas ?? 0,
    createdMs: timeMs(metadata.creationTimestamp),
    maxReplicas: Number(metadata.annotations?.[MAX_REPLICAS] ?? 0),
  };
}

/** Whether the number of replicas was changed since the active ReplicaSets were last scaled. */
function isBeingScaled(deployment: Deployment, sets: ReplicaSet[]): boolean {
  return sets.some(({ spec, metadata }) => {
    const noted = metadata.annotations?.[DESIRED_REPLICAS];
    return (spec?.replicas ?? 0) > 0 && noted !== undefined && noted !== String(deployment.spec?.replicas ?? 1);
  });
}

function isSaturated({ metadata, spec, status }: ReplicaSet, desired: number): boolean {
  const noted = metadata.annotations?.[DESIRED_REPLICAS] === String(desired);
  return noted && spec?.replicas === desired && status?.availableReplicas === desired;
}

function hasNotes(set: ReplicaSet, notes: Record<string, string>): boolean {
  return Object.entries(notes).every(([name, value]) => set.metadata.annotations?.[name] === value);
}

function pauseProgress(deployment: Deployment): Progress | undefined {
  const reason = conditionOf(deployment.status?.conditions, 'Progressing')?.reason;
  if (reason === 'ProgressDeadlineExceeded') return undefined;
  if (deployment.spec?.paused && reason !== 'DeploymentPaused') {
    return { status: 'Unknown', reason: 'DeploymentPaused', message: 'Deployment is paused' };
  }
  if (!deployment.spec?.paused && reason === 'DeploymentPaused') {
    return { status: 'Unknown', reason: 'DeploymentResumed', message: 'Deployment is resumed' };
  }
  return undefined;
}
