/** For tests: a real HTTP server on loopback whose every answer the test writes, and a client of it. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { type Client, createClient } from '../client.ts';
import type { ClusterConfig } from '../cluster-config.ts';

export interface Received {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: IncomingMessage['headers'];
  body: string;
}

export type Handler = (request: Received, response: ServerResponse) => void | Promise<void>;

export interface ScriptedServer {
  server: Server;
  client: Client;
  received: Received[];
  port: number;
}

export async function startScriptedServer(
  t: TestContext,
  handler: Handler,
  config: Partial<ClusterConfig> = {},
): Promise<ScriptedServer> {
  const received: Received[] = [];
  const server = createServer(async (message, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk);
    const url = new URL(message.url ?? '/', 'http://server');
    const request: Received = {
      method: message.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: message.headers,
      body: Buffer.concat(chunks).toString(),
    };
    received.push(request);
    await handler(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = createClient({ server: `http://127.0.0.1:${port}`, namespace: 'default', ...config });
  t.after(() => {
    client.close();
    server.closeAllConnections();
    server.close();
  });
  return { server, client, received, port };
}

export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

export function sendStatus(response: ServerResponse, code: number, reason: string, message = reason): void {
  sendJson(response, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }, code);
}

/** A Pod with as much of it as a test looks at. */
export function pod(name: string, resourceVersion: string, uid = name) {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'default', uid, resourceVersion } };
}
