/** For tests: as much of a Kubernetes API over HTTP as the control plane uses: list, watch, TokenReview, Events. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { Kind, KubeObject } from '@tulle/api';

export interface TokenStatus {
  authenticated: boolean;
  user?: { username: string; uid?: string };
  audiences?: string[];
}

export interface FakeKubernetes {
  url: string;
  /** Creates or replaces, and tells the watchers. */
  put(kind: Kind, object: KubeObject): void;
  remove(kind: Kind, object: KubeObject): void;
  /** What discovery says of a kind outside the core; `put` serves it too. */
  serve(kind: Kind, isServed?: boolean): void;
  /** Asked by each `/readyz`. */
  isReady: () => boolean;
  /** By token and requested audience (none: the server's own). */
  reviewToken: (token: string, audiences: string[] | undefined) => TokenStatus;
  readonly events: KubeObject[];
  /** Resolves with the first Event of that reason, also one that has come before. */
  event(reason: string): Promise<KubeObject>;
  /** Ends all connections and refuses new ones with 503 until called with `false`. */
  setAway(isAway: boolean): void;
}

type Watcher = { path: string; name?: string; response: ServerResponse };

export async function startFakeKubernetes(t: TestContext): Promise<FakeKubernetes> {
  const objects = new Map<string, Map<string, KubeObject>>();
  const served = new Map<string, Kind>();
  const watchers = new Set<Watcher>();
  const events: KubeObject[] = [];
  const eventWaiters: (() => void)[] = [];
  let version = 1;
  let isAway = false;

  const tell = (path: string, type: string, object: KubeObject) => {
    for (const watcher of watchers) {
      if (watcher.path !== path || (watcher.name && watcher.name !== object.metadata.name)) continue;
      watcher.response.write(`${JSON.stringify({ type, object })}\n`);
    }
  };

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://fake');
    const send = (status: number, body: object) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    if (isAway) return send(503, { kind: 'Status', code: 503, message: 'away' });
    if (request.method === 'POST') {
      const object = JSON.parse(await readBody(request)) as KubeObject;
      if (object.kind === 'TokenReview') {
        return send(201, { ...object, status: fake.reviewToken(object.spec.token, object.spec.audiences) });
      }
      events.push(object);
      for (const resume of eventWaiters.splice(0)) resume();
      return send(201, object);
    }
    if (url.pathname === '/readyz') return send(fake.isReady() ? 200 : 500, {});
    const discovered = discover([...served.values()], url.pathname);
    if (discovered) return send(200, discovered);
    const path = collectionOf(url.pathname);
    const name = /metadata\.name=([^,]+)/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1];
    if (url.searchParams.get('watch')) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      const watcher = { path, name, response };
      watchers.add(watcher);
      response.on('close', () => watchers.delete(watcher));
      const since = Number(url.searchParams.get('resourceVersion'));
      for (const object of objects.get(path)?.values() ?? []) {
        const isNewer = Number(object.metadata.resourceVersion) > since;
        if (isNewer && (!name || name === object.metadata.name)) {
          response.write(`${JSON.stringify({ type: 'ADDED', object })}\n`);
        }
      }
      return;
    }
    const items = [...(objects.get(path)?.values() ?? [])].filter((object) => !name || object.metadata.name === name);
    send(200, { kind: 'List', metadata: { resourceVersion: String(version) }, items });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });

  const fake: FakeKubernetes = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    serve(kind, isServed = true) {
      if (isServed) served.set(pathOf(kind), kind);
      else served.delete(pathOf(kind));
    },
    put(kind, object) {
      const path = pathOf(kind);
      served.set(path, kind);
      const known = objects.get(path) ?? new Map<string, KubeObject>();
      objects.set(path, known);
      const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
      const isNew = !known.has(key);
      const stored = structuredClone(object);
      stored.metadata.uid ??= key;
      stored.metadata.resourceVersion = String(++version);
      known.set(key, stored);
      tell(path, isNew ? 'ADDED' : 'MODIFIED', stored);
    },
    remove(kind, object) {
      const path = pathOf(kind);
      const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
      const stored = objects.get(path)?.get(key);
      if (!stored) return;
      objects.get(path)?.delete(key);
      stored.metadata.resourceVersion = String(++version);
      tell(path, 'DELETED', stored);
    },
    isReady: () => true,
    reviewToken: () => ({ authenticated: false }),
    events,
    async event(reason) {
      for (;;) {
        const found = events.find((event) => event.reason === reason);
        if (found) return found;
        await new Promise<void>((resolve) => eventWaiters.push(resolve));
      }
    },
    setAway(value) {
      isAway = value;
      if (isAway) server.closeAllConnections();
    },
  };
  return fake;
}

/** The answer to `/apis` or `/apis/group/version`. */
function discover(kinds: readonly Kind[], path: string): object | undefined {
  const versions = [...new Set(kinds.map(({ apiVersion }) => apiVersion))].filter((each) => each.includes('/'));
  if (path === '/apis') {
    const names = [...new Set(versions.map((each) => each.split('/')[0]!))];
    const groupVersions = (name: string) => versions.filter((each) => each.startsWith(`${name}/`));
    return {
      groups: names.map((name) => ({ name, versions: groupVersions(name).map((groupVersion) => ({ groupVersion })) })),
    };
  }
  if (!versions.includes(path.slice('/apis/'.length))) return undefined;
  const resources = kinds
    .filter(({ apiVersion }) => path === `/apis/${apiVersion}`)
    .map(({ kind, plural, namespaced }) => ({ kind, name: plural, namespaced, verbs: ['list', 'watch'] }));
  return { resources };
}

function pathOf({ apiVersion, plural }: Kind): string {
  return `${apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`}/${plural}`;
}

/** Without the namespace: the fake lists all of a kind together. */
function collectionOf(path: string): string {
  return path.replace(/\/namespaces\/[^/]+(?=\/)/, '');
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
