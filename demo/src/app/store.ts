/**
 * Workload `store`: counts votes in memory behind a line protocol over plain TCP on STORE_PORT (default 7000).
 * `VOTE name` answers `OK count`; `TOP` answers `name count` lines and a closing `.`; anything else answers `ERR reason`.
 */
import net from 'node:net';

/** A longer line is no command of this protocol; the connection is closed. */
const LINE_BYTES_MAX = 1024;

export async function startStore(env: NodeJS.ProcessEnv): Promise<AsyncDisposable> {
  const votes = new Map<string, number>();
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) socket.write(answer(votes, line.trim()));
      if (rest.length > LINE_BYTES_MAX) socket.destroy();
    });
    socket.on('end', () => socket.end());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(Number(env.STORE_PORT ?? 7000), '::', resolve),
  );
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.end();
    },
  };
}

function answer(votes: Map<string, number>, line: string): string {
  const [command, name] = line.split(' ');
  if (command === 'VOTE' && name) {
    const count = (votes.get(name) ?? 0) + 1;
    votes.set(name, count);
    return `OK ${count}\n`;
  }
  if (command === 'TOP') {
    const top = [...votes].sort((a, b) => b[1] - a[1]).map(([n, count]) => `${n} ${count}\n`);
    return `${top.join('')}.\n`;
  }
  return `ERR unknown command ${JSON.stringify(line.slice(0, 40))}\n`;
}
