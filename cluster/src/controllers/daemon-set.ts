/** DaemonSets: one pod on every node that is meant for it, and a rolling update node by node. */

import {
  CONTROLLER_REVISIONS,
  type ControllerRevision,
  DAEMON_SETS,
  type DaemonSet,
  NODES,
  type Node,
  objectKey,
  PODS,
  type Pod,
} from '@tulle/api';
import { matchesSelector } from '@tulle/client';
import { matchesNode } from '../scheduler/node-affinity.ts';
import { type Toleration, untolerated } from '../scheduler/tolerations.ts';
import { type ControllerContext, enqueueController, enqueueEach } from './controller-context.ts';
import { ensureRevision, REVISION_HASH, revisionHash, truncateHistory } from './controller-revisions.ts';
import { resolveIntOrPercent } from './int-or-percent.ts';
import { claim } from './ownership.ts';
import { createPods, deletePods } from './pod-control.ts';
import { isPodActive, isPodAvailable, isPodFinished, isPodReady, nextAvailableMs, timeMs } from './pod-state.ts';
import { podFromTemplate } from './pod-template.ts';
import { isSameStatus } from './status-conditions.ts';

/** A daemon stays where others have to leave. */
const TOLERATIONS: Toleration[] = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
];
const ON_HOST_NETWORK: Toleration = {
  key: 'node.kubernetes.io/network-unavailable',
  operator: 'Exists',
  effect: 'NoSchedule',
};

