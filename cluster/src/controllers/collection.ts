/**
 * The objects of one kind as a controller sees them: what the watch has told, and on top of it what the controllers
 * themselves have just written and the watch has yet to tell. A controller that reads its own writes neither creates a
 * pod twice nor fights with its own last update.
 */

import { type Kind, type KubeObject, MeshError, objectKey } from '@tulle/api';
import { type Client, type DeleteOptions, type Reflector, startReflector } from '@tulle/client';
import { controllerOf } from './ownership.ts';

export interface Change<T> {
  object: T;
  old?: T;
  isDeleted: boolean;
}

/** A write that the watch has not told after this long is looked up: it may have been undone while we relisted. */
const UNCONFIRMED_MS_MAX = 30_000;

export class Collection<T extends KubeObject> {
  readonly kind: Kind;
  readonly synced: Promise<void>;
  private readonly client: Client;
  private readonly signal: AbortSignal;
  private readonly reflector: Reflector<T>;
  private readonly objects = new Map<string, T>();
  private readonly byNamespace = new Map<string, Set<string>>();
  private readonly byController = new Map<string, Set<string>>();
  private readonly listeners = new Set<(change: Change<T>) => void>();
  private readonly unconfirmed = new Map<string, NodeJS.Timeout>();
  /** When we deleted what the watch still shows as living, by uid. */
  private readonly deleting = new Map<string, string>();

  constructor(client: Client, kind: Kind, signal: AbortSignal) {
    this.client = client;
    this.kind = kind;
    this.signal = signal;
    this.reflector = startReflector<T>(client, kind, {}, signal);
    this.synced = this.reflector.synced;
    this.reflector.subscribe(({ type, object }) => {
      if (type === 'deleted') this.applyDeleted(object);
      else this.apply(object);
    });
    signal.addEventListener('abort', () => {
      for (const timer of this.unconfirmed.values()) clearTimeout(timer);
    });
  }

  get(key: string): T | undefined {
    return this.objects.get(key);
  }

  list(): T[] {
    return [...this.objects.values()];
  }

  inNamespace(namespace: string): T[] {
    return this.pick(this.byNamespace.get(namespace));
  }

  /** Those whose controller is the owner with this uid. */
  controlledBy(uid: string): T[] {
    return this.pick(this.byController.get(uid));
  }

  /** Replays the present objects, then tells every change, our own writes included. */
  subscribe(listener: (change: Change<T>) => void): void {
    for (const object of this.objects.values()) listener({ object, isDeleted: false });
    this.listeners.add(listener);
  }

  async create(object: object & { metadata: object }): Promise<T> {
    return this.remember(await this.client.create<T>(this.kind, object));
  }

  async update(object: T): Promise<T> {
    return this.remember(await this.client.update<T>(this.kind, object));
  }

  async updateStatus(object: T): Promise<T> {
    return this.remember(await this.client.updateStatus<T>(this.kind, object));
  }

  async patch(object: T, patch: unknown, subresource?: string): Promise<T> {
    const { name, namespace } = object.metadata;
    const options = subresource ? { subresource } : {};
    return this.remember(await this.client.patch<T>(this.kind, name, namespace, patch, 'strategic', options));
  }

  /** Deletes this very object; one that is gone or has been replaced is no error. */
  async delete(object: T, options: DeleteOptions = { propagationPolicy: 'Background' }): Promise<void> {
    const { name, namespace, uid } = object.metadata;
    try {
      await this.client.delete(this.kind, name, namespace, { preconditions: { uid }, ...options });
    } catch (error) {
      if (error instanceof MeshError && (error.code === 'NOT_FOUND' || error.code === 'ABORTED')) return;
      throw error;
    }
    const key = objectKey(object);
    const present = this.objects.get(key);
    if (!present || !uid || present.metadata.uid !== uid || present.metadata.deletionTimestamp) return;
    this.deleting.set(uid, new Date().toISOString());
    this.put(key, present);
    this.awaitConfirmation(key);
  }

