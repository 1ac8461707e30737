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

/** One reader of a kind. */
export interface Feed {
  /** @throws when the object cannot be read; it then counts as deleted. */
  apply: (type: 'set' | 'delete', object: KubeObject) => void;
  /** Whether the cluster has the kind, when that changes. */
  serve: (isServed: boolean) => void;
  problems: (object: KubeObject) => readonly string[];
}

/** A kind is watched once, for all who read it. */
export interface KindSource {
  kind: Kind;
  isOptional: boolean;
  /** In the order in which they hear of each object. */
  feeds: Feed[];
  /** Keys of the objects that the feeds were given. */
  known: Set<string>;
}

/** Watches until the signal is aborted. Resolves after the first list; what was known before and is not in it is deleted. */
export async function startKindSource(
  client: Client,
  source: KindSource,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const { kind, feeds } = source;
  const fields = { kind: kind.kind, version: kind.apiVersion };
  const onError = (error: MeshError) => logger.warn({ ...fields, error: error.message }, 'watch failed');
  const reflector = startReflector<KubeObject>(client, kind, { onError, keep: 'identities' }, signal);
  const told = feeds.map(() => new Map<string, string>());
  const unseen = new Set(source.known);
  const tell = (known: Map<string, string>, key: string, problems: readonly string[]) => {
    const text = problems.join('; ');
    if (text === '') known.delete(key);
    else if (known.get(key) !== text) {
      known.set(key, text);
      for (const problem of problems) logger.warn({ ...fields, object: key, problem }, 'not all of an object read');
    }
  };
  reflector.subscribe(({ type, object }) => {
    const key = objectKey(object);
    unseen.delete(key);
    const isSet = type !== 'deleted';
    if (isSet) source.known.add(key);
    else source.known.delete(key);
    feeds.forEach((feed, i) => {
      try {
        feed.apply(isSet ? 'set' : 'delete', object);
        tell(told[i]!, key, isSet ? feed.problems(object) : []);
      } catch (cause) {
        const { message } = MeshError.from(cause);
        logger.error({ ...fields, object: key, error: message }, 'object not read');
      }
    });
  });
  await reflector.synced;
  forget(source, unseen);
}

/** Deletes what the feeds were given under these keys. */
export function forget({ known, feeds }: KindSource, keys: Iterable<string> = [...known]): void {
  for (const key of keys) {
    known.delete(key);
    for (const feed of feeds) feed.apply('delete', { metadata: splitKey(key) });
  }
}