export function startDaemonSetController(context: ControllerContext): void {
  const sets = context.collection<DaemonSet>(DAEMON_SETS);
  const pods = context.collection<Pod>(PODS);
  const nodes = context.collection<Node>(NODES);
  const revisions = context.collection<ControllerRevision>(CONTROLLER_REVISIONS);
  const recorder = context.recorder('daemonset-controller');
  const queue = context.queue('daemon-set', sync);
  enqueueEach(sets, queue);
  enqueueController(pods, DAEMON_SETS, queue, (orphan) => {
    for (const set of sets.inNamespace(orphan.metadata.namespace ?? '')) {
      if (matchesSelector(set.spec?.selector, orphan.metadata.labels)) queue.add(objectKey(set));
    }
  });
  nodes.subscribe(({ object, old, isDeleted }) => {
    if (old && !isDeleted && placementOf(object) === placementOf(old)) return;
    for (const set of sets.list()) queue.add(objectKey(set));
  });

  async function sync(key: string): Promise<void> {
    const set = sets.get(key);
    if (!set?.spec || set.metadata.deletionTimestamp) return;
    const ensured = await ensureRevision(revisions, DAEMON_SETS, set as never, set.status?.collisionCount ?? 0);
    if ('isNameTaken' in ensured) {
      const status = { ...emptyStatus(), ...set.status, collisionCount: (set.status?.collisionCount ?? 0) + 1 };
      await sets.updateStatus({ ...set, status });
      return;
    }
    const hash = revisionHash(ensured.revision);
    await claim(pods, DAEMON_SETS, set, set.spec.selector);
    await manage(set, hash);
    await update(set, hash);
    await updateStatus(set, hash);
    const present = pods.controlledBy(set.metadata.uid ?? '');
    await truncateHistory(revisions, set, present, [ensured.revision], set.spec.revisionHistoryLimit);
    const nextMs = nextAvailableMs(present, set.spec.minReadySeconds, context.now());
    if (nextMs !== undefined) queue.addAfter(key, nextMs);
  }

  /** One pod where one should be, none elsewhere; a finished one makes room for the next. */
  async function manage(set: DaemonSet, hash: string): Promise<void> {
    const byNode = podsByNode(set);
    const unwanted: Pod[] = [];
    const wanted: Pod[] = [];
    for (const [name, own] of byNode) {
      const node = nodes.get(name);
      if (!node || !stays(set, node)) unwanted.push(...own.filter((pod) => !pod.metadata.deletionTimestamp));
    }
    for (const node of nodes.list()) {
      if (!stays(set, node)) continue;
      const own = byNode.get(node.metadata.name) ?? [];
      const finished = own.filter((pod) => isPodFinished(pod) && !pod.metadata.deletionTimestamp);
      for (const pod of finished) {
        const text = `Found failed daemon pod ${objectKey(pod)} on node ${node.metadata.name}, will try to kill it`;
        if (pod.status?.phase === 'Failed') recorder.record(set, 'Warning', 'FailedDaemonPod', text);
      }
      unwanted.push(...finished, ...surplus(set, own, hash));
      if (own.length === 0 && starts(set, node)) wanted.push(newPod(set, node, hash));
    }
    await deletePods(pods, recorder, set, unwanted);
    await createPods(pods, recorder, set, wanted);
  }

  /** Replaces pods of older templates, as many at once as the strategy allows. */
  async function update(set: DaemonSet, hash: string): Promise<void> {
    if (set.spec?.updateStrategy?.type === 'OnDelete') return;
    const { maxUnavailable, maxSurge } = set.spec?.updateStrategy?.rollingUpdate ?? {};
    const byNode = podsByNode(set);
    const wanted = nodes.list().filter((node) => starts(set, node));
    const surge = resolveIntOrPercent(maxSurge, wanted.length, 'up', 0);
    const unavailable = Math.max(surge > 0 ? 0 : 1, resolveIntOrPercent(maxUnavailable, wanted.length, 'up', 1));
    const isAvailable = (pod: Pod) => isPodAvailable(pod, set.spec?.minReadySeconds, context.now());
    const missing = wanted.filter(
      (node) => !byNode.get(node.metadata.name)?.some((pod) => isPodActive(pod) && isAvailable(pod)),
    );
    const surging = [...byNode.values()].filter((own) => own.filter(isPodActive).length > 1);
    let room = unavailable - missing.length;
    let surgeRoom = surge - surging.length;
    for (const node of wanted) {
      const active = (byNode.get(node.metadata.name) ?? []).filter(isPodActive);
      const outdated = active.filter((pod) => pod.metadata.labels?.[REVISION_HASH] !== hash);
      const fresh = active.filter((pod) => pod.metadata.labels?.[REVISION_HASH] === hash);
      const [old] = outdated;
      if (!old) continue;
      if (surge > 0) {
        if (fresh.some(isAvailable) || !isAvailable(old)) await deletePods(pods, recorder, set, outdated);
        else if (fresh.length === 0 && surgeRoom-- > 0)
          await createPods(pods, recorder, set, [newPod(set, node, hash)]);
      } else if (!isAvailable(old) || room-- > 0) {
        await deletePods(pods, recorder, set, outdated);
      }
    }
  }

  async function updateStatus(set: DaemonSet, hash: string): Promise<void> {
    const status = { ...emptyStatus(), collisionCount: set.status?.collisionCount };
    const byNode = podsByNode(set);
    for (const node of nodes.list()) {
      const own = (byNode.get(node.metadata.name) ?? []).filter((pod) => !pod.metadata.deletionTimestamp);
      const pod = own
        .sort((a, b) => timeMs(a.metadata.creationTimestamp) - timeMs(b.metadata.creationTimestamp))
        .at(-1);
      if (!starts(set, node)) {
        if (pod) status.numberMisscheduled++;
        continue;
      }
      status.desiredNumberScheduled++;
      if (!pod) continue;
      status.currentNumberScheduled++;
      if (own.some(isPodReady)) status.numberReady++;
      if (own.some((one) => isPodAvailable(one, set.spec?.minReadySeconds, context.now()))) status.numberAvailable++;
      if (pod.metadata.labels?.[REVISION_HASH] === hash) status.updatedNumberScheduled++;
    }
    status.numberUnavailable = status.desiredNumberScheduled - status.numberAvailable;
    const current = sets.get(objectKey(set));
    if (!current) return;
    const next = { ...current.status, ...status, observedGeneration: set.metadata.generation };
    if (!isSameStatus(next, current.status)) await sets.updateStatus({ ...current, status: next });
  }

  function podsByNode(set: DaemonSet): Map<string, Pod[]> {
    return Map.groupBy(pods.controlledBy(set.metadata.uid ?? ''), nodeOf);
  }

  /** While a surge replaces a pod, two are right; otherwise the oldest stays. */
  function surplus(set: DaemonSet, own: Pod[], hash: string): Pod[] {
    const active = own.filter(isPodActive);
    const isSurging =
      Boolean(set.spec?.updateStrategy?.rollingUpdate?.maxSurge) &&
      active.some((pod) => pod.metadata.labels?.[REVISION_HASH] === hash) &&
      active.some((pod) => pod.metadata.labels?.[REVISION_HASH] !== hash);
    if (active.length < 2 || isSurging) return [];
    return active.sort((a, b) => timeMs(a.metadata.creationTimestamp) - timeMs(b.metadata.creationTimestamp)).slice(1);
  }
}

