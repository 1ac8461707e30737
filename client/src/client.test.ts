import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { MeshError, PODS, type Pod } from '@tulle/api';
import { createClient } from './client.ts';
import { pod, sendJson, sendStatus, startScriptedServer } from './testing/scripted-server.ts';

test('reads a list in pages, and starts over when the continue token has expired', async (t) => {
  let expiries = 1;
  const { client, received } = await startScriptedServer(t, ({ query }, response) => {
    const page = query.continue ?? 'first';
    if (page === 'second' && expiries-- > 0) return sendStatus(response, 410, 'Expired');
    const next = page === 'first' ? 'second' : '';
    sendJson(response, { items: [pod(page, '1')], metadata: { resourceVersion: '9', continue: next } });
  });
  const list = await client.list<Pod>(PODS, { namespace: 'default', labelSelector: 'app=web' });
  assert.deepEqual(
    list.items.map((item) => item.metadata.name),
    ['first', 'second'],
  );
  assert.equal(list.resourceVersion, '9');
  assert.equal(received.length, 4);
  assert.ok(received.every(({ query }) => query.labelSelector === 'app=web' && query.limit === '250'));
});

test('sends each kind of patch with its content type, manager and sub-resource', async (t) => {
  const { client, received } = await startScriptedServer(t, (_, response) => sendJson(response, pod('a', '2')));
  for (const type of ['json', 'merge', 'strategic'] as const) {
    await client.patch(PODS, 'a', 'ns', {}, type, { subresource: 'status', fieldManager: 'me' });
  }
  assert.deepEqual(
    received.map(({ headers }) => headers['content-type']),
    ['application/json-patch+json', 'application/merge-patch+json', 'application/strategic-merge-patch+json'],
  );
  assert.ok(received.every(({ path }) => path === '/api/v1/namespaces/ns/pods/a/status'));
  assert.equal(received[0]?.query.fieldManager, 'me');
});

test('applies an object of a kind it has to discover, asking once', async (t) => {
  const { client, received } = await startScriptedServer(t, ({ path }, response) => {
    if (path !== '/apis/example.com/v1') return sendJson(response, { metadata: { name: 'w' } });
    const verbs = ['get', 'patch'];
    sendJson(response, {
      resources: [
        { name: 'widgets', kind: 'Widget', namespaced: false, verbs },
        { name: 'widgets/status', kind: 'Widget', namespaced: false, verbs },
      ],
    });
  });
  const widget = { apiVersion: 'example.com/v1', kind: 'Widget', metadata: { name: 'w' } };
  await client.apply(widget, { fieldManager: 'test', force: true });
  await client.apply(widget, { fieldManager: 'test' });
  assert.deepEqual(
    received.map(({ method, path }) => `${method} ${path}`),
    ['GET /apis/example.com/v1', 'PATCH /apis/example.com/v1/widgets/w', 'PATCH /apis/example.com/v1/widgets/w'],
  );
  assert.deepEqual(received[1]?.query, { fieldManager: 'test', force: 'true' });
  assert.equal(received[1]?.headers['content-type'], 'application/apply-patch+yaml');
  await assert.rejects(client.apply({ ...widget, kind: 'Other' }, { fieldManager: 'test' }), { code: 'NOT_FOUND' });
});

test('an answer that failed is an error with its status', async (t) => {
  const { client } = await startScriptedServer(t, ({ path }, response) => {
    if (path.endsWith('/html')) return void response.writeHead(502).end('<h1>bad gateway</h1>');
    if (path.endsWith('/taken')) return sendStatus(response, 409, 'AlreadyExists', 'pods "taken" already exists');
    sendStatus(response, 404, 'NotFound', 'pods "a" not found');
  });
  const error = await client.get(PODS, 'a', 'ns').catch((e) => e);
  assert.ok(error instanceof MeshError);
  assert.equal(error.code, 'NOT_FOUND');
  assert.equal((error.status as { reason: string }).reason, 'NotFound');
  assert.match(error.message, /GET http:.*\/api\/v1\/namespaces\/ns\/pods\/a: pods "a" not found/);
  await assert.rejects(client.get(PODS, 'taken', 'ns'), { code: 'ALREADY_EXISTS' });
  await assert.rejects(client.get(PODS, 'html', 'ns'), { code: 'UNAVAILABLE', message: /bad gateway/ });
});

test('waits as a busy server asks, then succeeds', async (t) => {
  let refusals = 2;
  const { client, received } = await startScriptedServer(t, (_, response) => {
    if (refusals-- > 0) response.setHeader('retry-after', '0');
    else return sendJson(response, pod('a', '1'));
    sendStatus(response, 429, 'TooManyRequests');
  });
  await client.create(PODS, pod('a', ''));
  assert.equal(received.length, 3);
});

test('sends its token and whom it speaks for', async (t) => {
  const config = { token: async () => 'abc', asUser: 'jane', asGroups: ['dev', 'ops'] };
  const { client, received } = await startScriptedServer(t, (_, response) => sendJson(response, pod('a', '1')), config);
  await client.get(PODS, 'a');
  assert.equal(received[0]?.headers.authorization, 'Bearer abc');
  assert.equal(received[0]?.headers['impersonate-user'], 'jane');
  assert.equal(received[0]?.headers['impersonate-group'], 'dev, ops');
});

test('asks again when a kept connection was closed just as it was used', async (t) => {
  let answered = 0;
  const { client } = await startScriptedServer(t, (request, response) => {
    // The second request on a connection is cut off, as when the server's idle limit has just passed.
    if (++answered === 2) return void response.destroy();
    sendJson(response, pod(request.path, '1'));
  });
  await client.get(PODS, 'a');
  await client.get(PODS, 'b');
  assert.equal(answered, 3);
});

test('speaks through a Unix socket', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'client-'));
  const socketPath = join(folder, 'api.sock');
  const server = createServer((request, response) => sendJson(response, { host: request.headers.host }));
  server.listen(socketPath);
  await once(server, 'listening');
  const client = createClient({ server: 'http://kubernetes:80', namespace: 'default', socketPath });
  t.after(() => {
    client.close();
    server.close();
    rmSync(folder, { recursive: true });
  });
  assert.deepEqual(await client.get(PODS, 'a'), { host: 'kubernetes' });
});

test('nothing listening is UNAVAILABLE, an aborted request is CANCELLED', async (t) => {
  const { client, server } = await startScriptedServer(t, () => {});
  const signal = AbortSignal.abort();
  await assert.rejects(client.request('GET', '/version', { signal }), { code: 'CANCELLED' });
  server.close();
  await assert.rejects(client.get(PODS, 'a'), { code: 'UNAVAILABLE' });
});

test('streams logs as they come', async (t) => {
  const { client, received } = await startScriptedServer(t, (_, response) => {
    response.write('one\n');
  });
  const stop = new AbortController();
  const chunks: string[] = [];
  const reading = (async () => {
    for await (const chunk of client.logs('ns', 'p', { follow: true, container: 'c', tailLines: 5 }, stop.signal)) {
      chunks.push(Buffer.from(chunk).toString());
      stop.abort();
    }
  })();
  await assert.rejects(reading, { code: 'CANCELLED' });
  assert.deepEqual(chunks, ['one\n']);
  assert.deepEqual(received[0]?.query, { follow: 'true', container: 'c', tailLines: '5' });
});
