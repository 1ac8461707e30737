/** Pods that have to go with their node: off a node with taints they do not tolerate, and with a node that is gone. */

import { NODES, type Node, objectKey, PODS, type Pod } from '@tulle/api';
import { type Taint, tolerates } from '../scheduler/tolerations.ts';
import type { ControllerContext } from './controller-context.ts';
import { isPodFinished, timeMs } from './pod-state.ts';

/** A node that is made again at once (its agent restarted) keeps its pods. */
const GONE_NODE_GRACE_MS = 5_000;

export function startPodEvictionController(context: ControllerContext): void {
  const nodes = context.collection<Node>(NODES);
  const pods = context.collection<Pod>(PODS);
  const recorder = context.recorder('taint-eviction-controller');
  const queue = context.queue('pod-eviction', sync);
  const goneAtMs = new Map<string, number>();

  pods.subscribe(({ object, isDeleted }) => {
    const { nodeName } = object.spec ?? {};
    if (isDeleted || !nodeName) return;
    const node = nodes.get(nodeName);
    if (!node || executing(node).length > 0) queue.add(objectKey(object));
  });
  nodes.subscribe(({ object, old, isDeleted }) => {
    const { name } = object.metadata;
    if (isDeleted) goneAtMs.set(name, context.now());
    else goneAtMs.delete(name);
    const isSame = JSON.stringify(executing(object)) === JSON.stringify(old && executing(old));
    if (!isDeleted && (isSame || executing(object).length === 0)) return;
    for (const pod of pods.list()) if (pod.spec?.nodeName === name) queue.add(objectKey(pod));
  });

  async function sync(key: string): Promise<void> {
    const pod = pods.get(key);
    if (!pod?.spec?.nodeName) return;
    const node = nodes.get(pod.spec.nodeName);
    if (!node) return leaveGoneNode(key, pod, pod.spec.nodeName);
    if (pod.metadata.deletionTimestamp || isPodFinished(pod)) return;
    const leaveAtMs = leavingTimeMs(pod, executing(node), context.now());
    if (leaveAtMs === undefined) return;
    if (leaveAtMs > context.now()) return queue.addAfter(key, leaveAtMs - context.now());
    recorder.record(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${key}`);
    await pods.delete(pod);
  }

  /** Nobody is left to end it: it goes at once. */
  async function leaveGoneNode(key: string, pod: Pod, nodeName: string): Promise<void> {
    const since = goneAtMs.get(nodeName) ?? context.now();
    goneAtMs.set(nodeName, since);
    const leftMs = since + GONE_NODE_GRACE_MS - context.now();
    if (leftMs > 0) return queue.addAfter(key, leftMs);
    await pods.delete(pod, { propagationPolicy: 'Background', gracePeriodSeconds: 0 });
  }
}

function executing(node: Node): Taint[] {
  return node.spec?.taints?.filter((taint) => taint.effect === 'NoExecute') ?? [];
}

/** When the taints make the pod leave; undefined if it may stay. */
export function leavingTimeMs(pod: Pod, taints: Taint[], nowMs: number): number | undefined {
  let leaveAtMs: number | undefined;
  for (const taint of taints) {
    const tolerations = pod.spec?.tolerations?.filter((toleration) => tolerates(toleration, taint)) ?? [];
    if (tolerations.length === 0) return nowMs;
    const limits = tolerations.map((one) => one.tolerationSeconds).filter((seconds) => seconds !== undefined);
    if (limits.length === 0) continue;
    const sinceMs = taint.timeAdded ? timeMs(taint.timeAdded) : nowMs;
    const atMs = sinceMs + Math.max(0, Math.min(...limits)) * 1000;
    leaveAtMs = leaveAtMs === undefined ? atMs : Math.min(leaveAtMs, atMs);
  }
  return leaveAtMs;
}
