/**
 * A local copy of the objects of a kind, kept up to date by list and watch. One watch per client, kind and selection,
 * shared by all who ask for it, and stopped when nobody has used it for a while.
 */

import { type Kind, type KubeObject, MeshError, objectKey } from '@tulle/api';
import { Backoff, type BackoffRange, sleep } from './backoff.ts';
import type { Client, Selection } from './client.ts';

export interface ReflectorEvent<T> {
  type: 'added' | 'modified' | 'deleted';
  object: T;
  /** The object before, unless it was added. */
  old?: T;
}

export interface Reflector<T> {
  /** By `namespace/name`, or `name` for kinds without namespace. The object is shared: do not change it. */
  get(key: string): T | undefined;
  list(): T[];
  /** Resolves after the first list; rejects with `CANCELLED` when the signal is aborted before. */
  synced: Promise<void>;
  /** Replays the present objects as added, then tells every change in order; a listener must not throw. */
  subscribe(listener: (event: ReflectorEvent<T>) => void): () => void;
}

export interface ReflectorOptions extends Selection {
  /**
   * `identities`: of each object only name, namespace, uid and version are kept, for a reader that keeps what it needs
   * itself. The watch is then not shared, and `old`, `get` and `list` have no more than that. Default `objects`.
   */
  keep?: 'objects' | 'identities';
  /** Told of every failed list or watch; it is tried again by itself. */
  onError?: (error: MeshError) => void;
  backoff?: BackoffRange;
}

/** The watch is kept this long without users, so that a command's second question is answered at once. */
const IDLE_EVICTION_MS = 60_000;
/** A server that ends watches sooner than this is waited for. */
const WATCH_MS_MIN = 10_000;
const BACKOFF: BackoffRange = { minMs: 500, maxMs: 30_000 };

const shared = new WeakMap<Client, Map<string, SharedReflector>>();

/** Users of one client share a watch; the store lasts while one of their signals is not aborted, and a little longer. */
export function startReflector<T extends KubeObject = KubeObject>(
  client: Client,
  kind: Kind,
  options: ReflectorOptions,
  signal: AbortSignal,
): Reflector<T> {
  if (options.keep === 'identities') {
    const own = new SharedReflector(client, kind, options, () => {});
    return own.use(options.onError, signal) as unknown as Reflector<T>;
  }
  let reflectors = shared.get(client);
  if (!reflectors) {
    reflectors = new Map();
    shared.set(client, reflectors);
  }
  const { namespace = '', labelSelector = '', fieldSelector = '', metadataOnly = false } = options;
  const key = [kind.apiVersion, kind.plural, namespace, labelSelector, fieldSelector, metadataOnly].join('|');
  let reflector = reflectors.get(key);
  if (!reflector) {
    const all = reflectors;
    reflector = new SharedReflector(client, kind, options, () => all.delete(key));
    reflectors.set(key, reflector);
  }
  return reflector.use(options.onError, signal) as unknown as Reflector<T>;
}

type Listener = (event: ReflectorEvent<KubeObject>) => void;

class SharedReflector {
  private readonly client: Client;
  private readonly kind: Kind;
  private readonly options: ReflectorOptions;
  private readonly objects = new Map<string, KubeObject>();
  private readonly listeners = new Set<Listener>();
  private readonly errorListeners = new Set<(error: MeshError) => void>();
  private readonly stopped = new AbortController();
  private readonly firstList = Promise.withResolvers<void>();
  private users = 0;
  private eviction: NodeJS.Timeout | undefined;
  /** Where the next watch starts; empty when a list is needed. */
  private resourceVersion = '';

  constructor(client: Client, kind: Kind, options: ReflectorOptions, onStop: () => void) {
    this.client = client;
    this.kind = kind;
    this.options = options;
    const signal = AbortSignal.any([this.stopped.signal, client.signal]);
    this.firstList.promise.catch(() => {}); // whoever waits for it is told
    this.run(signal).finally(() => {
      onStop();
      this.firstList.reject(new MeshError('CANCELLED', `list ${kind.plural}: stopped before the first answer`));
    });
  }

