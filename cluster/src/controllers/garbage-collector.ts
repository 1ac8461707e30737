/**
 * Deletes what has lost all its owners, waits with an owner that is deleted in the foreground until its dependents are
 * gone, and lets go of the dependents of one that is deleted with `Orphan`.
 * https://kubernetes.io/docs/concepts/architecture/garbage-collection
 */

import { type KubeObject, MeshError, type OwnerReference } from '@tulle/api';
import type { ControllerContext } from './controller-context.ts';
import type { GraphNode, ObjectGraph } from './object-graph.ts';

const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';

export function startGarbageCollector(context: ControllerContext, graph: ObjectGraph): void {
  const { client } = context;
  const queue = context.queue('garbage-collector', async (uid) => {
    await graph.synced();
    await sync(uid);
  });

  graph.subscribe(({ node, isDeleted }) => {
    const { uid = '', ownerReferences = [] } = node.metadata;
    if (isDeleted) {
      for (const dependent of graph.dependentsOf(uid)) queue.add(dependent.metadata.uid ?? '');
      // An owner may have waited for this one.
      for (const owner of ownerReferences) if (waits(graph.get(owner.uid))) queue.add(owner.uid);
      return;
    }
    if (waits(node) || hasFinalizer(node, ORPHAN)) queue.add(uid);
    const isLost = ownerReferences.some((owner) => !graph.get(owner.uid) || waits(graph.get(owner.uid)));
    if (isLost) queue.add(uid);
  });

  async function sync(uid: string): Promise<void> {
    const node = graph.get(uid);
    if (!node) return;
    if (node.metadata.deletionTimestamp) {
      if (hasFinalizer(node, ORPHAN)) await orphan(node);
      else if (waits(node)) await deleteDependents(node);
      return;
    }
    await deleteIfLost(node);
  }

  async function deleteDependents(node: GraphNode): Promise<void> {
    const uid = node.metadata.uid ?? '';
    const dependents = graph.dependentsOf(uid);
    const blocking = dependents.filter(({ metadata }) =>
      metadata.ownerReferences?.some((owner) => owner.uid === uid && owner.blockOwnerDeletion),
    );
    for (const dependent of dependents) {
      if (!dependent.metadata.deletionTimestamp) queue.add(dependent.metadata.uid ?? '');
    }
    if (blocking.length === 0) await removeFinalizer(node, FOREGROUND);
  }

  async function orphan(node: GraphNode): Promise<void> {
    const uid = node.metadata.uid ?? '';
    for (const dependent of graph.dependentsOf(uid)) await removeOwners(dependent, new Set([uid]));
    await removeFinalizer(node, ORPHAN);
  }

  async function deleteIfLost(node: GraphNode): Promise<void> {
    const owners = node.metadata.ownerReferences ?? [];
    if (owners.length === 0) return;
    const gone = new Set<string>();
    const waiting = new Set<string>();
    for (const owner of owners) {
      const state = await ownerState(node, owner);
      if (state === 'gone') gone.add(owner.uid);
      else if (state === 'waiting') waiting.add(owner.uid);
    }
    if (gone.size + waiting.size === 0) return;
    if (gone.size + waiting.size < owners.length) return removeOwners(node, new Set([...gone, ...waiting]));
    const { name, namespace, uid, finalizers = [] } = node.metadata;
    const hasDependents = graph.dependentsOf(uid ?? '').length > 0;
    const isForeground = (waiting.size > 0 && hasDependents) || finalizers.includes(FOREGROUND);
    const propagationPolicy = finalizers.includes(ORPHAN) ? 'Orphan' : isForeground ? 'Foreground' : 'Background';
    await ignoreGone(client.delete(node.kind, name, namespace, { propagationPolicy, preconditions: { uid } }));
  }

  async function ownerState(node: GraphNode, owner: OwnerReference): Promise<'present' | 'waiting' | 'gone'> {
    const known = graph.get(owner.uid);
    if (known) {
      const isElsewhere =
        known.metadata.namespace !== undefined && known.metadata.namespace !== node.metadata.namespace;
      return isElsewhere ? 'gone' : waits(known) ? 'waiting' : 'present';
    }
    // The watches of two kinds do not keep step with each other: only the server knows that it is not there.
    try {
      const kind = await client.kindFor(owner.apiVersion, owner.kind);
      const { metadata } = await client.get<KubeObject>(kind, owner.name, node.metadata.namespace);
      return metadata.uid === owner.uid ? 'present' : 'gone';
    } catch (error) {
      if (isKindUnknown(error)) return 'present';
      if (error instanceof MeshError && error.code === 'NOT_FOUND') return 'gone';
      throw error;
    }
  }

  async function removeOwners(node: GraphNode, uids: Set<string>): Promise<void> {
    const ownerReferences = node.metadata.ownerReferences?.filter((owner) => !uids.has(owner.uid)) ?? [];
    await patchMetadata(node, { ownerReferences: ownerReferences.length > 0 ? ownerReferences : null });
  }

  async function removeFinalizer(node: GraphNode, finalizer: string): Promise<void> {
    const finalizers = node.metadata.finalizers?.filter((one) => one !== finalizer) ?? [];
    await patchMetadata(node, { finalizers: finalizers.length > 0 ? finalizers : null });
  }

  /** Of this version alone: whoever changed it in the meantime is looked at again. */
  async function patchMetadata(node: GraphNode, changes: object): Promise<void> {
    const { name, namespace, uid, resourceVersion } = node.metadata;
    const patch = { metadata: { uid, resourceVersion, ...changes } };
    await ignoreGone(client.patch(node.kind, name, namespace, patch, 'merge'));
  }
}

/** Whether the object is deleted in the foreground: it goes last. */
function waits(node: GraphNode | undefined): boolean {
  return hasFinalizer(node, FOREGROUND) && node?.metadata.deletionTimestamp !== undefined;
}

function hasFinalizer(node: GraphNode | undefined, finalizer: string): boolean {
  return node?.metadata.finalizers?.includes(finalizer) ?? false;
}

/** A kind that is not served may come back: what it owns is kept. */
function isKindUnknown(error: unknown): boolean {
  return (
    error instanceof MeshError &&
    error.code === 'NOT_FOUND' &&
    !(error.status as { details?: { name?: string } })?.details?.name
  );
}

async function ignoreGone(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== 'NOT_FOUND') throw error;
  }
}
