import assert from 'node:assert/strict';
import { once } from 'node:events';
import test, { type TestContext } from 'node:test';
import { type WebSocket, WebSocketServer } from 'ws';
import { sendStatus, startScriptedServer } from './testing/scripted-server.ts';

async function startForwarder(t: TestContext, onConnection: (socket: WebSocket, url: string) => void) {
  const scripted = await startScriptedServer(t, (_, response) => sendStatus(response, 404, 'NotFound', 'no such pod'));
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'v4.channel.k8s.io' });
  t.after(() => {
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
  });
  scripted.server.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (accepted) => onConnection(accepted, request.url ?? ''));
  });
  return scripted;
}

function sendPreambles(socket: WebSocket, port: number) {
  for (const channel of [0, 1]) socket.send(Buffer.from([channel, port & 0xff, port >> 8]));
}

test('carries bytes both ways after the preambles', async (t) => {
  const { client } = await startForwarder(t, (socket, url) => {
    assert.equal(url, '/api/v1/namespaces/ns/pods/p/portforward?ports=4191');
    sendPreambles(socket, 4191);
    socket.on('message', (data: Buffer) => {
      assert.equal(data[0], 0);
      socket.send(Buffer.concat([Buffer.from([0]), Buffer.from('echo '), data.subarray(1)]));
      socket.close();
    });
  });
  const stream = await client.portForward('ns', 'p', 4191);
  stream.write('hello');
  const chunks = await Array.fromAsync(stream);
  assert.equal(Buffer.concat(chunks).toString(), 'echo hello');
});

test('a large stream arrives whole through a slow reader', async (t) => {
  const block = Buffer.alloc(64 * 1024, 7);
  const { client } = await startForwarder(t, (socket) => {
    sendPreambles(socket, 80);
    for (let index = 0; index < 64; index++) socket.send(Buffer.concat([Buffer.from([0]), block]));
    socket.close();
  });
  const stream = await client.portForward('ns', 'p', 80);
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    await new Promise(setImmediate);
  }
  assert.equal(bytes, 64 * block.length);
});

test('an error of the pod is the error of the stream', async (t) => {
  const { client } = await startForwarder(t, (socket) => {
    sendPreambles(socket, 80);
    socket.send(Buffer.concat([Buffer.from([1]), Buffer.from('connection refused')]));
    socket.close();
  });
  const stream = await client.portForward('ns', 'p', 80);
  await assert.rejects(Array.fromAsync(stream), { message: /port-forward to ns\/p:80: connection refused/ });
});

test('destroying the stream closes the connection, and so does the signal', async (t) => {
  const closes: Array<Promise<unknown>> = [];
  const { client } = await startForwarder(t, (socket) => closes.push(once(socket, 'close')));
  (await client.portForward('ns', 'p', 80)).destroy();
  const stop = new AbortController();
  const stream = await client.portForward('ns', 'p', 80, stop.signal);
  const failed = once(stream, 'error');
  stop.abort();
  assert.equal((await failed)[0].code, 'CANCELLED');
  assert.equal(closes.length, 2);
  await Promise.all(closes);
});

test('a refusal of the server is an error with its status', async (t) => {
  const { client } = await startScriptedServer(t, (_, response) =>
    sendStatus(response, 404, 'NotFound', 'no such pod'),
  );
  await assert.rejects(client.portForward('ns', 'p', 80), { code: 'NOT_FOUND', message: /no such pod/ });
});
