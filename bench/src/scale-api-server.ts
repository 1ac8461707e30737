/**
 * As much of a Kubernetes API as a control plane uses, in memory: discovery, list in pages, watch, and the writes of
 * Leases, Events and statuses. It answers faster than a real one, so that what is measured is the control plane.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Kind, KubeObject } from '@tulle/api';

interface Watcher {
  response: ServerResponse;
  name: string | undefined;
  isMetadataOnly: boolean;
}

interface Collection {
  kind: Kind;
  objects: Map<string, KubeObject>;
  watchers: Set<Watcher>;
  /** Events that a watch may still ask for, in order. */
  log: { version: number; line: string; name: string }[];
}

/** Between a list and its watch no more than this happens. */
const LOG_MAX = 20_000;

export class ScaleApiServer implements AsyncDisposable {
  readonly #collections = new Map<string, Collection>();
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch((error: Error) => response.destroy(error));
  });
  #version = 1;
  /** Writes of the control plane, but for the Leases that it renews. */
  writes = 0;

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  serve(kind: Kind): Collection {
    const path = `${kind.apiVersion === 'v1' ? '/api/v1' : `/apis/${kind.apiVersion}`}/${kind.plural}`;
    const known = this.#collections.get(path);
    if (known) return known;
    const collection: Collection = { kind, objects: new Map(), watchers: new Set(), log: [] };
    this.#collections.set(path, collection);
    return collection;
  }

  get(kind: Kind, key: string): KubeObject | undefined {
    return this.serve(kind).objects.get(key);
  }

  /** Creates or replaces, and tells the watchers. */
  put(kind: Kind, object: KubeObject): KubeObject {
    return this.#store(this.serve(kind), object);
  }

  #store(collection: Collection, object: KubeObject): KubeObject {
    const { kind } = collection;
    const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
    const type = collection.objects.has(key) ? 'MODIFIED' : 'ADDED';
    object.apiVersion = kind.apiVersion;
    object.kind = kind.kind;
    object.metadata.uid ??= `${kind.plural}-${key}`;
    object.metadata.creationTimestamp ??= '2026-01-01T00:00:00Z' as never;
    object.metadata.resourceVersion = String(++this.#version);
    collection.objects.set(key, object);
    this.#tell(collection, type, object);
    return object;
  }

  #tell(collection: Collection, type: string, object: KubeObject): void {
    if (collection.watchers.size === 0) return;
    const line = `${JSON.stringify({ type, object })}\n`;
    const { name } = object.metadata;
    collection.log.push({ version: this.#version, line, name });
    if (collection.log.length > LOG_MAX) collection.log.shift();
    for (const watcher of collection.watchers) {
      if (!watcher.name || watcher.name === name) watcher.response.write(line);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://api');
    const send = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const discovered = this.#discover(url.pathname);
    if (discovered) return send(200, discovered);
    const { collection, key, isStatus } = this.#find(url.pathname);
    if (!collection) return send(404, status(404, 'NotFound'));
    if (request.method === 'GET') {
      if (key !== undefined) {
        const object = collection.objects.get(key);
        return object ? send(200, object) : send(404, status(404, 'NotFound'));
      }
      if (url.searchParams.get('watch')) return this.#watch(collection, url, response);
      return send(200, this.#list(collection, url));
    }
    const body = JSON.parse(await readBody(request)) as KubeObject;
    if (collection.kind.kind !== 'Lease') this.writes++;
    if (request.method === 'POST') {
      body.metadata.namespace ??= /\/namespaces\/([^/]+)\//.exec(url.pathname)?.[1];
      body.metadata.name ??= `${body.metadata.generateName ?? 'object-'}${this.#version}`;
      return send(201, this.#store(collection, body));
    }
    const old = key === undefined ? undefined : collection.objects.get(key);
    if (!old) return send(404, status(404, 'NotFound'));
    if (request.method === 'DELETE') return send(200, old);
    // A patch of a status replaces what it names; a whole object replaces the object.
    const next = request.method === 'PATCH' || isStatus ? { ...old, status: body.status ?? old.status } : body;
    return send(200, this.#store(collection, { ...next, metadata: { ...old.metadata } }));
  }

  #list(collection: Collection, url: URL): object {
    const all = [...collection.objects.values()].filter(selected(url));
    const start = Number(url.searchParams.get('continue') ?? 0);
    const end = start + Number(url.searchParams.get('limit') ?? all.length);
    const metadata = { resourceVersion: String(this.#version), ...(end < all.length ? { continue: String(end) } : {}) };
    return { kind: 'List', metadata, items: all.slice(start, end) };
  }

  #watch(collection: Collection, url: URL, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const name = /metadata\.name=([^,]+)/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1];
    const watcher: Watcher = { response, name, isMetadataOnly: false };
    const since = Number(url.searchParams.get('resourceVersion') ?? 0);
    for (const entry of collection.log) {
      if (entry.version > since && (!name || name === entry.name)) response.write(entry.line);
    }
    collection.watchers.add(watcher);
    response.on('close', () => collection.watchers.delete(watcher));
  }

  #find(path: string): { collection?: Collection; key?: string; isStatus: boolean } {
    const match = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?(\/status)?$/.exec(
      path,
    );
    const [, base, namespace = '', plural, name, statusPath] = match ?? [];
    const collection = this.#collections.get(`${base}/${plural}`);
    return {
      collection,
      key: name === undefined ? undefined : `${collection?.kind.namespaced ? namespace : ''}/${name}`,
      isStatus: statusPath !== undefined,
    };
  }

  #discover(path: string): object | undefined {
    const kinds = [...this.#collections.values()].map(({ kind }) => kind);
    const versions = [...new Set(kinds.map(({ apiVersion }) => apiVersion))].filter((each) => each !== 'v1');
    if (path === '/apis') {
      const names = [...new Set(versions.map((each) => each.split('/')[0]!))];
      const of = (name: string) => versions.filter((each) => each.startsWith(`${name}/`));
      return { groups: names.map((name) => ({ name, versions: of(name).map((groupVersion) => ({ groupVersion })) })) };
    }
    const version = /^\/apis\/([^/]+\/[^/]+)$/.exec(path)?.[1];
    if (version === undefined) return undefined;
    const served = kinds.filter(({ apiVersion }) => apiVersion === version);
    return { resources: served.map(({ kind, plural, namespaced }) => ({ kind, name: plural, namespaced, verbs: [] })) };
  }
}

function selected(url: URL): (object: KubeObject) => boolean {
  const name = /metadata\.name=([^,]+)/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1];
  return (object) => name === undefined || object.metadata.name === name;
}

function status(code: number, reason: string): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: reason };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
