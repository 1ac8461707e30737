/** Every protocol between every pair of meshed and plain pods, with what the application sees of it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { agentOf, deployPeers, installMesh, openCluster, type TestCluster } from './support/cluster.ts';
import { type Agent, PORTS } from './support/peers.ts';

const NAMESPACE = 'protocols';
const identityOf = (name: string) => `${name}.${NAMESPACE}.serviceaccount.identity.linkerd.cluster.local`;
const WAYS = [
  { from: 'meshed-agent', to: 'meshed-server', clientId: identityOf('meshed-agent') },
  { from: 'meshed-agent', to: 'plain-server', clientId: undefined },
  { from: 'plain-agent', to: 'meshed-server', clientId: undefined },
];

let cluster: TestCluster;

before(async () => {
  cluster = await openCluster();
  await installMesh(cluster);
  await deployPeers(cluster, NAMESPACE, [
    { name: 'meshed-server', role: 'server' },
    { name: 'meshed-agent', role: 'agent' },
    { name: 'plain-server', role: 'server', isMeshed: false },
    { name: 'plain-agent', role: 'agent', isMeshed: false },
  ]);
});

after(() => cluster?.[Symbol.asyncDispose]());

for (const { from, to, clientId } of WAYS) {
  describe(`${from} to ${to}`, () => {
    let agent: Agent;
    before(async () => {
      agent = await agentOf(cluster, NAMESPACE, from);
    });

    test('HTTP/1.1 keeps version, body, trailers and headers, and says who calls', async () => {
      const answer = await agent.run('http', {
        url: `http://${to}:${PORTS.http}/path?x=1`,
        method: 'POST',
        body: 'hello',
        headers: { 'l5d-client-id': 'somebody.else', 'x-own': 'kept', te: 'trailers' },
        trailers: { 'x-sum': '42' },
      });
      assert.equal(answer.status, 200);
      assert.equal(answer.httpVersion, '1.1');
      assert.equal(answer.trailers['x-done'], 'yes');
      const seen = JSON.parse(answer.body);
      assert.equal(seen.httpVersion, '1.1');
      assert.equal(seen.path, '/path?x=1');
      assert.equal(seen.body, 'hello');
      assert.equal(seen.headers.host, `${to}:${PORTS.http}`);
      assert.equal(seen.headers['x-own'], 'kept');
      assert.equal(seen.trailers['x-sum'], '42');
      // A caller cannot claim an identity: a meshed server's proxy removes what it did not set.
      if (to === 'meshed-server') assert.equal(seen.headers['l5d-client-id'], clientId);
      for (const name of Object.keys(answer.headers))
        assert.ok(!name.startsWith('l5d-'), `${name} reached the application`);
    });

    test('HTTP/1.1 statuses of the server pass as they are', async () => {
      const answer = await agent.run('http', { url: `http://${to}:${PORTS.http}/?status=503` });
      assert.equal(answer.status, 503);
      assert.equal(answer.headers['l5d-proxy-error'], undefined);
    });

    test('HTTP/2 with prior knowledge', async () => {
      const answer = await agent.run('http2', { origin: `http://${to}:${PORTS.grpc}` });
      assert.equal(answer.status, 200);
      assert.equal(answer.body, 'h2\n');
    });

    test('gRPC in all four shapes', async () => {
      const origin = `http://${to}:${PORTS.grpc}`;
      const texts = ['a', 'b', 'c'];
      const expected = { unary: ['a'], serverStream: ['a0', 'a1', 'a2'], clientStream: ['a,b,c'], bidiStream: texts };
      for (const [shape, answers] of Object.entries(expected)) {
        const answer = await agent.run('grpc', { origin, shape, texts });
        assert.equal(answer.code, 0, `${shape}: ${answer.message}`);
        assert.deepEqual(
          answer.answers.map((a: { text: string }) => a.text),
          answers,
          shape,
        );
        assert.equal(answer.answers[0].clientId, to === 'meshed-server' ? (clientId ?? '') : '', shape);
      }
    });

    test('a gRPC status of the server arrives with its message', async () => {
      const answer = await agent.run('grpc', {
        origin: `http://${to}:${PORTS.grpc}`,
        shape: 'unary',
        texts: ['out of it'],
        status: 8,
      });
      assert.equal(answer.code, 8);
      assert.equal(answer.message, 'asked to fail: out of it');
    });

    test('WebSocket', async () => {
      const answer = await agent.run('webSocket', {
        url: `ws://${to}:${PORTS.http}/`,
        messages: ['one', 'two', 'three'],
      });
      assert.deepEqual(answer, { code: 1000, answers: ['one', 'two', 'three'] });
    });

    test('TCP: what was sent before our end comes back after it', async () => {
      const send = 'x'.repeat(300_000);
      const answer = await agent.run('tcp', { host: to, port: PORTS.echo, send, isHalfClosed: true });
      assert.equal(answer.received.length, send.length);
    });

    test('TCP: the server may speak first', async () => {
      const answer = await agent.run('tcp', { host: to, port: PORTS.greeter, readBytes: 11 });
      assert.equal(answer.received, '220 ready\r\n');
    });
  });
}
