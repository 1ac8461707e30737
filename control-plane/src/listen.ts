/** Binding servers to addresses written as `host:port` or `:port`. */
import type { Server } from 'node:net';
import { MeshError } from '@tulle/api';

/**
 * Resolves with the port once the server listens. Without a host, on all addresses of both families, or of IPv4 where
 * the machine has no IPv6. @throws MeshError naming the address.
 */
export async function listen(server: Server, address: string): Promise<number> {
  const split = splitAddress(address);
  if (!split) throw new MeshError('INVALID_ARGUMENT', `listen on "${address}": not host:port`);
  const { host, port } = split;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('listening', resolve);
  server.once('error', reject);
  if (host === '') server.listen(port);
  else server.listen(port, host);
  try {
    await promise;
  } catch (cause) {
    throw new MeshError('UNAVAILABLE', `listen on ${address}: ${MeshError.from(cause).message}`, { cause });
  } finally {
    server.off('error', reject);
  }
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : port;
}

export function splitAddress(address: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(address);
  if (!match) return undefined;
  const port = Number(match[3]);
  return port <= 65535 ? { host: match[1] ?? match[2] ?? '', port } : undefined;
}
