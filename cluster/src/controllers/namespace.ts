/** Deletes namespaces: first everything in them, then, when the last of it is gone, themselves. */

import { type KubeObject, NAMESPACES, type Namespace } from '@tulle/api';
import { collectionPath, objectPath, type ServedKind, startReflector } from '@tulle/client';
import type { ControllerContext } from './controller-context.ts';
import { setCondition } from './status-conditions.ts';

const FINALIZER = 'kubernetes';

export function startNamespaceController(context: ControllerContext): void {
  const { client } = context;
  const namespaces = context.collection<Namespace>(NAMESPACES);
  const queue = context.queue('namespace', sync);
  /** What is left in namespaces on their way out is watched, to go on when it goes. */
  const watched = new Map<string, { stop: AbortController; kinds: Set<string> }>();
  namespaces.subscribe(({ object, isDeleted }) => {
    const { name, deletionTimestamp } = object.metadata;
    if (isDeleted) stopWatching(name);
    else if (deletionTimestamp) queue.add(name);
  });

  async function sync(name: string): Promise<void> {
    const namespace = namespaces.get(name);
    if (!namespace?.metadata.deletionTimestamp || !namespace.spec?.finalizers?.includes(FINALIZER)) return;
    const kinds = (await client.kinds()).filter(isDeletable);
    await Promise.all(kinds.map((kind) => deleteAll(kind, name)));
    const left = await Promise.all(
      kinds.map(async (kind) => ({
        kind,
        objects: (await client.list<KubeObject>(kind, { namespace: name, metadataOnly: true })).items,
      })),
    );
    const remaining = left.filter(({ objects }) => objects.length > 0);
    if (remaining.length === 0) return finalize(namespace);
    for (const { kind } of remaining) watch(name, kind);
    await tellRemaining(namespace, remaining);
  }

  async function deleteAll(kind: ServedKind, namespace: string): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background' };
    await (await client.request('DELETE', collectionPath(kind, namespace), { body })).text();
  }

  function watch(namespace: string, kind: ServedKind): void {
    let entry = watched.get(namespace);
    if (!entry) {
      entry = { stop: new AbortController(), kinds: new Set() };
      watched.set(namespace, entry);
    }
    const id = `${kind.apiVersion}/${kind.plural}`;
    if (entry.kinds.has(id)) return;
    entry.kinds.add(id);
    const signal = AbortSignal.any([entry.stop.signal, context.signal]);
    const reflector = startReflector<KubeObject>(client, kind, { namespace, metadataOnly: true }, signal);
    reflector.subscribe(({ type, object }) => {
      if (type === 'deleted' || !object.metadata.deletionTimestamp) queue.add(namespace);
    });
    // What went between our list and the watch's is told by neither.
    reflector.synced.then(
      () => queue.add(namespace),
      () => {},
    );
  }

  function stopWatching(namespace: string): void {
    watched.get(namespace)?.stop.abort();
    watched.delete(namespace);
  }

  async function tellRemaining(
    namespace: Namespace,
    remaining: Array<{ kind: ServedKind; objects: KubeObject[] }>,
  ): Promise<void> {
    const held = new Map<string, number>();
    for (const finalizer of remaining.flatMap(({ objects }) =>
      objects.flatMap(({ metadata }) => metadata.finalizers ?? []),
    )) {
      held.set(finalizer, (held.get(finalizer) ?? 0) + 1);
    }
    const contents = remaining.map(({ kind, objects }) => `${kind.plural} has ${objects.length} resource instances`);
    const finalizers = [...held].map(([finalizer, count]) => `${finalizer} in ${count} resource instances`);
    const nowMs = context.now();
    let conditions = setCondition(namespace.status?.conditions, nowMs, {
      type: 'NamespaceContentRemaining',
      status: 'True',
      reason: 'SomeResourcesRemain',
      message: `Some resources are remaining: ${contents.sort().join(', ')}`,
    });
    conditions = setCondition(conditions, nowMs, {
      type: 'NamespaceFinalizersRemaining',
      status: finalizers.length > 0 ? 'True' : 'False',
      reason: finalizers.length > 0 ? 'SomeFinalizersRemain' : 'ContentHasNoFinalizers',
      message:
        finalizers.length > 0
          ? `Some content in the namespace has finalizers remaining: ${finalizers.sort().join(', ')}`
          : 'All content-preserving finalizers finished',
    });
    if (!conditions || conditions === namespace.status?.conditions) return;
    await namespaces.updateStatus({ ...namespace, status: { ...namespace.status, conditions } });
  }

  async function finalize(namespace: Namespace): Promise<void> {
    const { name } = namespace.metadata;
    const current = await client.get<Namespace>(NAMESPACES, name);
    const finalizers = current.spec?.finalizers?.filter((finalizer) => finalizer !== FINALIZER) ?? [];
    const body = { ...current, spec: { ...current.spec, finalizers } };
    const path = objectPath(NAMESPACES, name, undefined, 'finalize');
    await (await client.request('PUT', path, { body })).text();
    stopWatching(name);
  }
}

function isDeletable(kind: ServedKind): boolean {
  return kind.namespaced && ['deletecollection', 'list', 'watch'].every((verb) => kind.verbs.includes(verb));
}
