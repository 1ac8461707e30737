/** PodDisruptionBudgets: how many of the pods may go now, which the eviction sub-resource asks. */

import {
  DEPLOYMENTS,
  type KubeObject,
  objectKey,
  POD_DISRUPTION_BUDGETS,
  PODS,
  type Pod,
  type PodDisruptionBudget,
  REPLICA_SETS,
  STATEFUL_SETS,
} from '@tulle/api';
import { matchesSelector } from '@tulle/client';
import { type ControllerContext, enqueueEach } from './controller-context.ts';
import { resolveIntOrPercent } from './int-or-percent.ts';
import { controllerOf } from './ownership.ts';
import { isPodActive, isPodFinished, isPodReady } from './pod-state.ts';
import { isSameStatus, setCondition } from './status-conditions.ts';

export function startDisruptionBudgetController(context: ControllerContext): void {
  const budgets = context.collection<PodDisruptionBudget>(POD_DISRUPTION_BUDGETS);
  const pods = context.collection<Pod>(PODS);
  const owners = [DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS].map((kind) => ({
    kind,
    collection: context.collection<KubeObject>(kind),
  }));
  const queue = context.queue('disruption-budget', sync);
  enqueueEach(budgets, queue);
  pods.subscribe(({ object }) => {
    for (const budget of budgets.inNamespace(object.metadata.namespace ?? '')) {
      if (matchesSelector(budget.spec?.selector, object.metadata.labels)) queue.add(objectKey(budget));
    }
  });
  for (const { collection } of owners) {
    collection.subscribe(({ object }) => {
      for (const budget of budgets.inNamespace(object.metadata.namespace ?? '')) queue.add(objectKey(budget));
    });
  }

  async function sync(key: string): Promise<void> {
    const budget = budgets.get(key);
    if (!budget?.spec || budget.metadata.deletionTimestamp) return;
    const { selector, minAvailable, maxUnavailable } = budget.spec;
    const selected = pods
      .inNamespace(budget.metadata.namespace ?? '')
      .filter((pod) => matchesSelector(selector, pod.metadata.labels) && !isPodFinished(pod));
    const isCounted = maxUnavailable !== undefined || typeof minAvailable === 'string';
    const expectedPods = isCounted ? expectedOf(selected) : selected.length;
    const desiredHealthy = Math.max(
      0,
      maxUnavailable !== undefined
        ? expectedPods - resolveIntOrPercent(maxUnavailable, expectedPods, 'up')
        : resolveIntOrPercent(minAvailable, expectedPods, 'up', 1),
    );
    const currentHealthy = selected.filter((pod) => isPodActive(pod) && isPodReady(pod)).length;
    const disruptionsAllowed = expectedPods === 0 ? 0 : Math.max(0, currentHealthy - desiredHealthy);
    const isAllowed = disruptionsAllowed > 0;
    const status = {
      ...budget.status,
      observedGeneration: budget.metadata.generation,
      expectedPods,
      desiredHealthy,
      currentHealthy,
      disruptionsAllowed,
      conditions: setCondition(budget.status?.conditions, context.now(), {
        type: 'DisruptionAllowed',
        status: isAllowed ? 'True' : 'False',
        reason: isAllowed ? 'SufficientPods' : 'InsufficientPods',
        message: '',
      }),
    };
    if (!isSameStatus(status, budget.status)) await budgets.updateStatus({ ...budget, status });
  }

  /** The replicas that the pods' controllers ask for. */
  function expectedOf(selected: Pod[]): number {
    const scales = new Map<string, number>();
    let single = 0;
    for (const pod of selected) {
      const owner = ownerWithScale(pod, pod.metadata.namespace ?? '');
      if (owner) scales.set(owner.metadata.uid ?? '', owner.spec?.replicas ?? 1);
      else single++;
    }
    return [...scales.values()].reduce((sum, replicas) => sum + replicas, single);
  }

  function ownerWithScale(object: KubeObject, namespace: string): KubeObject | undefined {
    const reference = controllerOf(object);
    const found = owners.find(({ kind }) => kind.kind === reference?.kind && kind.apiVersion === reference?.apiVersion);
    const owner = found?.collection.get(`${namespace}/${reference?.name}`);
    if (!owner || owner.metadata.uid !== reference?.uid) return undefined;
    return ownerWithScale(owner, namespace) ?? owner;
  }
}
