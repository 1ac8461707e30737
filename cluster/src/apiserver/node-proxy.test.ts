import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { PODS, SERVICE_ACCOUNTS } from '@tulle/api';
import { WebSocketServer } from 'ws';
import { failureOf, startTestServer } from './testing/test-server.ts';

/** A server with one running pod on a node whose agent is in this process. */
async function startWithAgent(t: TestContext, answer: (incoming: IncomingMessage, outgoing: ServerResponse) => void) {
  const agent = createServer(answer);
  agent.listen(0, '127.0.0.1');
  await once(agent, 'listening');
  t.after(() => {
    agent.closeAllConnections();
    agent.close();
  });
  const { port } = agent.address() as AddressInfo;
  const fixture = await startTestServer(t, {
    dial: (node) => (node === 'n1' ? { host: '127.0.0.1', port } : undefined),
  });
  const { admin } = fixture;
  await admin.create(SERVICE_ACCOUNTS, { metadata: { name: 'default' } });
  const containers = [
    { name: 'a', image: 'x' },
    { name: 'b', image: 'x' },
  ];
  await admin.create(PODS, { metadata: { name: 'p' }, spec: { nodeName: 'n1', containers } });
  const containerStatuses = containers.map(({ name }) => ({
    name,
    ready: true,
    restartCount: 0,
    state: { running: {} },
  }));
  await admin.patch(PODS, 'p', 'default', { status: { phase: 'Running', containerStatuses } }, 'merge', {
    subresource: 'status',
  });
  return { ...fixture, agent };
}

async function textOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

test('logs are read from the agent of the node, as they come', async (t) => {
  let more = () => {};
  const { admin } = await startWithAgent(t, ({ url }, outgoing) => {
    outgoing.write(`${url}\n`);
    more = () => outgoing.end('second\n');
  });
  const parts: string[] = [];
  for await (const chunk of admin.logs('default', 'p', { container: 'b', follow: true, tailLines: 3 })) {
    parts.push(Buffer.from(chunk).toString());
    more();
  }
  assert.deepEqual(parts, ['/containerLogs/default/p/b?follow=true&tailLines=3\n', 'second\n']);
});

test('logs of no container, of an unknown one or of a pod without node are refused', async (t) => {
  const { admin } = await startWithAgent(t, (_, outgoing) => outgoing.end());
  const refusal = async (pod: string, container?: string) =>
    (await failureOf(textOf(admin.logs('default', pod, container ? { container } : {})))).message;
  assert.match(await refusal('p'), /a container name must be specified for pod p, choose one of: \[a b\]/);
  assert.match(await refusal('p', 'z'), /container z is not valid for pod p/);
  assert.match(await refusal('gone', 'a'), /pods "gone" not found/);
  await admin.create(PODS, { metadata: { name: 'waiting' }, spec: { containers: [{ name: 'a', image: 'x' }] } });
  assert.match(await refusal('waiting'), /does not have a host assigned/);
});

test('port-forwarding is passed through to the agent, byte for byte', async (t) => {
  const { admin, agent } = await startWithAgent(t, (_, outgoing) => outgoing.end());
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'v4.channel.k8s.io' });
  t.after(() => sockets.close());
  const paths: string[] = [];
  agent.on('upgrade', (incoming, socket, head) => {
    paths.push(incoming.url ?? '');
    sockets.handleUpgrade(incoming, socket, head, (webSocket) => {
      // Both channels begin with the port; then data on channel 0 comes back in capitals.
      const port = Buffer.from([8080 & 255, 8080 >> 8]);
      webSocket.send(Buffer.concat([Buffer.from([0]), port]));
      webSocket.send(Buffer.concat([Buffer.from([1]), port]));
      webSocket.on('message', (data: Buffer) =>
        webSocket.send(Buffer.concat([data.subarray(0, 1), Buffer.from(data.subarray(1).toString().toUpperCase())])),
      );
    });
  });
  const connection = await admin.portForward('default', 'p', 8080);
  connection.write('hello');
  const [answer] = await once(connection, 'data');
  connection.destroy();
  assert.equal(answer.toString(), 'HELLO');
  assert.deepEqual(paths, ['/portForward/default/p?port=8080']);
});
