/** The admin server: `/live`, `/ping`, `/ready`, `/metrics`. */
import { createServer } from 'node:http';
import { listen } from './listen.ts';
import type { MetricRegistry } from './metric-registry.ts';

export interface AdminOptions {
  address: string;
  metrics: MetricRegistry;
  /** What is still missing; empty when ready. */
  notReady: () => string[];
}

export async function startAdmin(options: AdminOptions): Promise<AsyncDisposable & { port: number }> {
  const server = createServer((request, response) => {
    const reply = (status: number, text: string, type = 'text/plain; charset=utf-8') => {
      response.writeHead(status, { 'content-type': type });
      response.end(request.method === 'HEAD' ? undefined : text);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      reply(405, 'method not allowed\n');
      return;
    }
    switch ((request.url ?? '').split('?')[0]) {
      case '/live':
        reply(200, 'live\n');
        return;
      case '/ping':
        reply(200, 'pong\n');
        return;
      case '/ready': {
        const missing = options.notReady();
        reply(
          missing.length === 0 ? 200 : 503,
          missing.length === 0 ? 'ready\n' : `not ready: ${missing.join(', ')}\n`,
        );
        return;
      }
      case '/metrics':
        reply(200, options.metrics.render(), 'text/plain; version=0.0.4; charset=utf-8');
        return;
      default:
        reply(404, 'not found\n');
    }
  });
  const port = await listen(server, options.address);
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      await promise;
    },
  };
}
