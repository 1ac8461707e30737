/** Which nodes a pod asks for: `nodeSelector` and node affinity. */

import type { Node, PodSpec } from '@tulle/api';
import { meets } from '@tulle/api/label-selector.ts';
import { matchesLabels } from '@tulle/client';

type NodeAffinity = NonNullable<NonNullable<PodSpec['affinity']>['nodeAffinity']>;
type Term = NonNullable<
  NonNullable<NodeAffinity['requiredDuringSchedulingIgnoredDuringExecution']>['nodeSelectorTerms']
>[number];

export function matchesNode(spec: PodSpec, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  if (!matchesLabels(spec.nodeSelector ?? {}, labels)) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return !required || required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}

/** The weights of the preferred terms that the node matches, added up. */
export function preferenceFor(spec: PodSpec, node: Node): number {
  const preferred = spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return preferred
    .filter(({ preference }) => matchesTerm(preference, node))
    .reduce((total, { weight }) => total + weight, 0);
}

/** A term that says nothing matches no node. */
function matchesTerm({ matchExpressions = [], matchFields = [] }: Term, node: Node): boolean {
  if (matchExpressions.length + matchFields.length === 0) return false;
  const labels = node.metadata.labels ?? {};
  return (
    matchExpressions.every(({ key, operator, values = [] }) => meets(labels[key], operator, values)) &&
    matchFields.every(
      ({ key, operator, values = [] }) => key === 'metadata.name' && meets(node.metadata.name, operator, values),
    )
  );
}
