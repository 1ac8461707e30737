/** Keeps the indexes up to date by watching the cluster, and tells whoever derives something from them. */
import {
  ENDPOINT_SLICES,
  EXTERNAL_WORKLOADS,
  JOBS,
  type Kind,
  type KubeObject,
  MeshError,
  NAMESPACES,
  NODES,
  PODS,
  REPLICA_SETS,
  SERVICES,
} from '@tulle/api';
import type { Client } from '@tulle/client';
import type { Logger } from '../logger.ts';
import { type KindSource, startKindSource, type WatchOptions } from './kind-source.ts';
import { startOptionalKinds } from './optional-kinds.ts';
import { Subscriptions } from './subscriptions.ts';
import { type Topic, WorkloadIndex, type WorkloadKind } from './workload-index.ts';

const WORKLOADS: Record<WorkloadKind, Kind> = {
  Namespace: NAMESPACES,
  Node: NODES,
  ReplicaSet: REPLICA_SETS,
  Job: JOBS,
  Pod: PODS,
  ExternalWorkload: EXTERNAL_WORKLOADS,
  Service: SERVICES,
  EndpointSlice: ENDPOINT_SLICES,
};

/** Longer than proxies wait for the first message of a stream (3 s by default), so that theirs decides. */
const SYNC_WAIT_MS = 5_000;
/** Of the topics of a change that a listener failed on: enough to find the object. */
const TOPICS_LOGGED_MAX = 10;

export class ClusterState {
  readonly index = new WorkloadIndex();
  readonly subscriptions = new Subscriptions();
  readonly #derived: ((topics: ReadonlySet<Topic>) => void)[] = [];
  readonly #sources = new Map<string, KindSource>();
  /** Takes the first error of listeners of a change, after all who listen have heard of it. */
  #listenerFailed: (error: MeshError, topics: ReadonlySet<Topic>) => void = (error) => {
    throw error;
  };
  #isSynced = false;
  #synced: Promise<void> = Promise.resolve();

  constructor() {
    for (const [name, kind] of Object.entries(WORKLOADS) as [WorkloadKind, Kind][]) {
      const problems = (object: KubeObject) => this.index.problems(name, object);
      this.watch(kind, (type, object) => this.index.apply({ kind: name, type, object }), {
        problems,
        isOptional: name === 'ExternalWorkload',
      });
    }
  }

  /**
   * Feeds `apply` with the objects of a kind from `start` on; it returns the topics whose answers may have changed. When
   * it throws, the object is applied as deleted and the error is logged: an index that would then allow more keeps a
   * refusing stand-in instead, and tells by `problems`. What a listener of the change throws is none of the object's.
   */
  watch(
    kind: Kind,
    apply: (type: 'set' | 'delete', object: KubeObject) => Iterable<Topic>,
    options: WatchOptions = {},
  ): void {
    const guarded = (type: 'set' | 'delete', object: KubeObject) => {
      let topics: Iterable<Topic>;
      try {
        topics = apply(type, object);
      } catch (cause) {
        if (type === 'set') this.#tell(apply('delete', object));
        throw cause;
      }
      this.#tell(topics);
    };
    const serve = (isServed: boolean) => this.#tell(options.served?.(isServed) ?? []);
    const { isOptional = false, problems = () => [] } = options;
    const key = `${kind.apiVersion}/${kind.plural}`;
    const source = this.#sources.get(key) ?? { kind, isOptional, feeds: [], known: new Set() };
    // One reader that cannot do without the kind is enough.
    source.isOptional &&= isOptional;
    source.feeds.push({ apply: guarded, serve, problems });
    this.#sources.set(key, source);
  }

  /** Runs before the subscribers of the topics are woken. One that throws keeps nobody else from hearing. */
  onChange(listener: (topics: ReadonlySet<Topic>) => void): void {
    this.#derived.push(listener);
  }

  /** Takes one event of a workload, as if it had been watched. @throws what a listener throws, until `start`. */
  apply(kind: WorkloadKind, type: 'set' | 'delete', object: KubeObject): void {
    this.#tell(this.index.apply({ kind, type, object }));
  }

  #tell(changed: Iterable<Topic>): void {
    const topics: ReadonlySet<Topic> = changed instanceof Set ? changed : new Set(changed);
    if (topics.size === 0) return;
    let failed: { cause: unknown } | undefined;
    for (const listener of this.#derived) {
      try {
        listener(topics);
      } catch (cause) {
        failed ??= { cause };
      }
    }
    this.subscriptions.notify(topics);
    if (failed) this.#listenerFailed(MeshError.from(failed.cause, 'INTERNAL'), topics);
  }

  get isSynced(): boolean {
    return this.#isSynced;
  }

  markSynced(): void {
    this.#isSynced = true;
  }

  /** Resolves once the cluster's objects are known. @throws MeshError `UNAVAILABLE` when that takes too long. */
  async ready(): Promise<void> {
    if (this.#isSynced) return;
    const { promise, reject } = Promise.withResolvers<never>();
    const error = new MeshError('UNAVAILABLE', 'the objects of the cluster are not read yet');
    const timer = setTimeout(() => reject(error), SYNC_WAIT_MS);
    try {
      await Promise.race([this.#synced, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Watches until the signal is aborted; what is known stays known while the API server is away. Resolves when every
   * kind that the cluster has is read: an answer given before might allow what an unread policy forbids.
   */
  start(client: Client, logger: Logger, signal: AbortSignal): Promise<void> {
    this.#listenerFailed = ({ message, stack }, topics) => {
      const some = [...topics].slice(0, TOPICS_LOGGED_MAX);
      logger.error({ error: message, stack, topics: some }, 'change not taken in by what is derived from it');
    };
    const sources = [...this.#sources.values()];
    const always = sources.filter(({ isOptional }) => !isOptional);
    const optional = sources.filter(({ isOptional }) => isOptional);
    this.#synced = Promise.all([
      ...always.map((source) => startKindSource(client, source, logger, signal)),
      startOptionalKinds(client, optional, logger, signal),
    ]).then(() => this.markSynced());
    return this.#synced;
  }
}
