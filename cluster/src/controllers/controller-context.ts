/** What every controller works with: the collections, one for each kind however many controllers read it, and events. */

import { type Kind, type KubeObject, MeshError, objectKey } from '@tulle/api';
import type { Client } from '@tulle/client';
import { controllers as log } from '../logger.ts';
import { Collection } from './collection.ts';
import { createEventRecorder, type EventRecorder } from './event-recorder.ts';
import { controllerOf } from './ownership.ts';
import { createWorkQueue, type WorkQueue, type WorkQueueOptions } from './work-queue.ts';

export interface ControllerContext {
  client: Client;
  signal: AbortSignal;
  collection<T extends KubeObject>(kind: Kind): Collection<T>;
  recorder(component: string): EventRecorder;
  /** A queue whose work begins once every collection that was asked for so far has been listed. */
  queue(name: string, sync: (key: string) => Promise<void>, options?: Partial<WorkQueueOptions>): WorkQueue;
  /** Milliseconds since 1970. */
  now(): number;
}

export function createControllerContext(
  client: Client,
  signal: AbortSignal,
  now: () => number = Date.now,
): ControllerContext {
  const collections = new Map<Kind, Collection<KubeObject>>();
  const recorders = new Map<string, EventRecorder>();

  return {
    client,
    signal,
    now,
    collection<T extends KubeObject>(kind: Kind) {
      let collection = collections.get(kind);
      if (!collection) {
        collection = new Collection<KubeObject>(client, kind, signal);
        collections.set(kind, collection);
      }
      return collection as unknown as Collection<T>;
    },
    recorder(component) {
      let recorder = recorders.get(component);
      if (!recorder) {
        recorder = createEventRecorder(client, component, signal);
        recorders.set(component, recorder);
      }
      return recorder;
    },
    queue(name, sync, options = {}) {
      const ready = Promise.all([...collections.values()].map((collection) => collection.synced));
      ready.catch(() => {}); // each sync sees it
      return createWorkQueue({
        sync: async (key) => {
          await ready;
          await sync(key);
        },
        onError: (key, error) => report(name, key, error),
        signal,
        ...options,
      });
    },
  };
}

/** Adds the controller of every object that changes to its queue, the one before the change included. */
export function enqueueController<T extends KubeObject>(
  collection: Collection<T>,
  ownerKind: Kind,
  queue: WorkQueue,
  onOrphan?: (object: T) => void,
): void {
  collection.subscribe(({ object, old }) => {
    const owners = [controllerOf(object), old && controllerOf(old)];
    for (const owner of owners) {
      if (owner?.kind !== ownerKind.kind || owner.apiVersion !== ownerKind.apiVersion) continue;
      queue.add(ownerKind.namespaced ? `${object.metadata.namespace}/${owner.name}` : owner.name);
    }
    if (!owners[0]) onOrphan?.(object);
  });
}

/** Adds every object of the collection itself to the queue. */
export function enqueueEach<T extends KubeObject>(collection: Collection<T>, queue: WorkQueue): void {
  collection.subscribe(({ object }) => queue.add(objectKey(object)));
}

/** Lost races, and objects and namespaces on their way out, are every day's business; the rest is worth a warning. */
function report(controller: string, key: string, error: unknown): void {
  const { code, message } = MeshError.from(error);
  const isTerminating = code === 'PERMISSION_DENIED' && message.includes('being terminated');
  const isUsual = code === 'ABORTED' || code === 'NOT_FOUND' || code === 'ALREADY_EXISTS' || code === 'CANCELLED';
  const level = isUsual || isTerminating ? 'debug' : 'warn';
  log[level]({ controller, key, code, error: message }, 'sync failed, will be tried again');
}
