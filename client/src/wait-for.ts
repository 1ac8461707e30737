/** Waiting for objects to be as one wants them, told by the server and not asked again and again. */

import { type Kind, type KubeObject, MeshError, objectKey } from '@tulle/api';
import type { Client, Selection } from './client.ts';

/** Of the objects in the message of a wait that failed. */
const STATE_CHARS_MAX = 4_000;

/**
 * The selected objects, by name, as soon as they are as wanted. Begins with a list, so that what was written before the
 * call is in it. @throws MeshError `DEADLINE_EXCEEDED` with what is there when the signal is aborted.
 */
export async function waitFor<T extends KubeObject = KubeObject>(
  client: Client,
  kind: Kind,
  selection: Selection,
  isReached: (objects: T[]) => boolean,
  signal: AbortSignal,
): Promise<T[]> {
  const objects = new Map<string, T>();
  const present = () => [...objects.values()].sort((a, b) => (objectKey(a) < objectKey(b) ? -1 : 1));
  try {
    while (true) {
      const { items, resourceVersion } = await client.list<T>(kind, selection);
      objects.clear();
      for (const object of items) objects.set(objectKey(object), object);
      if (isReached(present())) return present();
      const ended = await follow(resourceVersion);
      if (ended) return ended;
    }
  } catch (cause) {
    if (!signal.aborted) throw cause;
    const state = JSON.stringify(present(), null, 1).slice(0, STATE_CHARS_MAX);
    throw new MeshError('DEADLINE_EXCEEDED', `wait for ${kind.plural}: ${isReached} does not hold of ${state}`, {
      cause,
    });
  }

  /** Undefined when the watch has ended before, as watches do. */
  async function follow(resourceVersion: string): Promise<T[] | undefined> {
    for await (const { type, object } of client.watch<T>(kind, { ...selection, resourceVersion }, signal)) {
      if (type === 'BOOKMARK') continue;
      if (type === 'DELETED') objects.delete(objectKey(object));
      else objects.set(objectKey(object), object);
      if (isReached(present())) return present();
    }
    return undefined;
  }
}
