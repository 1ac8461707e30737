/**
 * The history of a StatefulSet's or DaemonSet's template, kept in ControllerRevisions as `kubectl rollout history` and
 * `undo` read them: the data is a strategic merge patch that puts the template back.
 */

import { isDeepStrictEqual } from 'node:util';
import {
  type ControllerRevision,
  type Kind,
  type KubeObject,
  MeshError,
  type Pod,
  type PodTemplateSpec,
} from '@tulle/api';
import type { Collection } from './collection.ts';
import { controllerReference } from './ownership.ts';
import { canonical, hashOf } from './pod-template.ts';

export const REVISION_HASH = 'controller-revision-hash';

/** The label's value on pods of a StatefulSet is the revision's name; on those of a DaemonSet its hash alone. */
export function revisionHash(revision: ControllerRevision): string {
  return revision.metadata.labels?.[REVISION_HASH] ?? '';
}

export function templateOf(revision: ControllerRevision): PodTemplateSpec {
  const { $patch: _, ...template } = (revision.data as { spec: { template: { $patch?: string } } }).spec.template;
  return template;
}

/** The revision of the owner's present template, made or numbered anew where it is not the newest. */
export async function ensureRevision(
  revisions: Collection<ControllerRevision>,
  ownerKind: Kind,
  owner: KubeObject & { spec: { template: PodTemplateSpec } },
  collisionCount: number,
): Promise<{ revision: ControllerRevision } | { isNameTaken: true }> {
  const { template } = owner.spec;
  const own = byNumber(revisions.controlledBy(owner.metadata.uid ?? ''));
  const next = (own.at(-1)?.revision ?? 0) + 1;
  const wanted = canonical(template);
  const equal = own.findLast((revision) => isDeepStrictEqual(canonical(templateOf(revision)), wanted));
  if (equal && equal === own.at(-1)) return { revision: equal };
  if (equal) return { revision: await revisions.update({ ...equal, revision: next }) };
  const hash = hashOf(template, collisionCount);
  try {
    const revision = await revisions.create({
      metadata: {
        name: `${owner.metadata.name}-${hash}`,
        namespace: owner.metadata.namespace,
        labels: { ...template.metadata?.labels, [REVISION_HASH]: hash },
        annotations: owner.metadata.annotations,
        ownerReferences: [controllerReference(ownerKind, owner)],
      },
      data: { spec: { template: { ...template, $patch: 'replace' } } },
      revision: next,
    } as ControllerRevision);
    return { revision };
  } catch (error) {
    if (error instanceof MeshError && error.code === 'ALREADY_EXISTS') return { isNameTaken: true };
    throw error;
  }
}

/** Deletes the oldest revisions beyond the limit that no pod has and that are not among `live`. */
export async function truncateHistory(
  revisions: Collection<ControllerRevision>,
  owner: KubeObject,
  pods: Pod[],
  live: ControllerRevision[],
  limit = 10,
): Promise<void> {
  const inUse = new Set(pods.map((pod) => pod.metadata.labels?.[REVISION_HASH]));
  const isLive = (revision: ControllerRevision) =>
    live.some(({ metadata }) => metadata.name === revision.metadata.name) ||
    inUse.has(revision.metadata.name) ||
    inUse.has(revisionHash(revision));
  const idle = byNumber(revisions.controlledBy(owner.metadata.uid ?? '')).filter((revision) => !isLive(revision));
  for (const revision of idle.slice(0, Math.max(0, idle.length - limit))) await revisions.delete(revision);
}

function byNumber(revisions: ControllerRevision[]): ControllerRevision[] {
  return revisions
    .filter(({ metadata }) => !metadata.deletionTimestamp)
    .sort((a, b) => a.revision - b.revision || (a.metadata.name < b.metadata.name ? -1 : 1));
}
