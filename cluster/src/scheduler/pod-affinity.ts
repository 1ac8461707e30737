/** Required affinity and anti-affinity between pods, and topology spread constraints that must hold. */

import type { Node, Pod, PodSpec } from '@tulle/api';
import { matchesSelector } from '@tulle/client';

/** A node with the pods that are on it. */
export interface NodeState {
  node: Node;
  pods: Pod[];
}

type PodAffinity = NonNullable<NonNullable<PodSpec['affinity']>['podAffinity']>;
type Term = NonNullable<PodAffinity['requiredDuringSchedulingIgnoredDuringExecution']>[number];
type Constraint = NonNullable<PodSpec['topologySpreadConstraints']>[number];

/** Why the node is not for this pod, or undefined. */
export function violatedAffinity(pod: Pod, candidate: NodeState, nodes: NodeState[]): string | undefined {
  const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {};
  const required = podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  if (!required.every((term) => isMet(term, pod, candidate, nodes))) return "didn't match pod affinity rules";
  const forbidden = podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  if (forbidden.some((term) => podsInDomain(term, pod, candidate, nodes).length > 0)) {
    return "didn't match pod anti-affinity rules";
  }
  if (isRefusedByOthers(pod, candidate, nodes)) return "didn't satisfy existing pods anti-affinity rules";
  const constraints = pod.spec?.topologySpreadConstraints ?? [];
  const hard = constraints.filter((constraint) => constraint.whenUnsatisfiable === 'DoNotSchedule');
  if (hard.some((constraint) => !isSpread(constraint, pod, candidate, nodes))) {
    return "didn't match pod topology spread constraints";
  }
  return undefined;
}

/** The first pod of a group that wants to be together may go anywhere with the topology's label. */
function isMet(term: Term, pod: Pod, candidate: NodeState, nodes: NodeState[]): boolean {
  if (domainOf(candidate.node, term.topologyKey) === undefined) return false;
  if (podsInDomain(term, pod, candidate, nodes).length > 0) return true;
  const isAlone = !nodes.some((state) => state.pods.some((other) => selects(term, pod, other)));
  return isAlone && selects(term, pod, pod);
}

function isRefusedByOthers(pod: Pod, candidate: NodeState, nodes: NodeState[]): boolean {
  return nodes.some((state) =>
    state.pods.some((other) => {
      const terms = other.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
      return terms.some((term) => {
        const domain = domainOf(state.node, term.topologyKey);
        return (
          domain !== undefined && domain === domainOf(candidate.node, term.topologyKey) && selects(term, other, pod)
        );
      });
    }),
  );
}

function podsInDomain(term: Term, pod: Pod, candidate: NodeState, nodes: NodeState[]): Pod[] {
  const domain = domainOf(candidate.node, term.topologyKey);
  if (domain === undefined) return [];
  return nodes
    .filter(({ node }) => domainOf(node, term.topologyKey) === domain)
    .flatMap((state) => state.pods.filter((other) => selects(term, pod, other)));
}

function selects(term: Term, owner: Pod, other: Pod): boolean {
  const isNamed = term.namespaces?.includes(other.metadata.namespace ?? '');
  // An empty namespace selector is all namespaces; labels of namespaces are not looked at.
  const isAnywhere = term.namespaceSelector !== undefined && Object.keys(term.namespaceSelector).length === 0;
  const isSame = !term.namespaces?.length && other.metadata.namespace === owner.metadata.namespace;
  return (isNamed || isAnywhere || isSame) && matchesSelector(term.labelSelector, other.metadata.labels);
}

function isSpread(constraint: Constraint, pod: Pod, candidate: NodeState, nodes: NodeState[]): boolean {
  const { topologyKey, labelSelector, maxSkew } = constraint;
  const here = domainOf(candidate.node, topologyKey);
  if (here === undefined) return false;
  const counts = new Map<string, number>();
  for (const state of nodes) {
    const domain = domainOf(state.node, topologyKey);
    if (domain === undefined) continue;
    const matching = state.pods.filter(
      (other) =>
        other.metadata.namespace === pod.metadata.namespace && matchesSelector(labelSelector, other.metadata.labels),
    );
    counts.set(domain, (counts.get(domain) ?? 0) + matching.length);
  }
  const self = matchesSelector(labelSelector, pod.metadata.labels) ? 1 : 0;
  return (counts.get(here) ?? 0) + self - Math.min(...counts.values()) <= maxSkew;
}

function domainOf(node: Node, topologyKey: string): string | undefined {
  return topologyKey === 'kubernetes.io/hostname'
    ? (node.metadata.labels?.[topologyKey] ?? node.metadata.name)
    : node.metadata.labels?.[topologyKey];
}
