/** Cluster DNS over UDP and TCP. */

import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { answerDns, type DnsRecords } from './dns-message.ts';
import { isIpv6 } from './interfaces.ts';

/** TCP is for answers that do not fit; a client keeps a connection only for a moment. */
const TCP_IDLE_MS = 10_000;
const TCP_CONNECTIONS_MAX = 256;

export interface DnsServerOptions {
  records: DnsRecords;
  domain: string;
  addresses: string[];
  /** 53; 0 takes any free one. */
  port: number;
}

export interface DnsServer extends AsyncDisposable {
  /** The port of the first address. */
  port: number;
}

export async function startDnsServer({ records, domain, addresses, port }: DnsServerOptions): Promise<DnsServer> {
  const udp: UdpSocket[] = [];
  const tcp: Server[] = [];
  const connections = new Set<Socket>();
  let bound = port;
  for (const address of addresses) {
    const server = createServer((socket) => {
      connections.add(socket);
      socket.once('close', () => connections.delete(socket));
      serveTcp(socket, records, domain);
    });
    server.maxConnections = TCP_CONNECTIONS_MAX;
    server.listen(bound, address);
    await once(server, 'listening');
    tcp.push(server);
    const listening = server.address();
    if (listening && typeof listening === 'object') bound = listening.port;
    const socket = createSocket(isIpv6(address) ? 'udp6' : 'udp4');
    socket.on('message', (query, from) => {
      const answer = answerDns(query, records, domain, true);
      if (answer) socket.send(answer, from.port, from.address, () => {}); // the asker asks again
    });
    socket.bind(bound, address);
    await once(socket, 'listening');
    udp.push(socket);
  }
  return {
    port: bound,
    async [Symbol.asyncDispose]() {
      for (const socket of udp) socket.close();
      for (const connection of connections) connection.destroy();
      await Promise.all(tcp.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

/** Each message has its length before it. */
function serveTcp(socket: Socket, records: DnsRecords, domain: string): void {
  let input: Buffer = Buffer.alloc(0);
  socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    input = Buffer.concat([input, chunk]);
    while (input.length >= 2 && input.length >= 2 + input.readUInt16BE(0)) {
      const end = 2 + input.readUInt16BE(0);
      const answer = answerDns(input.subarray(2, end), records, domain, false);
      input = input.subarray(end);
      if (!answer) return void socket.destroy();
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      socket.write(Buffer.concat([length, answer]));
    }
  });
}
