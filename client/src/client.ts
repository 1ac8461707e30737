/** The Kubernetes client: verbs on kinds over one transport. */

import type { Duplex } from 'node:stream';
import { type Kind, type KubeObject, MeshError } from '@tulle/api';
import type { ClusterConfig } from './cluster-config.ts';
import { createDiscovery, type Discovery } from './discovery.ts';
import { openPortForward } from './port-forward.ts';
import { collectionPath, objectPath } from './resource-path.ts';
import { type Answer, createTransport, type RequestOptions } from './transport.ts';
import { readWatch, type WatchEvent } from './watch-stream.ts';

export type PatchType = 'json' | 'merge' | 'strategic' | 'apply';

export interface Selection {
  /** All namespaces when it is not given. */
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  /** Ask for the metadata alone. */
  metadataOnly?: boolean;
}

export interface WriteOptions {
  namespace?: string;
  fieldManager?: string;
  dryRun?: boolean;
}

export interface PatchOptions {
  subresource?: string;
  fieldManager?: string;
  force?: boolean;
  dryRun?: boolean;
}

export interface DeleteOptions {
  propagationPolicy?: 'Foreground' | 'Background' | 'Orphan';
  gracePeriodSeconds?: number;
  /** Fail with `ABORTED` unless the object is still this one. */
  preconditions?: { uid?: string; resourceVersion?: string };
}

export interface LogOptions {
  container?: string;
  follow?: boolean;
  previous?: boolean;
  timestamps?: boolean;
  tailLines?: number;
  sinceSeconds?: number;
  limitBytes?: number;
}

export interface Listed<T> {
  items: T[];
  /** Of the state that was read: a watch goes on from there. */
  resourceVersion: string;
}

/**
 * Every method throws MeshError: `UNAVAILABLE` when the server cannot be reached, else by its answer, whose `Status`
 * is in `.status` (`NOT_FOUND`, `ALREADY_EXISTS`, `ABORTED` for a conflict, `OUT_OF_RANGE` for 410, …).
 */
