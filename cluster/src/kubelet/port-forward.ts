/**
 * Port-forward over a WebSocket (v4.channel.k8s.io): each port has a data and an error channel, 2n and 2n+1; the first
 * byte of a message is its channel, and each channel begins with its port, two bytes, low byte first.
 */

import type { Socket } from 'node:net';
import { MeshError } from '@tulle/api';
import type { WebSocket } from 'ws';

export const PORT_FORWARD_PROTOCOLS = ['v4.channel.k8s.io'];
/** Above this the pod is read no further until the client has taken some of it. */
const BUFFERED_BYTES_MAX = 1 << 20;

/** Connects each port at once; the connection ends with the WebSocket, and the other way round. */
export function servePortForward(webSocket: WebSocket, ports: number[], dial: (port: number) => Promise<Socket>): void {
  const streams = new Map<number, Promise<Socket | undefined>>();
  let open = ports.length;
  if (ports.length === 0 || ports.some((port) => !Number.isInteger(port) || port < 1 || port > 65535)) {
    webSocket.close(1002, 'port is missing or not a number');
    return;
  }

  for (const [index, port] of ports.entries()) {
    const number = Buffer.from([port & 0xff, port >> 8]);
    send(index * 2, number);
    send(index * 2 + 1, number);
    streams.set(index * 2, connect(index * 2, port));
  }

  webSocket.on('message', (data) => {
    const message = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
    const stream = streams.get(message[0] ?? -1);
    if (!stream || message.length < 2) return;
    void stream.then((socket) => {
      if (!socket || socket.destroyed) return;
      if (socket.write(message.subarray(1))) return;
      webSocket.pause();
      socket.once('drain', () => webSocket.resume());
    });
  });
  webSocket.on('error', () => webSocket.terminate());
  webSocket.on('close', () => {
    for (const stream of streams.values()) void stream.then((socket) => socket?.destroy());
  });

  async function connect(channel: number, port: number): Promise<Socket | undefined> {
    let socket: Socket;
    try {
      socket = await dial(port);
    } catch (error) {
      const { message } = MeshError.from(error);
      send(channel + 1, Buffer.from(`connect to port ${port} in the pod: ${message}`));
      finish();
      return undefined;
    }
    socket.on('data', (chunk: Buffer) => {
      send(channel, chunk);
      if (webSocket.bufferedAmount < BUFFERED_BYTES_MAX) return;
      socket.pause();
      waitUntilSent(socket);
    });
    socket.on('error', (error) => send(channel + 1, Buffer.from(`port ${port} in the pod: ${error.message}`)));
    socket.on('close', finish);
    return socket;
  }

  /** A ping is sent after what is queued, so its callback comes when that is out. */
  function waitUntilSent(socket: Socket): void {
    if (webSocket.readyState !== webSocket.OPEN) return;
    webSocket.ping(undefined, undefined, () => socket.resume());
  }

  function send(channel: number, data: Buffer): void {
    if (webSocket.readyState === webSocket.OPEN) webSocket.send(Buffer.concat([Buffer.from([channel]), data]));
  }

  function finish(): void {
    open--;
    if (open === 0) webSocket.close(1000);
  }
}