  /** Takes in an object that a write has returned. */
  remember(object: T): T {
    delete object.metadata.managedFields;
    const key = objectKey(object);
    const present = this.objects.get(key);
    const isNewer = !present || versionOf(object) > versionOf(present);
    if (isNewer && !isFinallyDeleted(object)) {
      this.put(key, object);
      this.awaitConfirmation(key);
    }
    return object;
  }

  private apply(object: T): void {
    const key = objectKey(object);
    const present = this.objects.get(key);
    const isSame = present?.metadata.uid === object.metadata.uid;
    if (present && isSame && versionOf(object) < versionOf(present)) return;
    if (object.metadata.deletionTimestamp || !this.deleting.has(object.metadata.uid ?? '')) this.confirm(key);
    this.put(key, object);
  }

  private applyDeleted(object: T): void {
    const key = objectKey(object);
    const present = this.objects.get(key);
    // The watch may tell the end of an object whose successor we have already made.
    if (!present || present.metadata.uid !== object.metadata.uid) return;
    this.confirm(key);
    this.remove(key, present);
  }

  private awaitConfirmation(key: string): void {
    clearTimeout(this.unconfirmed.get(key));
    const timer = setTimeout(() => void this.lookUp(key), UNCONFIRMED_MS_MAX).unref();
    this.unconfirmed.set(key, timer);
  }

  private confirm(key: string): void {
    clearTimeout(this.unconfirmed.get(key));
    this.unconfirmed.delete(key);
  }

  private async lookUp(key: string): Promise<void> {
    const present = this.objects.get(key);
    if (!present || this.signal.aborted) return;
    try {
      const { name, namespace, uid = '' } = present.metadata;
      const object = await this.client.get<T>(this.kind, name, namespace);
      this.deleting.delete(uid);
      this.confirm(key);
      this.put(key, object);
    } catch (error) {
      if (error instanceof MeshError && error.code === 'NOT_FOUND') this.remove(key, present);
      else this.awaitConfirmation(key);
    }
  }

  private put(key: string, given: T): void {
    const old = this.objects.get(key);
    if (old) this.unindex(key, old);
    const object = this.asDeleting(given);
    this.objects.set(key, object);
    addTo(this.byNamespace, object.metadata.namespace, key);
    addTo(this.byController, controllerOf(object)?.uid, key);
    this.tell({ object, ...(old ? { old } : {}), isDeleted: false });
  }

  private asDeleting(object: T): T {
    const { uid = '', deletionTimestamp } = object.metadata;
    const deletedAt = this.deleting.get(uid);
    if (!deletedAt) return object;
    if (deletionTimestamp) {
      this.deleting.delete(uid);
      return object;
    }
    return { ...object, metadata: { ...object.metadata, deletionTimestamp: deletedAt } };
  }

  private remove(key: string, object: T): void {
    this.deleting.delete(object.metadata.uid ?? '');
    this.unindex(key, object);
    this.objects.delete(key);
    this.tell({ object, old: object, isDeleted: true });
  }

  private unindex(key: string, object: T): void {
    removeFrom(this.byNamespace, object.metadata.namespace, key);
    removeFrom(this.byController, controllerOf(object)?.uid, key);
  }

  private tell(change: Change<T>): void {
    for (const listener of this.listeners) listener(change);
  }

  private pick(keys: Set<string> | undefined): T[] {
    return keys ? [...keys].map((key) => this.objects.get(key) as T) : [];
  }
}

/** Resource versions of one store are numbers that grow. */
function versionOf(object: KubeObject): bigint {
  return BigInt(object.metadata.resourceVersion || 0);
}

/** The answer to a write that took the last finalizer of a deleted object away shows an object that is no more. */
function isFinallyDeleted({ metadata }: KubeObject): boolean {
  return Boolean(metadata.deletionTimestamp && !metadata.finalizers?.length && !metadata.deletionGracePeriodSeconds);
}

function addTo(index: Map<string, Set<string>>, at: string | undefined, key: string): void {
  if (at === undefined) return;
  const keys = index.get(at);
  if (keys) keys.add(key);
  else index.set(at, new Set([key]));
}

function removeFrom(index: Map<string, Set<string>>, at: string | undefined, key: string): void {
  if (at === undefined) return;
  const keys = index.get(at);
  keys?.delete(key);
  if (keys?.size === 0) index.delete(at);
}
