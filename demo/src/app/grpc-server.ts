/** Serves gRPC over HTTP/2 without TLS (the mesh adds it), and drains: open calls end before the process does. */
import http2 from 'node:http2';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';

/** Time from SIGTERM until the listener closes: the endpoints of a Service need that long to forget this pod. */
const CLOSE_DELAY_MS = 1000;

export async function serveGrpc(port: number, routes: (router: ConnectRouter) => void): Promise<AsyncDisposable> {
  const sessions = new Set<http2.Http2Session>();
  const server = http2.createServer(connectNodeAdapter({ routes, connect: false, grpcWeb: false }));
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => session.destroy());
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '::', resolve));
  return {
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => setTimeout(resolve, CLOSE_DELAY_MS));
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.close();
      await closed;
    },
  };
}
