/** Keeps the workload index up to date by watching the cluster, and tells whoever derives something from it. */
import {
  ENDPOINT_SLICES,
  JOBS,
  type Kind,
  type KubeObject,
  MeshError,
  NAMESPACES,
  NODES,
  objectKey,
  PODS,
  REPLICA_SETS,
  SERVICES,
} from '@tulle/api';
import { type Client, startReflector } from '@tulle/client';
import type { Logger } from '../logger.ts';
import { Subscriptions } from './subscriptions.ts';
import { type Topic, WorkloadIndex, type WorkloadKind } from './workload-index.ts';

const WATCHED: Record<WorkloadKind, Kind> = {
  Namespace: NAMESPACES,
  Node: NODES,
  ReplicaSet: REPLICA_SETS,
  Job: JOBS,
  Pod: PODS,
  Service: SERVICES,
  EndpointSlice: ENDPOINT_SLICES,
};

/** Longer than proxies wait for the first message of a stream (3 s by default), so that theirs decides. */
const SYNC_WAIT_MS = 5_000;

export class ClusterState {
  readonly index = new WorkloadIndex();
  readonly subscriptions = new Subscriptions();
  readonly #derived: ((topics: ReadonlySet<Topic>) => void)[] = [];
  #isSynced = false;
  #synced: Promise<void> = Promise.resolve();

  /** Runs before the subscribers of the topics are woken. */
  onChange(listener: (topics: ReadonlySet<Topic>) => void): void {
    this.#derived.push(listener);
  }

  /** Takes one watch event. */
  apply(kind: WorkloadKind, type: 'set' | 'delete', object: KubeObject): void {
    const topics = this.index.apply({ kind, type, object });
    for (const listener of this.#derived) listener(topics);
    this.subscriptions.notify(topics);
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

  /** Watches until the signal is aborted; what is known stays known while the API server is away. */
  start(client: Client, logger: Logger, signal: AbortSignal): Promise<void> {
    const kinds = Object.entries(WATCHED) as [WorkloadKind, Kind][];
    const reflectors = kinds.map(([name, kind]) => {
      const onError = (error: MeshError) => logger.warn({ kind: name, error: error.message }, 'watch failed');
      const reflector = startReflector<KubeObject>(client, kind, { onError }, signal);
      const told = new Map<string, string>();
      reflector.subscribe(({ type, object }) => {
        try {
          this.apply(name, type === 'deleted' ? 'delete' : 'set', object);
          tellProblems(told, objectKey(object), this.index.problems(name, object), (problem) =>
            logger.warn({ kind: name, object: objectKey(object), problem }, 'annotation not read'),
          );
        } catch (cause) {
          const { message } = MeshError.from(cause);
          logger.error({ kind: name, object: object.metadata?.name, error: message }, 'object not read');
        }
      });
      return reflector;
    });
    this.#synced = Promise.all(reflectors.map(({ synced }) => synced)).then(() => this.markSynced());
    return this.#synced;
  }
}

/** Each problem of an object once, until it is gone. */
function tellProblems(
  told: Map<string, string>,
  key: string,
  problems: readonly string[],
  tell: (problem: string) => void,
): void {
  const text = problems.join('; ');
  if (text === '') told.delete(key);
  else if (told.get(key) !== text) {
    told.set(key, text);
    tell(text);
  }
}
