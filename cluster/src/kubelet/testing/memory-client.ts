/**
 * A Kubernetes client over a map in memory, for tests of what watches and writes objects: list, watch, get, create,
 * merge and status patches, delete, and service account tokens. No admission, no validation.
 */

import { EventEmitter, on } from 'node:events';
import { type Kind, type KubeObject, MeshError, objectKey } from '@tulle/api';
import type { Client } from '@tulle/client';

interface Change {
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  plural: string;
  object: KubeObject;
}

export interface MemoryClient extends Client {
  /** Puts an object as it is, added or changed. */
  put(kind: Kind, object: object): KubeObject;
  all(kind: Kind): KubeObject[];
  /** Resolves with the first state of the object for which `isReached` holds. */
  until(kind: Kind, key: string, isReached: (object: KubeObject) => boolean): Promise<KubeObject>;
  /** Tokens that were asked for: the bodies of the requests. */
  readonly tokenRequests: KubeObject[];
}

export function createMemoryClient(): MemoryClient {
  const kinds = new Map<string, Map<string, KubeObject>>();
  const changes = new EventEmitter().setMaxListeners(0);
  const closed = new AbortController();
  const tokenRequests: KubeObject[] = [];
  let revision = 0;

  const of = (kind: Kind) => {
    const known = kinds.get(kind.plural) ?? new Map<string, KubeObject>();
    kinds.set(kind.plural, known);
    return known;
  };
  const tell = (type: Change['type'], kind: Kind, object: KubeObject) =>
    changes.emit('change', { type, plural: kind.plural, object: structuredClone(object) } satisfies Change);

  function put(kind: Kind, given: object): KubeObject {
    const object = structuredClone(given) as KubeObject;
    if (kind.namespaced) object.metadata.namespace ??= 'default';
    const old = of(kind).get(objectKey(object));
    object.metadata.uid ??= old?.metadata.uid ?? `uid-${++revision}`;
    object.metadata.resourceVersion = String(++revision);
    of(kind).set(objectKey(object), object);
    tell(old ? 'MODIFIED' : 'ADDED', kind, object);
    return object;
  }

  function find(kind: Kind, name: string, namespace?: string): KubeObject {
    const object = of(kind).get(kind.namespaced ? `${namespace ?? 'default'}/${name}` : name);
    if (!object) throw new MeshError('NOT_FOUND', `${kind.plural} "${name}" not found`);
    return object;
  }

  const selected = (object: KubeObject, fieldSelector?: string) => {
    const [path = '', value] = fieldSelector?.split('=') ?? [];
    return !fieldSelector || path.split('.').reduce((part: any, key) => part?.[key], object) === value;
  };

  const client = {
    config: { server: 'memory', namespace: 'default' },
    signal: closed.signal,
    tokenRequests,
    put,
    all: (kind: Kind) => [...of(kind).values()],
    async until(kind: Kind, key: string, isReached: (object: KubeObject) => boolean) {
      const now = of(kind).get(key);
      if (now && isReached(now)) return now;
      for await (const [change] of on(changes, 'change', { signal: closed.signal }) as AsyncIterable<[Change]>) {
        const isIt = change.plural === kind.plural && objectKey(change.object) === key;
        if (isIt && isReached(change.object)) return change.object;
      }
      throw new MeshError('CANCELLED', 'closed');
    },
    async get(kind: Kind, name: string, namespace?: string) {
      return structuredClone(find(kind, name, namespace));
    },
    async list(kind: Kind, options: { fieldSelector?: string } = {}) {
      const items = [...of(kind).values()].filter((object) => selected(object, options.fieldSelector));
      return { items: structuredClone(items), resourceVersion: String(revision) };
    },
    async *pages(kind: Kind, options: { fieldSelector?: string } = {}) {
      yield await this.list(kind, options);
    },
    async *watch(kind: Kind, options: { fieldSelector?: string }, signal?: AbortSignal) {
      const both = signal ? AbortSignal.any([signal, closed.signal]) : closed.signal;
      try {
        for await (const [change] of on(changes, 'change', { signal: both }) as AsyncIterable<[Change]>) {
          if (change.plural !== kind.plural || !selected(change.object, options.fieldSelector)) continue;
          yield { type: change.type, object: change.object };
        }
      } catch (error) {
        if (!both.aborted) throw error;
      }
    },
    async create(kind: Kind, object: KubeObject, options: { namespace?: string } = {}) {
      const metadata = { ...object.metadata, ...(options.namespace ? { namespace: options.namespace } : {}) };
      const key = objectKey({ metadata: kind.namespaced ? { namespace: 'default', ...metadata } : metadata });
      if (of(kind).has(key)) throw new MeshError('ALREADY_EXISTS', `${kind.plural} "${key}" already exists`);
      return structuredClone(put(kind, { ...object, metadata }));
    },
    async patch(kind: Kind, name: string, namespace: string | undefined, patch: unknown) {
      return structuredClone(put(kind, merge(structuredClone(find(kind, name, namespace)), patch) as KubeObject));
    },
    /** A pod on a node first terminates, as on a real server. */
    async delete(kind: Kind, name: string, namespace?: string, options: { gracePeriodSeconds?: number } = {}) {
      const object = find(kind, name, namespace);
      const graceS = options.gracePeriodSeconds ?? object.spec?.terminationGracePeriodSeconds ?? 30;
      if (kind.kind === 'Pod' && graceS > 0) {
        const metadata = { deletionTimestamp: new Date().toISOString(), deletionGracePeriodSeconds: graceS };
        put(kind, merge(structuredClone(object), { metadata }) as object);
        return;
      }
      of(kind).delete(objectKey(object));
      tell('DELETED', kind, object);
    },
    async request(method: string, path: string, options: { body?: KubeObject } = {}) {
      if (method !== 'POST' || !path.endsWith('/token')) throw new MeshError('NOT_FOUND', `no ${path}`);
      tokenRequests.push(options.body as KubeObject);
      const livesS = options.body?.spec.expirationSeconds;
      const expirationTimestamp = new Date(Date.now() + livesS * 1000).toISOString();
      return { json: async () => ({ status: { token: `token-${tokenRequests.length}`, expirationTimestamp } }) };
    },
    close: () => closed.abort(new MeshError('CANCELLED', 'the client was closed')),
  };
  return client as unknown as MemoryClient;
}

/** A merge patch, but for conditions, which are merged by type. */
function merge(target: any, patch: any): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result = typeof target === 'object' && target !== null ? target : {};
  for (const [key, value] of Object.entries(patch)) {
    if (key === 'conditions') {
      const types = new Set((value as { type: string }[]).map(({ type }) => type));
      const others = ((result[key] ?? []) as { type: string }[]).filter(({ type }) => !types.has(type));
      result[key] = [...others, ...(value as object[])];
    } else if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}
