import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import test, { type TestContext } from 'node:test';
import { PODS, type Pod } from '@tulle/api';
import { startReflector } from './reflector.ts';
import { pod, type Received, sendJson, sendStatus, startScriptedServer } from './testing/scripted-server.ts';

const backoff = { minMs: 1, maxMs: 5 };

/** A server with one list and watches that the test feeds. */
async function startWatched(t: TestContext, items: object[]) {
  const state = { items, resourceVersion: '10', isGone: false };
  const watches: Array<{ request: Received; response: ServerResponse }> = [];
  const waiting: Array<() => void> = [];
  const scripted = await startScriptedServer(t, (request, response) => {
    if (request.query.watch !== 'true') {
      return sendJson(response, { items: state.items, metadata: { resourceVersion: state.resourceVersion } });
    }
    if (state.isGone) {
      state.isGone = false;
      return sendStatus(response, 410, 'Expired');
    }
    response.writeHead(200);
    response.flushHeaders();
    watches.push({ request, response });
    for (const resolve of waiting.splice(0)) resolve();
  });
  return {
    ...scripted,
    state,
    /** The watch with this number, once it has begun. */
    async watch(index: number) {
      while (!watches[index]) await new Promise<void>((resolve) => waiting.push(resolve));
      return watches[index];
    },
  };
}

function startPods(t: TestContext, client: Parameters<typeof startReflector>[0], onError?: () => void) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const reflector = startReflector<Pod>(client, PODS, { backoff, ...(onError ? { onError } : {}) }, stop.signal);
  const log: string[] = [];
  let expected: { count: number; resolve: () => void } | undefined;
  reflector.subscribe(({ type, object }) => {
    log.push(`${type} ${object.metadata.name}@${object.metadata.resourceVersion}`);
    if (expected && log.length >= expected.count) expected.resolve();
  });
  const events = (count: number) =>
    new Promise<string[]>((resolve) => {
      expected = { count, resolve: () => resolve(log) };
      if (log.length >= count) resolve(log);
    });
  return { reflector, log, events, stop };
}

const line = (type: string, object: object) => `${JSON.stringify({ type, object })}\n`;

test('lists, then follows the watch from the version of the list', async (t) => {
  const server = await startWatched(t, [pod('a', '1')]);
  const { reflector, events } = startPods(t, server.client);
  await reflector.synced;
  assert.equal(reflector.get('default/a')?.metadata.name, 'a');
  const { request, response } = await server.watch(0);
  assert.equal(request.query.resourceVersion, '10');
  assert.equal(request.query.allowWatchBookmarks, 'true');
  response.write(line('ADDED', pod('b', '11')) + line('MODIFIED', pod('a', '12')) + line('DELETED', pod('b', '13')));
  assert.deepEqual(await events(4), ['added a@1', 'added b@11', 'modified a@12', 'deleted b@13']);
  assert.deepEqual(
    reflector.list().map((object) => object.metadata.name),
    ['a'],
  );
});

test('goes on from the last bookmark when the watch ends', async (t) => {
  const server = await startWatched(t, []);
  startPods(t, server.client);
  const first = await server.watch(0);
  first.response.end(line('BOOKMARK', { metadata: { resourceVersion: '77' } }));
  const second = await server.watch(1);
  assert.equal(second.request.query.resourceVersion, '77');
});

test('after 410 it lists again and tells only what changed', async (t) => {
  const server = await startWatched(t, [pod('a', '1'), pod('b', '2'), pod('c', '3')]);
  const { events } = startPods(t, server.client);
  const first = await server.watch(0);
  server.state.items = [pod('a', '1'), pod('b', '20'), pod('c', '30', 'another'), pod('d', '31')];
  server.state.resourceVersion = '40';
  server.state.isGone = true;
  first.response.end();
  const second = await server.watch(1);
  assert.equal(second.request.query.resourceVersion, '40');
  assert.deepEqual((await events(7)).slice(3), ['modified b@20', 'deleted c@3', 'added c@30', 'added d@31']);
});

