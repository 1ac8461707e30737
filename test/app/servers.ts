/**
 * The servers of a test pod. 8080: HTTP/1.1 and WebSocket. 8081: HTTP/2 without TLS and gRPC. 7001: TCP echo with half-close.
 * 7002: TCP, the server speaks first. Pod and port names are in test/support/peers.ts.
 *
 * A request to 8080 says how it is answered: `?status=503`, `?delay=300` (ms), `?fail=2&key=x` (500 to the first two of this key); the
 * answer says how many requests of its key, and of its path, this pod has had. DELAY_MS and STATUS in the environment hold for all.
 */
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { type Code, ConnectError } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { WebSocketServer } from 'ws';
import { Echo, type EchoRequest } from '../gen/echo_pb.ts';

/** Time from SIGTERM until the listeners close: the endpoints of a Service need that long to forget this pod. */
const CLOSE_DELAY_MS = 2000;

export async function startServers(env: NodeJS.ProcessEnv): Promise<AsyncDisposable> {
  const pod = env.HOSTNAME ?? '';
  const delayMs = Number(env.DELAY_MS ?? 0);
  const servers = [
    await listen(createHttp(pod, delayMs, Number(env.STATUS ?? 200)), 8080),
    await listen(createHttp2(pod, delayMs), 8081),
    await listen(createEcho(), 7001),
    await listen(createGreeter(), 7002),
  ];
  return {
    async [Symbol.asyncDispose]() {
      await sleep(CLOSE_DELAY_MS);
      await Promise.all(servers.map((close) => close()));
    },
  };
}

async function listen(server: net.Server, port: number): Promise<() => Promise<void>> {
  const open = new Set<http2.Http2Session | net.Socket>();
  server.on(server instanceof http.Server || server.listenerCount('session') > 0 ? 'session' : 'connection', (peer) => {
    open.add(peer);
    peer.on('close', () => open.delete(peer));
    peer.on('error', () => peer.destroy());
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '::', resolve));
  return async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    if (server instanceof http.Server) server.closeIdleConnections();
    for (const peer of open) 'close' in peer ? peer.close() : peer.end();
    await closed;
  };
}

/** Keys and paths counted; a test that uses more counts nothing new. */
const COUNTED_MAX = 10_000;

function createHttp(pod: string, delayMs: number, usualStatus: number): http.Server {
  const counts = new Map<string, number>();
  const count = (what: string) => {
    const number = (counts.get(what) ?? 0) + 1;
    if (number > 1 || counts.size < COUNTED_MAX) counts.set(what, number);
    return number;
  };
  const answer = async (request: http.IncomingMessage, response: http.ServerResponse) => {
    const url = new URL(request.url ?? '/', 'http://server');
    const attempt = count(`key ${url.searchParams.get('key')}`);
    count(`path ${url.pathname}`);
    const isToFail = attempt <= Number(url.searchParams.get('fail') ?? 0);
    const status = isToFail ? 500 : Number(url.searchParams.get('status') ?? usualStatus);
    const waitMs = Number(url.searchParams.get('delay') ?? delayMs);
    if (waitMs > 0) await sleep(waitMs);
    const body: Buffer[] = [];
    for await (const chunk of request) body.push(chunk as Buffer);
    response.writeHead(status, { 'content-type': 'application/json', 'x-pod': pod, trailer: 'x-done' });
    response.addTrailers({ 'x-done': 'yes' });
    response.end(
      JSON.stringify({
        pod,
        method: request.method,
        path: request.url,
        httpVersion: request.httpVersion,
        headers: request.headers,
        body: Buffer.concat(body).toString('utf8'),
        trailers: request.trailers,
        attempt,
        seen: counts.get(`path ${url.searchParams.get('seen')}`) ?? 0,
      }),
    );
  };
  const server = http.createServer((request, response) => {
    // A client that went away while it waited ends its request, not this server.
    answer(request, response).catch(() => response.destroy());
  });
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.on('error', () => socket.terminate());
  });
  return server;
}

function createHttp2(pod: string, delayMs: number): net.Server {
  const respond = async (request: EchoRequest, header: Headers) => {
    const waitMs = request.delayMs || delayMs;
    if (waitMs > 0) await sleep(waitMs);
    if (request.status) throw new ConnectError(`asked to fail: ${request.text}`, request.status as Code);
    return { text: request.text, pod, clientId: header.get('l5d-client-id') ?? '' };
  };
  const handler = connectNodeAdapter({
    connect: false,
    grpcWeb: false,
    fallback: (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/plain', 'x-pod': pod });
      response.end('h2\n');
    },
    routes: (router) =>
      router.service(Echo, {
        unary: (request, context) => respond(request, context.requestHeader),
        async *serverStream(request, context) {
          for (let i = 0; i < request.count; i++)
            yield await respond({ ...request, text: `${request.text}${i}` }, context.requestHeader);
        },
        async clientStream(requests, context) {
          const texts: string[] = [];
          for await (const request of requests) texts.push(request.text);
          return { text: texts.join(','), pod, clientId: context.requestHeader.get('l5d-client-id') ?? '' };
        },
        async *bidiStream(requests, context) {
          for await (const request of requests) yield await respond(request, context.requestHeader);
        },
      }),
  });
  return http2.createServer(handler);
}

function createEcho(): net.Server {
  return net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
}

function createGreeter(): net.Server {
  return net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.write('220 ready\r\n');
    socket.pipe(socket);
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
