/**
 * Feeds the objects of one kind to an index. A kind that the cluster need not have is watched while discovery says
 * that it is served, and all its objects count as deleted when it is not any more.
 */
import { type Kind, type KubeObject, MeshError, objectKey, splitKey } from '@tulle/api';
import { type Client, startReflector } from '@tulle/client';
import type { Logger } from '../logger.ts';
import type { Topic } from './workload-index.ts';

export interface WatchOptions {
  /** The cluster may lack the kind, get it later and lose it. */
  isOptional?: boolean;
  /** Told whether the cluster has the optional kind, when that changes; returns the topics whose answers may change. */
  served?: (isServed: boolean) => Iterable<Topic>;
  /** What could not be read of an object that is in force all the same; each is told once. */
  problems?: (object: KubeObject) => readonly string[];
}

export interface KindSource {
  kind: Kind;
  /** @throws when the object cannot be read; it then counts as deleted. */
  apply: (type: 'set' | 'delete', object: KubeObject) => void;
  /** Whether the cluster has the kind, when that changes. */
  serve: (isServed: boolean) => void;
  options: WatchOptions;
  /** Keys of the objects that the index was given. */
  known: Set<string>;
}

/** Watches until the signal is aborted. Resolves after the first list; what was known before and is not in it is deleted. */
export async function startKindSource(
  client: Client,
  source: KindSource,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const { kind } = source;
  const fields = { kind: kind.kind, version: kind.apiVersion };
  const onError = (error: MeshError) => logger.warn({ ...fields, error: error.message }, 'watch failed');
  const reflector = startReflector<KubeObject>(client, kind, { onError }, signal);
  const told = new Map<string, string>();
  const unseen = new Set(source.known);
  const tell = (key: string, problems: readonly string[]) => {
    const text = problems.join('; ');
    if (text === '') told.delete(key);
    else if (told.get(key) !== text) {
      told.set(key, text);
      for (const problem of problems) logger.warn({ ...fields, object: key, problem }, 'not all of an object read');
    }
  };
  reflector.subscribe(({ type, object }) => {
    const key = objectKey(object);
    unseen.delete(key);
    const isSet = type !== 'deleted';
    if (isSet) source.known.add(key);
    else source.known.delete(key);
    try {
      source.apply(isSet ? 'set' : 'delete', object);
      tell(key, isSet ? (source.options.problems?.(object) ?? []) : []);
    } catch (cause) {
      const { message } = MeshError.from(cause);
      logger.error({ ...fields, object: key, error: message }, 'object not read');
    }
  });
  await reflector.synced;
  forget(source, unseen);
}

/** Deletes what the index was given under these keys. */
export function forget(source: KindSource, keys: Iterable<string> = [...source.known]): void {
  for (const key of keys) {
    source.known.delete(key);
    source.apply('delete', { metadata: splitKey(key) });
  }
}
