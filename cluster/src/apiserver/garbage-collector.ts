/**
 * Ownership: an object whose owners are all gone is deleted; an owner that is deleted in the foreground waits for what it
 * owns, one that is deleted with orphans gives it up first.
 */
import { MeshError } from '@tulle/api';
import { apiserver as logger } from '../logger.ts';
import type { Resource } from '../resources/resource.ts';
import type { StoreEvent } from '../store/store.ts';
import type { Entry, OwnerReference, StoredObject } from '../store/stored-object.ts';
import type { ApiContext } from './context.ts';
import { deleteEntry } from './delete.ts';

const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';

interface Place {
  storage: string;
  key: string;
}

export function startGarbageCollector(context: ApiContext): void {
  new GarbageCollector(context).start();
}

class GarbageCollector {
  #context: ApiContext;
  /** Objects by the uid of each of their owners. */
  #dependents = new Map<string, Map<string, Place>>();
  #owners = new Map<string, Place>();
  #watched = new Set<string>();
  #queue: (() => void)[] = [];

  constructor(context: ApiContext) {
    this.#context = context;
  }

  start(): void {
    const { registry } = this.#context;
    const watchAll = () => {
      for (const resource of registry.collections()) this.#watch(resource);
    };
    watchAll();
    registry.onChange(watchAll);
  }

  #watch(resource: Resource): void {
    const { store } = this.#context;
    if (this.#watched.has(resource.storage) || resource.verbs.length === 1) return;
    this.#watched.add(resource.storage);
    const present = store.list(resource.storage);
    for (const entry of present) this.#index(resource.storage, entry, undefined);
    for (const entry of present) this.#enqueue(() => this.#examine({ storage: resource.storage, key: entry.key }));
    store.subscribe(resource.storage, store.revision, (event) => this.#onEvent(resource.storage, event));
  }

  #onEvent(storage: string, { type, entry, previous }: StoreEvent): void {
    const place = { storage, key: entry.key };
    if (type === 'DELETED') {
      this.#index(storage, undefined, previous ?? entry);
      this.#enqueue(() => this.#ownerGone(entry.object));
      return;
    }
    this.#index(storage, entry, previous);
    const { metadata } = entry.object;
    if (metadata.ownerReferences !== undefined || metadata.deletionTimestamp !== undefined)
      this.#enqueue(() => this.#examine(place));
  }