  use(onError: ((error: MeshError) => void) | undefined, signal: AbortSignal): Reflector<KubeObject> {
    const mine = new Set<Listener>();
    const released = Promise.withResolvers<never>();
    released.promise.catch(() => {});
    this.users++;
    clearTimeout(this.eviction);
    if (onError) this.errorListeners.add(onError);
    const release = () => {
      for (const listener of mine) this.listeners.delete(listener);
      if (onError) this.errorListeners.delete(onError);
      released.reject(new MeshError('CANCELLED', `list ${this.kind.plural}: cancelled`));
      if (--this.users > 0) return;
      if (this.options.keep === 'identities') this.stopped.abort();
      else this.eviction = setTimeout(() => this.stopped.abort(), IDLE_EVICTION_MS).unref();
    };
    if (signal.aborted) release();
    else signal.addEventListener('abort', release, { once: true });
    const synced = Promise.race([this.firstList.promise, released.promise]);
    synced.catch(() => {});
    return {
      get: (key) => this.objects.get(key),
      list: () => [...this.objects.values()],
      synced,
      subscribe: (listener) => {
        if (signal.aborted) return () => {};
        // A wrapper of its own, so that one function can subscribe twice.
        const own: Listener = (event) => listener(event);
        for (const object of this.objects.values()) deliver(own, { type: 'added', object });
        mine.add(own);
        this.listeners.add(own);
        return () => {
          mine.delete(own);
          this.listeners.delete(own);
        };
      },
    };
  }

  private async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.options.backoff ?? BACKOFF);
    while (!signal.aborted) {
      const startedAtMs = performance.now();
      try {
        if (!this.resourceVersion) {
          await this.relist();
          this.firstList.resolve();
        }
        await this.follow(signal, backoff);
        if (performance.now() - startedAtMs > WATCH_MS_MIN) continue;
      } catch (cause) {
        if (signal.aborted) return;
        const error = MeshError.from(cause);
        if (needsList(error)) this.resourceVersion = '';
        for (const listener of this.errorListeners) listener(error);
      }
      await sleep(backoff.nextMs(), signal);
    }
  }

  private async relist(): Promise<void> {
    const present = new Set<string>();
    let version = '';
    // What a page has is told before the next is asked for, so that a large cluster is not in memory all at once.
    for await (const { items, resourceVersion } of this.client.pages<KubeObject>(this.kind, this.options)) {
      for (const object of items) {
        present.add(objectKey(object));
        this.put(object);
      }
      version = resourceVersion;
    }
    for (const [key, object] of this.objects) if (!present.has(key)) this.remove(key, object);
    this.resourceVersion = version;
  }

  private async follow(signal: AbortSignal, backoff: Backoff): Promise<void> {
    const options = { ...this.options, resourceVersion: this.resourceVersion };
    for await (const { type, object } of this.client.watch<KubeObject>(this.kind, options, signal)) {
      backoff.reset();
      if (type === 'DELETED') this.remove(objectKey(object), object);
      else if (type !== 'BOOKMARK') this.put(object);
      if (object.metadata.resourceVersion) this.resourceVersion = object.metadata.resourceVersion;
    }
  }

  private put(object: KubeObject): void {
    // The largest part of many objects, and nothing here reads it; a write without it keeps the server's.
    delete object.metadata.managedFields;
    const key = objectKey(object);
    const old = this.objects.get(key);
    if (old && old.metadata.resourceVersion === object.metadata.resourceVersion) return;
    this.objects.set(key, this.options.keep === 'identities' ? identityOf(object) : object);
    if (!old) this.tell({ type: 'added', object });
    else if (old.metadata.uid === object.metadata.uid) this.tell({ type: 'modified', object, old });
    else {
      // Deleted and made again while nobody was looking: two different objects.
      this.tell({ type: 'deleted', object: old, old });
      this.tell({ type: 'added', object });
    }
  }

  private remove(key: string, object: KubeObject): void {
    const old = this.objects.get(key);
    if (this.objects.delete(key)) this.tell({ type: 'deleted', object, old });
  }

  private tell(event: ReflectorEvent<KubeObject>): void {
    for (const listener of [...this.listeners]) deliver(listener, event);
  }
}

function identityOf({ metadata: { name, namespace, uid, resourceVersion } }: KubeObject): KubeObject {
  return { metadata: { name, namespace, uid, resourceVersion } };
}

/** Whether the server refused the resourceVersion itself (gone, or ahead of a restored server), not us or everybody. */
function needsList(error: MeshError): boolean {
  const isPassing = error.code === 'UNAVAILABLE' || error.code === 'RESOURCE_EXHAUSTED';
  const isRefusal = error.code === 'UNAUTHENTICATED' || error.code === 'PERMISSION_DENIED';
  return error.status !== undefined && !isPassing && !isRefusal;
}

/** A listener's fault must neither end the watch nor be silent. */
function deliver(listener: Listener, event: ReflectorEvent<KubeObject>): void {
  try {
    listener(event);
  } catch (error) {
    process.emitWarning(MeshError.from(error, 'INTERNAL'));
  }
}
