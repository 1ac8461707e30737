/**
 * Calls what a test tells it to, from inside a pod. The test reaches it by port-forward on 127.0.0.1:9900 (loopback of the pod,
 * so no proxy is on that way): POST /run with `{ "call": name, …arguments }` answers the call's result as JSON, or 500 with the error.
 */
import http from 'node:http';
import { calls } from './calls.ts';

const CONTROL_PORT = 9900;
const BODY_BYTES_MAX = 1024 * 1024;

export async function startAgent(): Promise<AsyncDisposable> {
  const server = http.createServer(async (request, response) => {
    try {
      const { call, ...args } = JSON.parse(await readBody(request));
      const run = calls[call as keyof typeof calls];
      if (!run) throw new Error(`call ${JSON.stringify(call)} is not one of ${Object.keys(calls).join(', ')}`);
      response.end(JSON.stringify(await run(args)));
    } catch (error) {
      response.statusCode = 500;
      response.end(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  });
  server.requestTimeout = 0;
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(CONTROL_PORT, '127.0.0.1', resolve));
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function readBody(request: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > BODY_BYTES_MAX) throw new Error('control request is too large');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
