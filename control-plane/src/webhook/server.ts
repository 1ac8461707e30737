/** HTTPS for admission webhooks: reads bounded bodies, and takes up a new certificate when its files change. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { MeshError } from '@tulle/api';
import { listen } from '../listen.ts';

/** An object may have 3 MiB in an API server, and a review holds it up to twice. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** The kubelet renews mounted Secrets about once a minute. */
const RELOAD_MS = 5_000;
/** The API server waits 10 s for a webhook: nobody reads an answer that comes later. */
const REQUEST_MS_MAX = 15_000;

export interface WebhookAnswer {
  status: number;
  body: string;
}

export interface WebhookServerOptions {
  /** `host:port` or `:port`. */
  address: string;
  /** Folder with `tls.crt` and `tls.key`. */
  certDir: string;
  /** Must not throw. */
  handle(path: string, body: string): Promise<WebhookAnswer>;
  onReload?(error?: MeshError): void;
}

export interface WebhookServer {
  port: number;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Throws when the certificate cannot be loaded or the port is taken. */
export async function startWebhookServer(options: WebhookServerOptions): Promise<WebhookServer> {
  let loaded = await loadCertificate(options.certDir);
  const server = createServer(
    { ...loaded, minVersion: 'TLSv1.2', requestTimeout: REQUEST_MS_MAX },
    (request, response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const answer = (status: number, body: string) => {
        if (response.headersSent) return;
        const type = body.startsWith('{') ? 'application/json' : 'text/plain; charset=utf-8';
        response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
      };
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
        else chunks.length = 0;
      });
      request.on('error', () => response.destroy());
      request.on('end', async () => {
        if (request.method !== 'POST') return answer(405, 'want POST with an AdmissionReview\n');
        if (bytes > BODY_BYTES_MAX) return answer(413, `body has more than ${BODY_BYTES_MAX} bytes\n`);
        const { status, body } = await options.handle(request.url ?? '/', Buffer.concat(chunks).toString('utf8'));
        answer(status, body);
      });
    },
  );
  const port = await listen(server, options.address);

  const timer = setInterval(async () => {
    try {
      const next = await loadCertificate(options.certDir);
      if (next.cert === loaded.cert && next.key === loaded.key) return;
      server.setSecureContext(next);
      loaded = next;
      options.onReload?.();
    } catch (error) {
      options.onReload?.(MeshError.from(error));
    }
  }, RELOAD_MS).unref();

  return {
    port,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      server.closeIdleConnections();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

async function loadCertificate(dir: string): Promise<{ cert: string; key: string }> {
  const read = async (name: string) => {
    const path = join(dir, name);
    const text = await readFile(path, 'utf8').catch((error) => {
      throw new MeshError('FAILED_PRECONDITION', `load webhook certificate from ${path}: ${error.message}`, {
        cause: error,
      });
    });
    if (!text.includes('-----BEGIN'))
      throw new MeshError('FAILED_PRECONDITION', `load webhook certificate from ${path}: not PEM`);
    return text;
  };
  return { cert: await read('tls.crt'), key: await read('tls.key') };
}
