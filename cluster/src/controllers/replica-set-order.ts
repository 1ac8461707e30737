/** Which pods a ReplicaSet gives up first. https://kubernetes.io/docs/concepts/workloads/controllers/replicaset */

import type { Pod } from '@tulle/api';
import { isPodReady, podCondition, timeMs } from './pod-state.ts';

const DELETION_COST = 'controller.kubernetes.io/pod-deletion-cost';

/** The pods, those to delete first at the front. */
export function inDeletionOrder(pods: Pod[]): Pod[] {
  const perNode = new Map<string, number>();
  for (const pod of pods) {
    const node = pod.spec?.nodeName ?? '';
    perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const crowd = (pod: Pod) => perNode.get(pod.spec?.nodeName ?? '') ?? 0;
  return [...pods].sort(
    (a, b) =>
      Number(Boolean(a.spec?.nodeName)) - Number(Boolean(b.spec?.nodeName)) ||
      phaseRank(a) - phaseRank(b) ||
      Number(isPodReady(a)) - Number(isPodReady(b)) ||
      deletionCost(a) - deletionCost(b) ||
      crowd(b) - crowd(a) ||
      readyMs(b) - readyMs(a) ||
      restarts(b) - restarts(a) ||
      timeMs(b.metadata.creationTimestamp) - timeMs(a.metadata.creationTimestamp) ||
      (a.metadata.name < b.metadata.name ? -1 : 1),
  );
}

function phaseRank(pod: Pod): number {
  return ['Pending', 'Unknown', 'Running'].indexOf(pod.status?.phase ?? 'Pending');
}

function deletionCost(pod: Pod): number {
  const cost = Number(pod.metadata.annotations?.[DELETION_COST] ?? 0);
  return Number.isInteger(cost) ? cost : 0;
}

function readyMs(pod: Pod): number {
  return isPodReady(pod) ? timeMs(podCondition(pod, 'Ready')?.lastTransitionTime) : 0;
}

function restarts(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map((status) => status.restartCount));
}
