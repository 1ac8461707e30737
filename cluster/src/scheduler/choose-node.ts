/** Which node a pod goes to: those that can take it, and of those the one where it spreads best. Pure. */

import type { Pod } from '@tulle/api';
import { controllerOf } from '../controllers/ownership.ts';
import { matchesNode, preferenceFor } from './node-affinity.ts';
import { type NodeState, violatedAffinity } from './pod-affinity.ts';
import { amount, requestsOf, sumOfRequests } from './resources.ts';
import { untolerated } from './tolerations.ts';

export type Choice = { node: string } | { unschedulable: string };

/** The message of a refusal counts the nodes by reason, as the real scheduler's does. */
export function chooseNode(pod: Pod, nodes: NodeState[]): Choice {
  const reasons = new Map<string, number>();
  const feasible = nodes.filter((state) => {
    const reason = refusal(pod, state, nodes);
    if (reason) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    return !reason;
  });
  const best = feasible.sort((a, b) => compare(pod, a, b))[0];
  if (best) return { node: best.node.metadata.name };
  const counted = [...reasons].sort(([a], [b]) => (a < b ? -1 : 1)).map(([reason, count]) => `${count} ${reason}`);
  const details = counted.length > 0 ? `: ${counted.join(', ')}` : '';
  return { unschedulable: `0/${nodes.length} nodes are available${details}.` };
}

function refusal(pod: Pod, state: NodeState, nodes: NodeState[]): string | undefined {
  const { node, pods } = state;
  const spec = pod.spec ?? { containers: [] };
  if (node.metadata.deletionTimestamp) return 'node(s) were being deleted';
  const unschedulable = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };
  if (node.spec?.unschedulable && untolerated([unschedulable], spec.tolerations)) return 'node(s) were unschedulable';
  if (!matchesNode(spec, node)) return "node(s) didn't match Pod's node affinity/selector";
  const taint = untolerated(node.spec?.taints, spec.tolerations);
  if (taint) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  if (hostPorts(pod).some((port) => pods.some((other) => hostPorts(other).includes(port)))) {
    return "node(s) didn't have free ports for the requested pod ports";
  }
  const { allocatable } = node.status ?? {};
  if (pods.length >= (allocatable?.pods ? amount(allocatable.pods) : Number.POSITIVE_INFINITY)) {
    return 'Too many pods';
  }
  const wanted = requestsOf(spec);
  const used = sumOfRequests(pods);
  for (const resource of ['cpu', 'memory'] as const) {
    const has = allocatable?.[resource] ? amount(allocatable[resource]) : Number.POSITIVE_INFINITY;
    if (wanted[resource] > 0 && wanted[resource] + used[resource] > has) return `Insufficient ${resource}`;
  }
  const affinity = violatedAffinity(pod, state, nodes);
  return affinity && `node(s) ${affinity}`;
}

/** Preferred nodes first, then where the fewest of the same owner are, then where the fewest pods are. */
function compare(pod: Pod, a: NodeState, b: NodeState): number {
  const spec = pod.spec ?? { containers: [] };
  const owner = controllerOf(pod)?.uid;
  const siblings = (state: NodeState) =>
    owner ? state.pods.filter((other) => controllerOf(other)?.uid === owner).length : 0;
  const avoided = ({ node }: NodeState) =>
    (node.spec?.taints ?? []).filter(
      (taint) =>
        taint.effect === 'PreferNoSchedule' && untolerated([{ ...taint, effect: 'NoSchedule' }], spec.tolerations),
    ).length;
  return (
    preferenceFor(spec, b.node) - preferenceFor(spec, a.node) ||
    avoided(a) - avoided(b) ||
    siblings(a) - siblings(b) ||
    a.pods.length - b.pods.length ||
    (a.node.metadata.name < b.node.metadata.name ? -1 : 1)
  );
}

function hostPorts(pod: Pod): string[] {
  const containers = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  return containers.flatMap((container) =>
    (container.ports ?? []).filter((port) => port.hostPort).map((port) => `${port.protocol ?? 'TCP'}/${port.hostPort}`),
  );
}
