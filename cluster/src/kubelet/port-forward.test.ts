import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { PORT_FORWARD_PROTOCOLS, servePortForward } from './port-forward.ts';

/** A WebSocket to a forwarder whose pod has an echo server on port 80 and nothing else. */
async function forward(t: import('node:test').TestContext, ports: number[]) {
  const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  t.after(() => {
    echo.close();
    server.close();
  });
  server.on('connection', (socket) =>
    servePortForward(socket, ports, async (port) => {
      if (port !== 80) throw new Error('connection refused');
      const found = connect((echo.address() as AddressInfo).port, '127.0.0.1');
      await once(found, 'connect');
      return found;
    }),
  );
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, PORT_FORWARD_PROTOCOLS);
  const messages: Buffer[] = [];
  client.on('message', (data: Buffer) => messages.push(data));
  return {
    client,
    messages,
    next: async () => messages.shift() ?? ((await once(client, 'message'))[0] && messages.shift()),
  };
}

test('announces each port on both channels and carries bytes both ways', async (t) => {
  const { client, next } = await forward(t, [80]);
  assert.deepEqual(await next(), Buffer.from([0, 80, 0]));
  assert.deepEqual(await next(), Buffer.from([1, 80, 0]));
  client.send(Buffer.from('\0hello'));
  assert.deepEqual(await next(), Buffer.from('\0hello'));
  client.close();
});

test('says on the error channel why a port cannot be reached, and closes', async (t) => {
  const { client, next } = await forward(t, [81]);
  const closed = once(client, 'close');
  await next();
  await next();
  assert.equal(String(await next()), '\u0001connect to port 81 in the pod: connection refused');
  await closed;
});

test('refuses ports that are none', async (t) => {
  const { client } = await forward(t, [0]);
  const [code] = await once(client, 'close');
  assert.equal(code, 1002);
});
