/**
 * All objects of the cluster, in memory, with one rising revision, a bounded history per resource and watchers.
 * Stored objects are never changed in place: a write replaces the object. Writes are synchronous, so a read followed by
 * a write without an await between them is atomic.
 */
import { MeshError } from '@tulle/api';
import type { StoredObject } from './stored-object.ts';
import { Entry } from './stored-object.ts';

/**
 * Events kept per resource for watches that resume: seconds of a busy cluster, at some 30 kB for a large pod. A watch from
 * before them is told to list again (410).
 */
export const HISTORY_EVENTS_MAX = 1024;
/** Watchers at once: each controller and node has about twenty, each proxyless tool one or two. */
export const WATCHERS_MAX = 4096;

export type StoreEventType = 'ADDED' | 'MODIFIED' | 'DELETED';

export interface StoreEvent {
  type: StoreEventType;
  revision: number;
  /** The object after the change; for DELETED the last state, with the revision of the deletion. */
  entry: Entry;
  previous: Entry | undefined;
}

/** Where writes are kept beyond the process; `append` must be durable against the death of the process on return. */
export interface Journal {
  append(revision: number, resource: string, key: string, object: StoredObject | undefined): void;
}

interface Collection {
  entries: Map<string, Entry>;
  sorted: Entry[] | undefined;
  history: StoreEvent[];
  /** Watches may resume from this revision on. */
  oldestRevision: number;
  listeners: Set<(event: StoreEvent) => void>;
}

export class Store {
  #revision: number;
  #journal: Journal | undefined;
  #collections = new Map<string, Collection>();
  #watchers = 0;
  /** History before this is not known (it was before a restart). */
  #startRevision: number;

  constructor(options: { journal?: Journal; revision?: number; entries?: Iterable<[string, StoredObject]> } = {}) {
    this.#revision = options.revision ?? 1;
    this.#startRevision = this.#revision;
    this.#journal = options.journal;
    for (const [resource, object] of options.entries ?? []) {
      const entry = new Entry(object);
      this.#collection(resource).entries.set(entry.key, entry);
    }
  }

  get revision(): number {
    return this.#revision;
  }

  get(resource: string, key: string): Entry | undefined {
    return this.#collections.get(resource)?.entries.get(key);
  }

  /** Entries in the order of their keys, of one namespace or of all. */
  list(resource: string, namespace?: string): readonly Entry[] {
    const collection = this.#collections.get(resource);
    if (collection === undefined) return [];
    collection.sorted ??= [...collection.entries.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    if (namespace === undefined) return collection.sorted;
    return collection.sorted.filter((entry) => entry.namespace === namespace);
  }

  resources(): string[] {
    return [...this.#collections.keys()];
  }

  /** Stores an object under the next revision. `expected` is what the caller read (undefined: nothing was there). */
  put(resource: string, object: StoredObject, expected: Entry | undefined): Entry {
    const collection = this.#collection(resource);
    const key = Entry.keyOf(object.metadata);
    const previous = collection.entries.get(key);
    if (previous !== expected)
      throw new MeshError('ABORTED', `store ${resource} ${key}: it has changed since it was read`);
    const entry = this.#write(resource, object, key, false);
    collection.entries.set(key, entry);
    collection.sorted = undefined;
    this.#publish(collection, { type: previous ? 'MODIFIED' : 'ADDED', revision: entry.revision, entry, previous });
    return entry;
  }

  delete(resource: string, expected: Entry, last: StoredObject = expected.object): Entry {
    const collection = this.#collection(resource);
    if (collection.entries.get(expected.key) !== expected) {
      throw new MeshError('ABORTED', `delete ${resource} ${expected.key}: it has changed since it was read`);
    }
    const entry = this.#write(resource, last, expected.key, true);
    collection.entries.delete(expected.key);
    collection.sorted = undefined;
    this.#publish(collection, { type: 'DELETED', revision: entry.revision, entry, previous: expected });
    return entry;
  }

  /**
   * Calls back for every change of the resource after `revision`, past ones first (before it returns).
   * Throws OUT_OF_RANGE when the history does not reach back to it.
   */
  subscribe(resource: string, revision: number, listener: (event: StoreEvent) => void): () => void {
    const collection = this.#collection(resource);
    if (revision < collection.oldestRevision) {
      throw new MeshError('OUT_OF_RANGE', `too old resource version: ${revision} (${collection.oldestRevision})`);
    }
    if (this.#watchers >= WATCHERS_MAX) throw new MeshError('RESOURCE_EXHAUSTED', 'too many watches');
    for (const event of collection.history) if (event.revision > revision) listener(event);
    this.#watchers++;
    collection.listeners.add(listener);
    return () => {
      if (collection.listeners.delete(listener)) this.#watchers--;
    };
  }

  /** Forgets the history up to now; for tests of watches that come too late. */
  compact(): void {
    for (const collection of this.#collections.values()) {
      collection.history = [];
      collection.oldestRevision = this.#revision;
    }
    this.#startRevision = this.#revision;
  }

  #write(resource: string, object: StoredObject, key: string, isDelete: boolean): Entry {
    const revision = this.#revision + 1;
    const stamped = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
    this.#journal?.append(revision, resource, key, isDelete ? undefined : stamped);
    this.#revision = revision;
    return new Entry(stamped);
  }

  #publish(collection: Collection, event: StoreEvent): void {
    collection.history.push(event);
    if (collection.history.length > HISTORY_EVENTS_MAX + HISTORY_EVENTS_MAX / 4) {
      const dropped = collection.history.splice(0, collection.history.length - HISTORY_EVENTS_MAX);
      collection.oldestRevision = dropped.at(-1)!.revision;
    }
    for (const listener of [...collection.listeners]) listener(event);
    event.previous?.forgetJson();
  }

  #collection(resource: string): Collection {
    let collection = this.#collections.get(resource);
    if (collection === undefined) {
      collection = {
        entries: new Map(),
        sorted: undefined,
        history: [],
        oldestRevision: this.#startRevision,
        listeners: new Set(),
      };
      this.#collections.set(resource, collection);
    }
    return collection;
  }
}