function emptyStatus() {
  return {
    currentNumberScheduled: 0,
    desiredNumberScheduled: 0,
    numberAvailable: 0,
    numberMisscheduled: 0,
    numberReady: 0,
    numberUnavailable: 0,
    updatedNumberScheduled: 0,
  };
}

/** What of a node decides whether it gets a pod. */
function placementOf({ metadata, spec }: Node): string {
  return JSON.stringify([metadata.labels, metadata.deletionTimestamp, spec?.taints, spec?.unschedulable]);
}

function tolerationsOf(set: DaemonSet): Toleration[] {
  const { tolerations = [], hostNetwork } = set.spec?.template.spec ?? { containers: [] };
  return [...tolerations, ...TOLERATIONS, ...(hostNetwork ? [ON_HOST_NETWORK] : [])];
}

/** Whether a pod that is there may stay. */
function stays(set: DaemonSet, node: Node): boolean {
  const spec = set.spec?.template.spec ?? { containers: [] };
  const evicting = node.spec?.taints?.filter((taint) => taint.effect === 'NoExecute');
  return matchesNode(spec, node) && !untolerated(evicting, tolerationsOf(set));
}

/** Whether a pod is made. */
function starts(set: DaemonSet, node: Node): boolean {
  return stays(set, node) && !untolerated(node.spec?.taints, tolerationsOf(set));
}

/** The node that the pod is on, or that it was made for and the scheduler has yet to bind it to. */
function nodeOf(pod: Pod): string {
  if (pod.spec?.nodeName) return pod.spec.nodeName;
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const fields = required?.nodeSelectorTerms.flatMap((term) => term.matchFields ?? []);
  return fields?.find((field) => field.key === 'metadata.name')?.values?.[0] ?? '';
}

function newPod(set: DaemonSet, node: Node, hash: string): Pod {
  const labels = {
    [REVISION_HASH]: hash,
    'pod-template-generation': String(set.metadata.annotations?.['deprecated.daemonset.template.generation'] ?? 1),
  };
  const pod = podFromTemplate(set.spec?.template ?? {}, DAEMON_SETS, set, { labels });
  const spec = pod.spec ?? { containers: [] };
  const nodeAffinity = spec.affinity?.nodeAffinity;
  const terms = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [{}];
  const matchFields = [{ key: 'metadata.name', operator: 'In', values: [node.metadata.name] }];
  const required = { nodeSelectorTerms: terms.map((term) => ({ ...term, matchFields })) };
  pod.spec = {
    ...spec,
    tolerations: tolerationsOf(set),
    affinity: {
      ...spec.affinity,
      nodeAffinity: { ...nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution: required },
    },
  };
  return pod;
}