test('an object gone from the new list is deleted', async (t) => {
  const server = await startWatched(t, [pod('a', '1')]);
  const { events } = startPods(t, server.client);
  const first = await server.watch(0);
  server.state.items = [];
  const status = { kind: 'Status', code: 410, reason: 'Expired', message: 'gone' };
  first.response.end(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
  assert.deepEqual(await events(2), ['added a@1', 'deleted a@1']);
});

test('serves its store while the server is away, and resumes without a list', async (t) => {
  const server = await startWatched(t, [pod('a', '1')]);
  const failed = Promise.withResolvers<void>();
  const { reflector, events } = startPods(t, server.client, () => failed.resolve());
  await server.watch(0);
  server.server.close();
  server.server.closeAllConnections();
  await once(server.server, 'close');
  await failed.promise;
  assert.equal(reflector.list().length, 1);
  server.server.listen(server.port, '127.0.0.1');
  const { request, response } = await server.watch(1);
  assert.equal(request.query.resourceVersion, '10');
  response.write(line('MODIFIED', pod('a', '50')));
  assert.deepEqual(await events(2), ['added a@1', 'modified a@50']);
  assert.equal(server.received.filter(({ query }) => query.watch !== 'true').length, 1);
});

test('keeps trying until the first list succeeds', async (t) => {
  let refusals = 3;
  const { client } = await startScriptedServer(t, ({ query }, response) => {
    if (query.watch === 'true') return void response.writeHead(200).flushHeaders();
    if (refusals-- > 0) return sendStatus(response, 503, 'ServiceUnavailable');
    sendJson(response, { items: [pod('a', '1')], metadata: { resourceVersion: '1' } });
  });
  const { reflector } = startPods(t, client);
  await reflector.synced;
  assert.equal(reflector.list().length, 1);
});

test('tells what a page has before it asks for the next', async (t) => {
  const log: string[] = [];
  const { client } = await startScriptedServer(t, ({ query }, response) => {
    if (query.watch === 'true') return void response.writeHead(200).flushHeaders();
    log.push(`page ${query.continue ?? 'a'}`);
    const next = query.continue ? '' : 'b';
    sendJson(response, {
      items: [pod(query.continue ?? 'a', '1')],
      metadata: { resourceVersion: '9', continue: next },
    });
  });
  const { reflector } = startPods(t, client);
  reflector.subscribe(({ type, object }) => log.push(`${type} ${object.metadata.name}`));
  await reflector.synced;
  assert.deepEqual(log, ['page a', 'added a', 'page b', 'added b']);
});

test('lists from the beginning when the state is gone between two pages', async (t) => {
  const names = [['a'], undefined, ['c'], ['d']];
  const { client, received } = await startScriptedServer(t, ({ query }, response) => {
    if (query.watch === 'true') return void response.writeHead(200).flushHeaders();
    const page = names.shift();
    if (!page) return sendStatus(response, 410, 'Expired');
    const next = names.length > 0 ? 'more' : '';
    sendJson(response, {
      items: page.map((name) => pod(name, '1')),
      metadata: { resourceVersion: '9', continue: next },
    });
  });
  const { reflector, events } = startPods(t, client);
  await reflector.synced;
  assert.deepEqual(await events(4), ['added a@1', 'added c@1', 'added d@1', 'deleted a@1']);
  assert.deepEqual(
    received.filter(({ query }) => query.watch !== 'true').map(({ query }) => query.continue),
    [undefined, 'more', undefined, 'more'],
  );
});

test('two users share one watch, and one leaving does not end it', async (t) => {
  const server = await startWatched(t, [pod('a', '1')]);
  const one = startPods(t, server.client);
  const two = startPods(t, server.client);
  await Promise.all([one.reflector.synced, two.reflector.synced]);
  one.stop.abort();
  const { response } = await server.watch(0);
  response.write(line('ADDED', pod('b', '11')));
  assert.deepEqual(await two.events(2), ['added a@1', 'added b@11']);
  assert.deepEqual(one.log, ['added a@1']);
  assert.equal(server.received.length, 2);
});

test('stops the watch when nobody has used it for a minute', async (t) => {
  const server = await startWatched(t, []);
  const { response } = await (async () => {
    const { stop } = startPods(t, server.client);
    const watch = await server.watch(0);
    t.mock.timers.enable({ apis: ['setTimeout'] });
    stop.abort();
    return watch;
  })();
  const closed = once(response, 'close');
  t.mock.timers.tick(60_000);
  t.mock.timers.reset();
  await closed;
});

test('synced rejects when it is cancelled before the first list', async (t) => {
  const { client } = await startScriptedServer(t, () => {});
  const { reflector, stop } = startPods(t, client);
  stop.abort();
  await assert.rejects(reflector.synced, { code: 'CANCELLED' });
});
