/** For tests: an API server in memory on loopback, a client with all rights, and raw watches. */
import type { TestContext } from 'node:test';
import { type Client, createClient } from '@tulle/client';
import type { Fields } from '../../store/stored-object.ts';
import { type ApiServer, type ApiServerOptions, startApiServer } from '../server.ts';

export interface TestServer {
  server: ApiServer;
  /** A member of system:masters. */
  admin: Client;
  /** A client with that bearer token, or without any credentials. */
  clientWith(token: string | undefined): Client;
  url: string;
}

export async function startTestServer(t: TestContext, options: Partial<ApiServerOptions> = {}): Promise<TestServer> {
  const server = await startApiServer({ listen: [{ host: '127.0.0.1', port: 0 }], ...options });
  const { certPem, keyPem } = await server.pki.issueClient('admin', ['system:masters']);
  const url = `https://127.0.0.1:${server.port}`;
  const base = { server: url, caPem: server.pki.caPem, namespace: 'default' };
  const clients: Client[] = [];
  const open = (config: Parameters<typeof createClient>[0]) => {
    const client = createClient(config);
    clients.push(client);
    return client;
  };
  t.after(async () => {
    for (const client of clients) client.close();
    await server[Symbol.asyncDispose]();
  });
  return {
    server,
    url,
    admin: open({ ...base, clientCertPem: certPem, clientKeyPem: keyPem }),
    clientWith: (token) => open(token === undefined ? base : { ...base, token: async () => token }),
  };
}

export interface RawWatch {
  /** Events up to and with the first that meets the condition. */
  until(isLast: (event: WatchEvent) => boolean): Promise<WatchEvent[]>;
  close(): void;
}

export interface WatchEvent {
  type: string;
  object: Fields;
}

export async function openWatch(
  client: Client,
  path: string,
  query: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<RawWatch> {
  const abort = new AbortController();
  const answer = await client.request('GET', path, {
    query: { ...query, watch: 'true' },
    headers,
    signal: abort.signal,
  });
  const lines = readLines(answer.body);
  return {
    until: async (isLast) => {
      const events: WatchEvent[] = [];
      for (;;) {
        const { value, done } = await lines.next();
        if (done) throw new Error(`the watch ended after ${JSON.stringify(events)}`);
        const event = JSON.parse(value);
        events.push(event);
        if (isLast(event)) return events;
      }
    },
    close: () => abort.abort(),
  };
}

async function* readLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + Buffer.from(chunk).toString()).split('\n');
    rest = lines.pop()!;
    yield* lines;
  }
}

/** The Status that a request is answered with. */
export async function failureOf(answer: Promise<unknown>): Promise<Fields> {
  try {
    await answer;
  } catch (error) {
    const { status } = error as { status?: Fields };
    if (status !== undefined) return status;
    throw error;
  }
  throw new Error('the request did not fail');
}
