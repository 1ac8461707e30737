/** Deletes namespaces: first everything in them, then, when the last of it is gone, themselves. */

import { NAMESPACES, type Namespace } from '@tulle/api';
import { collectionPath, objectPath, type ServedKind } from '@tulle/client';
import type { ControllerContext } from './controller-context.ts';
import type { ObjectGraph } from './object-graph.ts';
import { setCondition } from './status-conditions.ts';

const FINALIZER = 'kubernetes';

export function startNamespaceController(context: ControllerContext, graph: ObjectGraph): void {
  const { client } = context;
  const namespaces = context.collection<Namespace>(NAMESPACES);
  const queue = context.queue('namespace', sync);
  namespaces.subscribe(({ object, isDeleted }) => {
    if (!isDeleted && object.metadata.deletionTimestamp) queue.add(object.metadata.name);
  });
  graph.subscribe(({ node }) => {
    const { namespace } = node.metadata;
    if (namespace && namespaces.get(namespace)?.metadata.deletionTimestamp) queue.add(namespace);
  });

  async function sync(name: string): Promise<void> {
    const namespace = namespaces.get(name);
    if (!namespace?.metadata.deletionTimestamp || !namespace.spec?.finalizers?.includes(FINALIZER)) return;
    await graph.synced();
    const kinds = (await client.kinds()).filter((kind) => kind.namespaced && kind.verbs.includes('delete'));
    await Promise.all(kinds.map((kind) => deleteAll(kind, name)));
    const left = await Promise.all(kinds.map((kind) => count(kind, name)));
    const remaining = kinds.map((kind, index) => ({ kind, count: left[index] ?? 0 })).filter((one) => one.count > 0);
    // What is left tells of itself through the graph when it goes.
    if (remaining.length > 0) await tellRemaining(namespace, remaining);
    else await finalize(namespace);
  }

  async function deleteAll(kind: ServedKind, namespace: string): Promise<void> {
    const known = graph.inNamespace(namespace).filter((node) => isKind(node.kind, kind));
    const isGoing = known.length > 0 && known.every((node) => node.metadata.deletionTimestamp);
    if (isGoing) return;
    if (kind.verbs.includes('deletecollection')) {
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background' };
      await (await client.request('DELETE', collectionPath(kind, namespace), { body })).text();
      return;
    }
    for (const { metadata } of known) {
      if (!metadata.deletionTimestamp) await client.delete(kind, metadata.name, namespace);
    }
  }

  async function count(kind: ServedKind, namespace: string): Promise<number> {
    if (!kind.verbs.includes('list')) return 0;
    return (await client.list(kind, { namespace, metadataOnly: true })).items.length;
  }

  async function tellRemaining(namespace: Namespace, remaining: Array<{ kind: ServedKind; count: number }>) {
    const details = remaining.map(({ kind, count: left }) => `${kind.plural} has ${left} resource instances`).sort();
    const conditions = setCondition(namespace.status?.conditions, context.now(), {
      type: 'NamespaceContentRemaining',
      status: 'True',
      reason: 'SomeResourcesRemain',
      message: `Some resources are remaining: ${details.join(', ')}`,
    });
    if (conditions === namespace.status?.conditions) return;
    await namespaces.updateStatus({
      ...namespace,
      status: { ...namespace.status, ...(conditions ? { conditions } : {}) },
    });
  }

  async function finalize(namespace: Namespace): Promise<void> {
    const finalizers = namespace.spec?.finalizers?.filter((finalizer) => finalizer !== FINALIZER) ?? [];
    const current = await client.get<Namespace>(NAMESPACES, namespace.metadata.name);
    const body = { ...current, spec: { ...current.spec, finalizers } };
    const path = objectPath(NAMESPACES, namespace.metadata.name, undefined, 'finalize');
    await (await client.request('PUT', path, { body })).text();
  }
}

function isKind(one: { apiVersion: string; plural: string }, other: { apiVersion: string; plural: string }): boolean {
  return one.apiVersion === other.apiVersion && one.plural === other.plural;
}
