import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { Container } from '@tulle/api';
import { type Action, runAction } from './probe-action.ts';

async function listen(
  t: import('node:test').TestContext,
  server: ReturnType<typeof createServer> | http2.Http2Server,
): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

const run = (action: Action, port: number, timeoutMs = 2000) =>
  runAction(
    action,
    {
      podIp: '127.0.0.1',
      container: { name: 'c', ports: [{ name: 'web', containerPort: port }] } as Container,
      exec: async ([code]) => ({ exitCode: Number(code), output: 'said so' }),
    },
    timeoutMs,
  );

test('asks over HTTP by port name, with headers, and takes 2xx and 3xx', async (t) => {
  const port = await listen(
    t,
    createServer((request, response) => {
      response.statusCode = request.url === '/ok' && request.headers['x-a'] === 'b' ? 302 : 503;
      response.end('not yet');
    }),
  );
  const httpHeaders = [{ name: 'X-A', value: 'b' }];
  await run({ httpGet: { port: 'web', path: '/ok', httpHeaders } }, port);
  await assert.rejects(run({ httpGet: { port: 'web', path: 'no' } }, port), /statuscode: 503: not yet/);
  await assert.rejects(run({ httpGet: { port: 'other' } }, port), /port "other" is not in container c/);
});

test('gives up when the answer does not come in time', async (t) => {
  const server = createServer(() => {});
  const port = await listen(t, server);
  t.after(() => server.closeAllConnections());
  await assert.rejects(run({ httpGet: { port } }, port, 20), /no answer within 0.02s/);
});

test('asks gRPC health, by service', async (t) => {
  const server = http2.createServer();
  server.on('stream', (stream) => {
    let asked = '';
    stream.on('data', (chunk: Buffer) => (asked = chunk.subarray(7).toString()));
    stream.on('end', () => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.from([0, 0, 0, 0, 2, 0x08, asked === 'good' ? 1 : 2]));
    });
  });
  const port = await listen(t, server);
  await run({ grpc: { port, service: 'good' } }, port);
  await assert.rejects(run({ grpc: { port } }, port), /NOT_SERVING/);
});

test('takes a command by its exit code', async () => {
  await run({ exec: { command: ['0'] } }, 1);
  await assert.rejects(run({ exec: { command: ['1'] } }, 1), /said so/);
});

test('connects for tcpSocket', async (t) => {
  const server = createServer();
  const port = await listen(t, server);
  await run({ tcpSocket: { port } }, port);
  server.close();
  await once(server, 'close');
  await assert.rejects(run({ tcpSocket: { port } }, port), /ECONNREFUSED/);
});