export interface Client extends Discovery {
  readonly config: ClusterConfig;
  /** Aborted by `close`. */
  readonly signal: AbortSignal;
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  get<T = KubeObject>(kind: Kind, name: string, namespace?: string): Promise<T>;
  /** All of them, read in pages of one consistent state. */
  list<T = KubeObject>(kind: Kind, options?: Selection): Promise<Listed<T>>;
  /** As `list`, but a page at a time. Not started over: `OUT_OF_RANGE` when the state that was begun is gone on the way. */
  pages<T = KubeObject>(kind: Kind, options?: Selection): AsyncIterable<Listed<T>>;
  create<T = KubeObject>(kind: Kind, object: object, options?: WriteOptions): Promise<T>;
  update<T = KubeObject>(kind: Kind, object: object): Promise<T>;
  updateStatus<T = KubeObject>(kind: Kind, object: object): Promise<T>;
  patch<T = KubeObject>(
    kind: Kind,
    name: string,
    namespace: string | undefined,
    patch: unknown,
    type: PatchType,
    options?: PatchOptions,
  ): Promise<T>;
  /** Server-side apply; the object's kind is found by discovery. */
  apply<T = KubeObject>(
    object: object,
    options: { fieldManager: string; force?: boolean; dryRun?: boolean },
  ): Promise<T>;
  delete(kind: Kind, name: string, namespace?: string, options?: DeleteOptions): Promise<void>;
  /** Events after `resourceVersion`, until the server ends the watch (in minutes) or the signal is aborted. */
  watch<T = KubeObject>(
    kind: Kind,
    options: Selection & { resourceVersion: string },
    signal?: AbortSignal,
  ): AsyncIterable<WatchEvent<T>>;
  logs(namespace: string, pod: string, options?: LogOptions, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** A connection to a port of a pod, through the API server. */
  portForward(namespace: string, pod: string, port: number, signal?: AbortSignal): Promise<Duplex>;
  close(): void;
}

/** Half of client-go's: a page of pods is some megabytes of text, and three times that as objects. */
const PAGE_ITEMS = 250;
/** How often a listing may start over because its continue token has expired. */
const LIST_ATTEMPTS_MAX = 3;
/** A watch lasts 5 to 10 min, drawn anew each time, so that a server's restart does not synchronise all of them. */
const WATCH_S_MIN = 300;
const WATCH_S_SPREAD = 300;
/** Past its own end, a watch that is still silent is a dead connection. */
const WATCH_GRACE_S = 30;

interface Page<T> {
  items: T[] | null;
  metadata: { resourceVersion: string; continue?: string };
}

const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const METADATA_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

const PATCH_CONTENT_TYPES: Record<PatchType, string> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

export function createClient(config: ClusterConfig): Client {
  const transport = createTransport(config);
  const discovery = createDiscovery(transport);
  const closed = new AbortController();
  const bodyOf = async <T>(answer: Promise<Answer>) => (await answer).json<T>();

  function pathOf(kind: Kind, object: object, subresource?: string): string {
    const { metadata } = object as KubeObject;
    return objectPath(kind, metadata.name, metadata.namespace ?? config.namespace, subresource);
  }

  async function* pages<T>(kind: Kind, options: Selection = {}): AsyncGenerator<Listed<T>> {
    const path = collectionPath(kind, options.namespace);
    const query = { ...selectorQuery(options), limit: String(PAGE_ITEMS) };
    for (let token: string | undefined = ''; token !== undefined; ) {
      const page: Page<T> = await bodyOf(
        transport.request('GET', path, {
          query: token ? { ...query, continue: token } : query,
          ...(options.metadataOnly ? { headers: { accept: METADATA_LIST } } : {}),
        }),
      );
      const items = (page.items ?? []).map((item) => withType(kind, item as object) as T);
      yield { items, resourceVersion: page.metadata.resourceVersion };
      token = page.metadata.continue || undefined;
    }
  }

  async function listOnce<T>(kind: Kind, options: Selection): Promise<Listed<T>> {
    const all: Listed<T> = { items: [], resourceVersion: '' };
    for await (const { items, resourceVersion } of pages<T>(kind, options)) {
      for (const item of items) all.items.push(item);
      all.resourceVersion = resourceVersion;
    }
    return all;
  }

  return {
    config,
    ...discovery,
    signal: closed.signal,
    request: transport.request,

    get: (kind, name, namespace) =>
      bodyOf(transport.request('GET', objectPath(kind, name, namespace ?? config.namespace))),

    pages,

    async list<T>(kind: Kind, options: Selection = {}) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await listOnce<T>(kind, options);
        } catch (error) {
          if (!(error instanceof MeshError) || error.code !== 'OUT_OF_RANGE' || attempt === LIST_ATTEMPTS_MAX)
            throw error;
        }
      }
    },

    create: (kind, object, options = {}) => {
      const namespace = options.namespace ?? (object as KubeObject).metadata?.namespace ?? config.namespace;
      return bodyOf(
        transport.request('POST', collectionPath(kind, namespace), {
          body: withType(kind, object),
          query: writeQuery(options),
        }),
      );
    },

    update: (kind, object) => bodyOf(transport.request('PUT', pathOf(kind, object), { body: withType(kind, object) })),

    updateStatus: (kind, object) =>
      bodyOf(transport.request('PUT', pathOf(kind, object, 'status'), { body: withType(kind, object) })),

    patch: (kind, name, namespace, patch, type, options = {}) =>
      bodyOf(
        transport.request('PATCH', objectPath(kind, name, namespace ?? config.namespace, options.subresource), {
          body: patch,
          contentType: PATCH_CONTENT_TYPES[type],
          query: writeQuery(options),
        }),
      ),

    async apply<T>(object: object, options: { fieldManager: string; force?: boolean; dryRun?: boolean }) {
      const { apiVersion, kind: kindName } = object as KubeObject;
      if (!apiVersion || !kindName)
        throw new MeshError('INVALID_ARGUMENT', 'apply: the object has no apiVersion or kind');
      const kind = await discovery.kindFor(apiVersion, kindName);
      return bodyOf<T>(
        transport.request('PATCH', pathOf(kind, object), {
          body: object,
          contentType: PATCH_CONTENT_TYPES.apply,
          query: writeQuery(options),
        }),
      );
    },

    async delete(kind, name, namespace, options = {}) {
      const answer = await transport.request('DELETE', objectPath(kind, name, namespace ?? config.namespace), {
        body: { apiVersion: 'v1', kind: 'DeleteOptions', ...options },
      });
      await answer.text();
    },

    async *watch<T>(kind: Kind, options: Selection & { resourceVersion: string }, signal?: AbortSignal) {
      const timeoutS = WATCH_S_MIN + Math.floor(Math.random() * WATCH_S_SPREAD);
      const path = collectionPath(kind, options.namespace);
      const limits = [closed.signal, AbortSignal.timeout((timeoutS + WATCH_GRACE_S) * 1000)];
      const answer = await transport.request('GET', path, {
        query: {
          ...selectorQuery(options),
          watch: 'true',
          allowWatchBookmarks: 'true',
          resourceVersion: options.resourceVersion,
          timeoutSeconds: String(timeoutS),
        },
        ...(options.metadataOnly ? { headers: { accept: METADATA } } : {}),
        signal: AbortSignal.any(signal ? [signal, ...limits] : limits),
        streaming: true,
      });
      yield* readWatch<T>(answer.body, `watch ${kind.plural}`);
    },

    async *logs(namespace, pod, options = {}, signal) {
      const query = Object.entries(options).filter(([, value]) => value !== undefined && value !== false);
      const answer = await transport.request('GET', `/api/v1/namespaces/${namespace}/pods/${pod}/log`, {
        query: Object.fromEntries(query.map(([name, value]) => [name, String(value)])),
        headers: { accept: '*/*' },
        signal: signal ? AbortSignal.any([signal, closed.signal]) : closed.signal,
        streaming: true,
      });
      yield* answer.body;
    },

    portForward: (namespace, pod, port, signal) =>
      openPortForward(
        transport,
        config,
        { namespace, pod, port },
        signal ? AbortSignal.any([signal, closed.signal]) : closed.signal,
      ),

    close() {
      closed.abort(new MeshError('CANCELLED', 'the client was closed'));
      transport.close();
    },
  };
}

function selectorQuery(options: Selection): Record<string, string> {
  return {
    ...(options.labelSelector ? { labelSelector: options.labelSelector } : {}),
    ...(options.fieldSelector ? { fieldSelector: options.fieldSelector } : {}),
  };
}

function writeQuery(options: { fieldManager?: string; force?: boolean; dryRun?: boolean }): Record<string, string> {
  return {
    ...(options.fieldManager ? { fieldManager: options.fieldManager } : {}),
    ...(options.force ? { force: 'true' } : {}),
    ...(options.dryRun ? { dryRun: 'All' } : {}),
  };
}

/** Items of lists come without their type, and callers need not write it. */
function withType(kind: Kind, object: object): object {
  const { apiVersion, kind: kindName } = object as KubeObject;
  if (apiVersion && kindName) return object;
  return { apiVersion: kind.apiVersion, kind: kind.kind, ...object };
}
