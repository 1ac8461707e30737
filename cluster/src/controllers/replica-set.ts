/** ReplicaSets: keeps the number of pods that one asks for, and says in its status how they are. */

import { objectKey, PODS, type Pod, REPLICA_SETS, type ReplicaSet } from '@tulle/api';
import { matchesSelector } from '@tulle/client';
import { type ControllerContext, enqueueController, enqueueEach } from './controller-context.ts';
import { claim } from './ownership.ts';
import { createPods, deletePods } from './pod-control.ts';
import { isPodActive, isPodAvailable, isPodReady, nextAvailableMs } from './pod-state.ts';
import { podFromTemplate } from './pod-template.ts';
import { inDeletionOrder } from './replica-set-order.ts';
import { isSameStatus, setCondition } from './status-conditions.ts';

export function startReplicaSetController(context: ControllerContext): void {
  const replicaSets = context.collection<ReplicaSet>(REPLICA_SETS);
  const pods = context.collection<Pod>(PODS);
  const recorder = context.recorder('replicaset-controller');
  const queue = context.queue('replica-set', sync);
  enqueueEach(replicaSets, queue);
  enqueueController(pods, REPLICA_SETS, queue, (orphan) => {
    for (const replicaSet of replicaSets.inNamespace(orphan.metadata.namespace ?? '')) {
      if (matchesSelector(replicaSet.spec?.selector, orphan.metadata.labels)) queue.add(objectKey(replicaSet));
    }
  });

  async function sync(key: string): Promise<void> {
    const replicaSet = replicaSets.get(key);
    if (!replicaSet?.spec) return;
    const claimed = await claim(pods, REPLICA_SETS, replicaSet, replicaSet.spec.selector);
    const active = claimed.filter(isPodActive);
    const missing = (replicaSet.spec.replicas ?? 1) - active.length;
    let failure: unknown;
    if (!replicaSet.metadata.deletionTimestamp) {
      try {
        await scale(replicaSet, active, missing);
      } catch (error) {
        failure = error;
      }
    }
    await updateStatus(replicaSet, failure, missing);
    const nextMs = nextAvailableMs(active, replicaSet.spec.minReadySeconds, context.now());
    if (nextMs !== undefined) queue.addAfter(key, nextMs);
    if (failure) throw failure;
  }

  async function scale(replicaSet: ReplicaSet, active: Pod[], missing: number): Promise<void> {
    const { template } = replicaSet.spec ?? {};
    if (missing > 0 && template) {
      const wanted = Array.from({ length: missing }, () => podFromTemplate(template, REPLICA_SETS, replicaSet));
      await createPods(pods, recorder, replicaSet, wanted);
    } else if (missing < 0) {
      await deletePods(pods, recorder, replicaSet, inDeletionOrder(active).slice(0, -missing));
    }
  }

  async function updateStatus(replicaSet: ReplicaSet, failure: unknown, missing: number): Promise<void> {
    // What this sync has created, adopted or deleted is in the collections by now.
    const counted = pods.controlledBy(replicaSet.metadata.uid ?? '').filter(isPodActive);
    const current = replicaSets.get(objectKey(replicaSet)) ?? replicaSet;
    const { minReadySeconds, template } = replicaSet.spec ?? {};
    const status: ReplicaSet['status'] = {
      ...current.status,
      replicas: counted.length,
      fullyLabeledReplicas: counted.filter((pod) =>
        matchesSelector({ matchLabels: template?.metadata?.labels ?? {} }, pod.metadata.labels),
      ).length,
      readyReplicas: counted.filter(isPodReady).length,
      availableReplicas: counted.filter((pod) => isPodAvailable(pod, minReadySeconds, context.now())).length,
      observedGeneration: current.metadata.generation,
      conditions: setCondition(current.status?.conditions, context.now(), {
        type: 'ReplicaFailure',
        status: failure ? 'True' : undefined,
        reason: missing > 0 ? 'FailedCreate' : 'FailedDelete',
        message: failure instanceof Error ? failure.message : String(failure),
      }),
    };
    if (!isSameStatus(status, current.status)) await replicaSets.updateStatus({ ...current, status });
  }
}
