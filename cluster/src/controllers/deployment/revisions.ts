/**
 * A Deployment's history: its ReplicaSets numbered by the annotation `deployment.kubernetes.io/revision`, the newest
 * being the one whose template is the Deployment's own. `kubectl rollout history` and `undo` read it.
 */

import { DEPLOYMENTS, type Deployment, REPLICA_SETS, type ReplicaSet } from '@tulle/api';
import { controllerReference } from '../ownership.ts';
import { timeMs } from '../pod-state.ts';
import { isSameTemplate } from '../pod-template.ts';

export const TEMPLATE_HASH = 'pod-template-hash';
export const REVISION = 'deployment.kubernetes.io/revision';
export const DESIRED_REPLICAS = 'deployment.kubernetes.io/desired-replicas';
export const MAX_REPLICAS = 'deployment.kubernetes.io/max-replicas';
const REVISION_HISTORY = 'deployment.kubernetes.io/revision-history';
/** Annotations of a Deployment that are about itself and not about what it makes. */
const NOT_INHERITED = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'deprecated.deployment.rollback.to',
  REVISION,
  REVISION_HISTORY,
  DESIRED_REPLICAS,
  MAX_REPLICAS,
]);
/** Revisions that one ReplicaSet had before, each time somebody went back to it. */
const REVISION_HISTORY_MAX = 100;

/** The ReplicaSet with the Deployment's template; of several the oldest, so that all controllers choose the same. */
export function findNewReplicaSet(deployment: Deployment, replicaSets: ReplicaSet[]): ReplicaSet | undefined {
  const template = deployment.spec?.template;
  return [...replicaSets]
    .sort(byAge)
    .find(({ spec }) => template && spec?.template && isSameTemplate(spec.template, template, TEMPLATE_HASH));
}

export function byAge(a: ReplicaSet, b: ReplicaSet): number {
  const ageMs = timeMs(a.metadata.creationTimestamp) - timeMs(b.metadata.creationTimestamp);
  return ageMs || (a.metadata.name < b.metadata.name ? -1 : 1);
}

export function revisionOf(replicaSet: ReplicaSet): number {
  return Number(replicaSet.metadata.annotations?.[REVISION] ?? 0) || 0;
}

/** The revision for the newest template: one more than any other ReplicaSet has. */
export function nextRevision(oldReplicaSets: ReplicaSet[]): number {
  return Math.max(0, ...oldReplicaSets.map(revisionOf)) + 1;
}

/** The annotations that the new ReplicaSet should have; `present` are those it has. */
export function annotationsFor(
  deployment: Deployment,
  present: Record<string, string>,
  revision: number,
): Record<string, string> {
  const inherited = Object.entries(deployment.metadata.annotations ?? {}).filter(([name]) => !NOT_INHERITED.has(name));
  const annotations = { ...present, ...Object.fromEntries(inherited) };
  const before = Number(present[REVISION] ?? 0);
  if (before >= revision) return annotations;
  annotations[REVISION] = String(revision);
  if (before > 0) {
    const history = (present[REVISION_HISTORY] ?? '').split(',').filter(Boolean);
    annotations[REVISION_HISTORY] = [...history, String(before)].slice(-REVISION_HISTORY_MAX).join(',');
  }
  return annotations;
}

/** A ReplicaSet for the Deployment's template. */
export function newReplicaSet(
  deployment: Deployment,
  hash: string,
  replicas: number,
  annotations: Record<string, string>,
): ReplicaSet {
  const { spec, metadata } = deployment;
  const template = structuredClone(spec?.template ?? {});
  const labels = { ...template.metadata?.labels, [TEMPLATE_HASH]: hash };
  template.metadata = { ...template.metadata, labels };
  const selector = { ...spec?.selector, matchLabels: { ...spec?.selector.matchLabels, [TEMPLATE_HASH]: hash } };
  return {
    apiVersion: REPLICA_SETS.apiVersion,
    kind: REPLICA_SETS.kind,
    metadata: {
      name: `${metadata.name}-${hash}`,
      namespace: metadata.namespace,
      labels,
      annotations,
      ownerReferences: [controllerReference(DEPLOYMENTS, deployment)],
    },
    spec: { replicas, minReadySeconds: spec?.minReadySeconds ?? 0, selector, template },
  };
}

/** Old ReplicaSets beyond the history limit: without pods, oldest revision first. */
export function beyondHistory(deployment: Deployment, oldReplicaSets: ReplicaSet[]): ReplicaSet[] {
  const limit = deployment.spec?.revisionHistoryLimit ?? 10;
  const removable = oldReplicaSets.filter(({ metadata }) => !metadata.deletionTimestamp);
  return removable
    .sort((a, b) => revisionOf(a) - revisionOf(b) || byAge(a, b))
    .slice(0, Math.max(0, removable.length - limit))
    .filter(
      ({ spec, status, metadata }) =>
        spec?.replicas === 0 &&
        (status?.replicas ?? 0) === 0 &&
        (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0),
    );
}
