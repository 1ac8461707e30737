/** How inbound policies name a workload: a pod, or one outside the cluster. */
import type { WorkloadName } from '../../workloads/context-token.ts';

export type WorkloadRef = WorkloadName;
export type WorkloadRefKind = WorkloadRef['kind'];

/** `pod/ns/name` or `external/ns/name`: also the topic of the workload itself. */
export type WorkloadKey = `${'pod' | 'external'}/${string}`;

export function workloadKey({ kind, namespace, name }: WorkloadRef): WorkloadKey {
  return `${kind === 'Pod' ? 'pod' : 'external'}/${namespace}/${name}`;
}

/** Undefined for a topic of something else. */
export function workloadOfTopic(topic: string): WorkloadRef | undefined {
  const [head, namespace, name, ...rest] = topic.split('/');
  if (!namespace || !name || rest.length > 0) return undefined;
  if (head === 'pod') return { kind: 'Pod', namespace, name };
  return head === 'external' ? { kind: 'ExternalWorkload', namespace, name } : undefined;
}
