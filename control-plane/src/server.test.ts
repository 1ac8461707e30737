import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import test from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { MeshError } from '@tulle/api';
import { Destination, GetDestinationSchema } from '@tulle/api/gen/destination_pb.ts';
import { createLoggers } from './logger.ts';
import { MetricRegistry } from './metric-registry.ts';
import { startGrpcServer } from './server.ts';

const logger = createLoggers({ level: 'silent', format: 'json' }).of('grpc');

async function start(fail: (path: string) => unknown) {
  const metrics = new MetricRegistry();
  const server = await startGrpcServer({
    address: '127.0.0.1:0',
    metrics,
    logger,
    closeGraceMs: 50,
    routes: (router) =>
      router.service(Destination, {
        async *get({ path }, { signal }) {
          if (path.startsWith('fail')) throw fail(path);
          yield {};
          await once(signal, 'abort');
          throw signal.reason;
        },
      }),
  });
  const baseUrl = `http://127.0.0.1:${server.port}`;
  const client = createClient(Destination, createGrpcTransport({ baseUrl, idleConnectionTimeoutMs: 100 }));
  return { server, metrics, client, baseUrl };
}

test('turns errors into gRPC statuses, and keeps to itself what went wrong inside', async () => {
  const { server, client, metrics } = await start((path) =>
    path === 'fail-not-found' ? new MeshError('NOT_FOUND', 'no such thing') : new TypeError('secret of the inside'),
  );
  await using _ = server;
  const call = async (path: string) => {
    for await (const _ of client.get({ path }));
  };
  const error = (code: Code, text: string) => (cause: unknown) => {
    const { code: actual, rawMessage } = ConnectError.from(cause);
    return actual === code && rawMessage === text;
  };
  await assert.rejects(call('fail-not-found'), error(Code.NotFound, 'no such thing'));
  await assert.rejects(call('fail-inside'), error(Code.Internal, 'internal error'));
  const text = metrics.render();
  assert.match(text, /grpc_server_handled_total\{[^}]*grpc_method="Get",grpc_code="NotFound"\} 1/);
  assert.match(text, /grpc_server_open_streams\{[^}]*\} 0/);
});

test('stops although a client neither reads nor goes away', async () => {
  const { server, baseUrl } = await start(() => undefined);
  const session = connectHttp2(baseUrl);
  const stream = session.request({
    ':method': 'POST',
    ':path': `/${Destination.typeName}/Get`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  const message = toBinary(GetDestinationSchema, create(GetDestinationSchema, { path: 'x' }));
  stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
  await once(stream, 'response');
  await server[Symbol.asyncDispose]();
  session.on('error', () => {});
  stream.on('error', () => {});
  session.destroy();
});

test('outlives bytes that are no HTTP/2', async () => {
  const { server, client } = await start(() => undefined);
  await using _ = server;
  const socket = connect(server.port, '127.0.0.1');
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n\0\0\0garbage');
  socket.resume();
  await once(socket, 'close');
  const stopping = new AbortController();
  const [first] = [await client.get({ path: 'x' }, { signal: stopping.signal })[Symbol.asyncIterator]().next()];
  assert.equal(first.done, false);
  stopping.abort();
});

test('frees the stream of a client that cancels', async () => {
  const { server, client, metrics } = await start(() => undefined);
  await using _ = server;
  const stopping = new AbortController();
  const iterator = client.get({ path: 'x' }, { signal: stopping.signal })[Symbol.asyncIterator]();
  await iterator.next();
  assert.match(metrics.render(), /grpc_server_open_streams\{[^}]*\} 1\n/);
  stopping.abort();
  await assert.rejects(iterator.next());
  while (!/grpc_server_open_streams\{[^}]*\} 0\n/.test(metrics.render())) await setImmediate();
});

/** What the server answers to a request as it stands. */
async function send(baseUrl: string, headers: Record<string, string>, body: Buffer): Promise<Record<string, unknown>> {
  const session = connectHttp2(baseUrl);
  const stream = session.request({
    ':method': 'POST',
    ':path': `/${Destination.typeName}/Get`,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.on('error', () => {});
  let answer: Record<string, unknown> = {};
  stream.on('response', (head) => Object.assign(answer, head));
  stream.on('trailers', (trailers) => Object.assign(answer, trailers));
  stream.resume();
  stream.end(body);
  await once(stream, 'close');
  session.close();
  answer = { status: answer[':status'], code: Code[Number(answer['grpc-status'])], message: answer['grpc-message'] };
  return answer;
}

function framed(path: string, flags = 0, missing = 0): Buffer {
  const message = toBinary(GetDestinationSchema, create(GetDestinationSchema, { path }));
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(message.length + missing, 1);
  return Buffer.concat([head, message]);
}

test('answers every request that is none with a status', async () => {
  const { server, baseUrl, client, metrics } = await start(() => new MeshError('NOT_FOUND', '100 % “none”\n'));
  await using _ = server;
  const code = async (headers: Record<string, string>, body: Buffer) => (await send(baseUrl, headers, body)).code;
  assert.equal((await send(baseUrl, { 'content-type': 'text/plain' }, framed('x'))).status, 415);
  assert.equal(await code({ ':path': '/x/y' }, framed('x')), 'Unimplemented');
  assert.equal(await code({ ':path': `/${Destination.typeName}/GetProfile` }, framed('x')), 'Unimplemented');
  assert.equal(await code({}, Buffer.alloc(0)), 'Unimplemented');
  assert.equal(await code({}, framed('x', 1)), 'Unimplemented');
  assert.equal(await code({}, framed('x', 0, 1)), 'InvalidArgument');
  assert.equal(await code({}, Buffer.concat([framed('x'), framed('x')])), 'Unimplemented');
  assert.equal(await code({}, Buffer.from([0, 0, 0, 0, 1, 0xff])), 'InvalidArgument');
  assert.equal(await code({}, framed('x'.repeat(300_000))), 'ResourceExhausted');
  assert.equal(await code({ 'grpc-timeout': '1x' }, framed('x')), 'InvalidArgument');
  assert.equal(await code({ 'grpc-timeout': '1m' }, framed('x')), 'DeadlineExceeded');
  await assert.rejects(async () => {
    for await (const _ of client.get({ path: 'fail' }));
  }, /100 % “none”\n/);
  assert.match(metrics.render(), /grpc_server_open_streams\{[^}]*\} 0\n/);
});
