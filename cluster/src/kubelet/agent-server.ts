/**
 * What the API server asks of a node: logs and port-forwards.
 * `GET /containerLogs/NS/POD/CONTAINER`, WebSocket `/portForward/NS/POD?port=N` (v4.channel.k8s.io), `GET /healthz`.
 */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { pipeline, Readable } from 'node:stream';
import { MeshError } from '@tulle/api';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import type { PodRuntime } from '../sandbox/pod-runtime.ts';
import { readLogs } from './logs.ts';
import type { PodWorker } from './pod-worker.ts';
import { PORT_FORWARD_PROTOCOLS, servePortForward } from './port-forward.ts';

export interface AgentServerOptions {
  address: string;
  port: number;
  findPod(key: string): PodWorker | undefined;
  runtime: PodRuntime;
  logger: Logger;
}

export async function startAgentServer(options: AgentServerOptions): Promise<AsyncDisposable & { port: number }> {
  const server: Server = createServer((request, response) => {
    answer(options, request, response).catch((error) => fail(response, MeshError.from(error)));
  });
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => PORT_FORWARD_PROTOCOLS.find((protocol) => offered.has(protocol)) ?? false,
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    const url = new URL(request.url ?? '/', 'http://node');
    const [kind, namespace, pod] = url.pathname.slice(1).split('/');
    const worker = kind === 'portForward' ? options.findPod(`${namespace}/${pod}`) : undefined;
    if (!worker?.sandboxId) return void socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
    const sandbox = worker.sandboxId;
    const ports = url.searchParams.getAll('port').map(Number);
    sockets.handleUpgrade(request, socket, head, (webSocket) =>
      servePortForward(webSocket, ports, (port) => options.runtime.dial(sandbox, port)),
    );
  });
  server.listen(options.port, options.address);
  await once(server, 'listening');
  const bound = server.address();
  return {
    port: bound && typeof bound === 'object' ? bound.port : options.port,
    async [Symbol.asyncDispose]() {
      for (const client of sockets.clients) client.terminate();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(options: AgentServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://node');
  const [kind, namespace, pod, container] = url.pathname.slice(1).split('/').map(decodeURIComponent);
  if (request.method !== 'GET') throw new MeshError('UNIMPLEMENTED', `${request.method} is not offered`);
  if (kind === 'healthz') return void response.end('ok');
  if (kind !== 'containerLogs') throw new MeshError('NOT_FOUND', `no ${url.pathname}`);
  const worker = options.findPod(`${namespace}/${pod}`);
  const state = worker?.containers.find(({ name }) => name === container);
  if (!worker || !state)
    throw new MeshError('NOT_FOUND', `container ${container} of pod ${namespace}/${pod} is not here`);
  const flag = (name: string) => url.searchParams.get(name) === 'true';
  const number = (name: string) => {
    const text = url.searchParams.get(name);
    if (text === null) return undefined;
    if (!/^\d+$/.test(text)) throw new MeshError('INVALID_ARGUMENT', `${name}=${text}: not a number`);
    return Number(text);
  };
  const isPrevious = flag('previous');
  if (isPrevious && state.restartCount === 0)
    throw new MeshError('INVALID_ARGUMENT', `previous terminated container "${container}" in pod "${pod}" not found`);
  if (!isPrevious && state.attempt === 0 && !state.termination && !state.lastTermination)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `container "${container}" in pod "${pod}" is waiting to start: ${state.waiting.reason}`,
    );
  const sinceSeconds = number('sinceSeconds');
  const sinceTime = url.searchParams.get('sinceTime');
  const closed = new AbortController();
  response.once('close', () => closed.abort());
  const ended = isPrevious || !state.isRunning ? Promise.resolve() : (state.exited?.promise ?? Promise.resolve());
  const lines = readLogs(
    worker.logPath(state, isPrevious),
    {
      follow: flag('follow') && !isPrevious,
      tailLines: number('tailLines'),
      timestamps: flag('timestamps'),
      limitBytes: number('limitBytes'),
      sinceMs:
        sinceSeconds !== undefined ? Date.now() - sinceSeconds * 1000 : sinceTime ? Date.parse(sinceTime) : undefined,
    },
    ended,
    closed.signal,
  );
  response.writeHead(200, { 'content-type': 'text/plain' });
  response.flushHeaders();
  pipeline(Readable.from(lines, { objectMode: false }), response, () => {});
}

function fail(response: ServerResponse, error: MeshError): void {
  const status = { NOT_FOUND: 404, INVALID_ARGUMENT: 400, UNIMPLEMENTED: 405 }[error.code as string] ?? 500;
  if (!response.headersSent) response.writeHead(status, { 'content-type': 'text/plain' });
  response.end(error.message);
}
