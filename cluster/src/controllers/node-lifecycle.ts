/**
 * Nodes that fall silent: a node whose Lease is not renewed is marked unknown and tainted, and its pods are no longer
 * ready. Taints also follow a node's Ready condition and `kubectl cordon`.
 */

import { LEASES, type Lease, NODES, type Node, PODS, type Pod } from '@tulle/api';
import type { Taint } from '../scheduler/tolerations.ts';
import type { ControllerContext } from './controller-context.ts';
import { formatTime, isPodFinished, podCondition } from './pod-state.ts';
import { setCondition } from './status-conditions.ts';

const LEASE_NAMESPACE = 'kube-node-lease';
/** kube-controller-manager's default is 50 s; agents renew every 10 s. */
export const NODE_GRACE_MS = 40_000;

const NOT_READY = 'node.kubernetes.io/not-ready';
const UNREACHABLE = 'node.kubernetes.io/unreachable';
const UNSCHEDULABLE = 'node.kubernetes.io/unschedulable';
const OURS = [NOT_READY, UNREACHABLE, UNSCHEDULABLE];

export function startNodeLifecycleController(context: ControllerContext): void {
  const nodes = context.collection<Node>(NODES);
  const leases = context.collection<Lease>(LEASES);
  const pods = context.collection<Pod>(PODS);
  const recorder = context.recorder('node-controller');
  const queue = context.queue('node-lifecycle', sync);
  /** When we last saw each node's Lease change, by our clock: the nodes' clocks may be wrong. */
  const seen = new Map<string, { renewTime: string; atMs: number }>();

  nodes.subscribe(({ object, isDeleted }) => {
    if (isDeleted) seen.delete(object.metadata.name);
    else queue.add(object.metadata.name);
  });
  leases.subscribe(({ object }) => {
    if (object.metadata.namespace !== LEASE_NAMESPACE) return;
    const { name } = object.metadata;
    const renewTime = object.spec?.renewTime ?? '';
    if (seen.get(name)?.renewTime === renewTime) return;
    seen.set(name, { renewTime, atMs: context.now() });
    queue.addAfter(name, NODE_GRACE_MS);
    if (isSilent(nodes.get(name))) queue.add(name);
  });

  async function sync(name: string): Promise<void> {
    const node = nodes.get(name);
    if (!node) return;
    const heard = seen.get(name);
    // A node that has never had a Lease is given the time since we know it.
    if (!heard) seen.set(name, { renewTime: '', atMs: context.now() });
    const leftMs = (heard?.atMs ?? context.now()) + NODE_GRACE_MS - context.now();
    if (leftMs > 0) queue.addAfter(name, leftMs);
    const current = leftMs <= 0 && !isSilent(node) ? await markSilent(node) : node;
    await setTaints(current);
    if (conditionOf(current, 'Ready')?.status !== 'True') await markPodsNotReady(current);
  }

  async function markSilent(node: Node): Promise<Node> {
    recorder.record(node, 'Normal', 'NodeNotReady', `Node ${node.metadata.name} status is now: NodeNotReady`);
    let conditions = node.status?.conditions;
    for (const type of ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure']) {
      if (type !== 'Ready' && !conditionOf(node, type)) continue;
      conditions = setCondition(conditions, context.now(), {
        type,
        status: 'Unknown',
        reason: 'NodeStatusUnknown',
        message: 'Kubelet stopped posting node status.',
      });
    }
    return nodes.updateStatus({ ...node, status: { ...node.status, ...(conditions ? { conditions } : {}) } });
  }

  async function setTaints(node: Node): Promise<void> {
    const ready = conditionOf(node, 'Ready')?.status;
    const wanted = new Set<string>();
    if (ready === 'Unknown') wanted.add(`${UNREACHABLE}:NoSchedule`).add(`${UNREACHABLE}:NoExecute`);
    if (ready === 'False') wanted.add(`${NOT_READY}:NoSchedule`).add(`${NOT_READY}:NoExecute`);
    if (node.spec?.unschedulable) wanted.add(`${UNSCHEDULABLE}:NoSchedule`);
    const present = node.spec?.taints ?? [];
    const kept = present.filter((taint) => !OURS.includes(taint.key) || wanted.has(`${taint.key}:${taint.effect}`));
    const added = [...wanted].filter((id) => !present.some((taint) => `${taint.key}:${taint.effect}` === id));
    if (kept.length === present.length && added.length === 0) return;
    const taints = [...kept, ...added.map((id) => newTaint(id, context.now()))];
    await nodes.update({ ...node, spec: { ...node.spec, taints } });
  }

  async function markPodsNotReady(node: Node): Promise<void> {
    const affected = pods
      .list()
      .filter((pod) => pod.spec?.nodeName === node.metadata.name && !isPodFinished(pod))
      .filter((pod) => podCondition(pod, 'Ready')?.status === 'True');
    // Only of a node that does not speak for itself.
    if (!isSilent(node)) return;
    for (const pod of affected) {
      const lastTransitionTime = formatTime(context.now());
      await pods.patch(
        pod,
        { status: { conditions: [{ type: 'Ready', status: 'False', lastTransitionTime }] } },
        'status',
      );
      recorder.record(pod, 'Warning', 'NodeNotReady', 'Node is not ready');
    }
  }
}

function isSilent(node: Node | undefined): boolean {
  return conditionOf(node, 'Ready')?.status === 'Unknown';
}

function conditionOf(node: Node | undefined, type: string) {
  return node?.status?.conditions?.find((condition) => condition.type === type);
}

function newTaint(id: string, nowMs: number): Taint {
  const [key = '', effect = ''] = id.split(':');
  return { key, effect, ...(effect === 'NoExecute' ? { timeAdded: formatTime(nowMs) } : {}) };
}
