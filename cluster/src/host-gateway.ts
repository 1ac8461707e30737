/** Lets the host in: a TCP listener on 127.0.0.1 that passes each connection through a Unix socket, which no network namespace hides. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { MeshError } from '@tulle/api';

/** kubectl and the mesh's own clients together have some tens; a leak shall not take all file descriptors. */
const CONNECTIONS_MAX = 1024;

/** `port` is taken when it is free; when it is not, another is, unless it `isRequired`. */
export async function startHostGateway(
  socketPath: string,
  port: number | undefined,
  isRequired: boolean,
): Promise<AsyncDisposable & { port: number }> {
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (outer) => {
    const inner = connect({ path: socketPath, allowHalfOpen: true });
    for (const [from, to] of [
      [outer, inner],
      [inner, outer],
    ] as const) {
      open.add(from);
      from.on('close', () => {
        open.delete(from);
        to.destroy();
      });
      from.on('error', () => to.destroy());
      from.pipe(to);
    }
  });
  server.maxConnections = CONNECTIONS_MAX;
  try {
    await listen(server, port ?? 0);
  } catch (error) {
    if (isRequired)
      throw new MeshError('UNAVAILABLE', `listen on 127.0.0.1:${port}: ${(error as Error).message}`, { cause: error });
    await listen(server, 0);
  }
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}
