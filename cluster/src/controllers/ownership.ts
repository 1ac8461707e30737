/** Who controls an object: reading and making ownerReferences, adopting orphans and releasing what no longer matches. */

import type { Kind, KubeObject, LabelSelector, OwnerReference } from '@tulle/api';
import { matchesSelector } from '@tulle/client';
import type { Collection } from './collection.ts';

export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((reference) => reference.controller);
}

export function controllerReference(kind: Kind, owner: KubeObject): OwnerReference {
  const { name, uid = '' } = owner.metadata;
  return { apiVersion: kind.apiVersion, kind: kind.kind, name, uid, controller: true, blockOwnerDeletion: true };
}

/**
 * The objects that the owner controls, after adopting those that match its selector and have no controller, and
 * releasing those that it controls and that no longer match.
 */
export async function claim<T extends KubeObject>(
  collection: Collection<T>,
  ownerKind: Kind,
  owner: KubeObject,
  selector: LabelSelector | undefined,
): Promise<T[]> {
  const { namespace = '', uid = '', deletionTimestamp } = owner.metadata;
  const claimed: T[] = [];
  for (const object of collection.controlledBy(uid)) {
    if (matchesSelector(selector, object.metadata.labels)) claimed.push(object);
    else if (!deletionTimestamp) await release(collection, object, uid);
    else claimed.push(object);
  }
  if (deletionTimestamp) return claimed;
  for (const object of orphans(collection, namespace, selector)) {
    const metadata = { uid: object.metadata.uid, ownerReferences: [controllerReference(ownerKind, owner)] };
    claimed.push(await collection.patch(object, { metadata }));
  }
  return claimed;
}

function orphans<T extends KubeObject>(
  collection: Collection<T>,
  namespace: string,
  selector: LabelSelector | undefined,
): T[] {
  return collection
    .inNamespace(namespace)
    .filter(
      (object) =>
        !controllerOf(object) &&
        !object.metadata.deletionTimestamp &&
        matchesSelector(selector, object.metadata.labels),
    );
}

async function release<T extends KubeObject>(collection: Collection<T>, object: T, uid: string): Promise<void> {
  const metadata = { uid: object.metadata.uid, ownerReferences: [{ $patch: 'delete', uid }] };
  await collection.patch(object, { metadata });
}