  #index(storage: string, now: Entry | undefined, before: Entry | undefined): void {
    if (before !== undefined) {
      for (const owner of before.object.metadata.ownerReferences ?? []) {
        const places = this.#dependents.get(owner.uid);
        places?.delete(`${storage} ${before.key}`);
        if (places?.size === 0) this.#dependents.delete(owner.uid);
      }
      if (now === undefined) this.#owners.delete(before.object.metadata.uid);
    }
    if (now === undefined) return;
    const place = { storage, key: now.key };
    this.#owners.set(now.object.metadata.uid, place);
    for (const owner of now.object.metadata.ownerReferences ?? []) {
      let places = this.#dependents.get(owner.uid);
      if (places === undefined) {
        places = new Map();
        this.#dependents.set(owner.uid, places);
      }
      places.set(`${storage} ${now.key}`, place);
    }
  }

  /** Work runs after the write that causes it, one piece at a time. */
  #enqueue(work: () => void): void {
    this.#queue.push(work);
    if (this.#queue.length === 1) setImmediate(() => this.#run());
  }

  #run(): void {
    const deadline = performance.now() + SLICE_MS;
    while (this.#queue.length > 0 && !this.#context.signal.aborted) {
      try {
        this.#queue[0]!();
      } catch (error) {
        logger.warn({ error: MeshError.from(error).message }, 'garbage collection of an object failed');
      }
      this.#queue.shift();
      if (performance.now() > deadline) break;
    }
    if (this.#queue.length > 0 && !this.#context.signal.aborted) setImmediate(() => this.#run());
  }

  #ownerGone(owner: StoredObject): void {
    for (const place of [...(this.#dependents.get(owner.metadata.uid)?.values() ?? [])]) this.#examine(place);
    for (const reference of owner.metadata.ownerReferences ?? []) {
      const place = this.#owners.get(reference.uid);
      if (place !== undefined) this.#examine(place);
    }
  }

  #find({ storage, key }: Place): { resource: Resource; entry: Entry } | undefined {
    const entry = this.#context.store.get(storage, key);
    const resource = this.#context.registry.collections().find((candidate) => candidate.storage === storage);
    return entry === undefined || resource === undefined ? undefined : { resource, entry };
  }

  #examine(place: Place): void {
    const found = this.#find(place);
    if (found === undefined) return;
    const { resource, entry } = found;
    const { metadata } = entry.object;
    if (metadata.deletionTimestamp !== undefined && metadata.finalizers?.includes(ORPHAN)) {
      this.#orphan(resource, entry);
      return;
    }
    if (metadata.deletionTimestamp !== undefined && metadata.finalizers?.includes(FOREGROUND)) {
      this.#foreground(resource, entry);
      return;
    }
    const references = metadata.ownerReferences ?? [];
    if (references.length === 0 || metadata.deletionTimestamp !== undefined) return;
    const states = references.map((reference) => this.#ownerState(reference, entry.namespace));
    if (states.every((state) => state === 'gone')) this.#delete(resource, entry, undefined);
    else if (states.every((state) => state !== 'present')) this.#delete(resource, entry, 'Foreground');
    else if (states.includes('gone')) {
      this.#rewrite(resource, entry, { ownerReferences: references.filter((_, i) => states[i] !== 'gone') });
    }
  }

  #ownerState(reference: OwnerReference, namespace: string | undefined): 'present' | 'gone' | 'waiting' {
    const place = this.#owners.get(reference.uid);
    const owner = place === undefined ? undefined : this.#find(place)?.entry.object;
    // An owner in another namespace does not count, as if it were not there.
    const isReachable =
      owner !== undefined && (owner.metadata.namespace === undefined || owner.metadata.namespace === namespace);
    if (!isReachable) {
      const isKnownKind =
        this.#context.registry.findGroupKind(groupOf(reference.apiVersion), reference.kind) !== undefined;
      return isKnownKind ? 'gone' : 'present';
    }
    const isForeground =
      owner.metadata.deletionTimestamp !== undefined && owner.metadata.finalizers?.includes(FOREGROUND);
    return isForeground ? 'waiting' : 'present';
  }

  #dependentsOf(uid: string): { resource: Resource; entry: Entry }[] {
    return [...(this.#dependents.get(uid)?.values() ?? [])].flatMap((place) => this.#find(place) ?? []);
  }

  #foreground(resource: Resource, owner: Entry): void {
    const { uid } = owner.object.metadata;
    const dependents = this.#dependentsOf(uid);
    const isBlocked = dependents.some(({ entry }) =>
      entry.object.metadata.ownerReferences?.some((r) => r.uid === uid && r.blockOwnerDeletion === true),
    );
    if (isBlocked) {
      for (const { resource: kind, entry } of dependents) {
        if (entry.object.metadata.deletionTimestamp === undefined)
          this.#examine({ storage: kind.storage, key: entry.key });
      }
      return;
    }
    this.#dropFinalizer(resource, owner, FOREGROUND);
  }

  #orphan(resource: Resource, owner: Entry): void {
    const { uid } = owner.object.metadata;
    for (const dependent of this.#dependentsOf(uid)) {
      const references = dependent.entry.object.metadata.ownerReferences ?? [];
      this.#rewrite(dependent.resource, dependent.entry, {
        ownerReferences: references.filter((reference) => reference.uid !== uid),
      });
    }
    this.#dropFinalizer(resource, owner, ORPHAN);
  }

  #dropFinalizer(resource: Resource, owner: Entry, finalizer: string): void {
    const finalizers = (owner.object.metadata.finalizers ?? []).filter((other) => other !== finalizer);
    this.#rewrite(resource, owner, { finalizers });
  }

  #rewrite(resource: Resource, entry: Entry, change: Partial<StoredObject['metadata']>): void {
    const metadata = { ...entry.object.metadata, ...change };
    if (metadata.ownerReferences?.length === 0) delete metadata.ownerReferences;
    if (metadata.finalizers?.length === 0) delete metadata.finalizers;
    const object = { ...entry.object, metadata };
    const isDone =
      metadata.deletionTimestamp !== undefined &&
      metadata.finalizers === undefined &&
      (metadata.deletionGracePeriodSeconds ?? 0) === 0;
    if (isDone) this.#context.store.delete(resource.storage, entry, object);
    else this.#context.store.put(resource.storage, object, entry);
  }

  #delete(resource: Resource, entry: Entry, propagation: 'Foreground' | undefined): void {
    deleteEntry(
      this.#context.store,
      resource,
      entry,
      { isDryRun: false, ...(propagation === undefined ? {} : { propagation }) },
      this.#context.now(),
    );
  }
}

/** Requests are answered between slices of this length. */
const SLICE_MS = 5;

function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.split('/')[0]! : '';
}
