/**
 * One connection to a port of a pod over a WebSocket with the sub-protocol `v4.channel.k8s.io`: the first byte of a
 * message is its channel, 0 for data and 1 for an error's text; on each the server first sends the port's number.
 */

import { connect as connectUnix } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { MeshError } from '@tulle/api';
import type WebSocket from 'ws';
import type { ClusterConfig } from './cluster-config.ts';
import { errorFromAnswer, errorFromConnection } from './status-error.ts';
import type { Transport } from './transport.ts';

export interface PortForwardTarget {
  namespace: string;
  pod: string;
  port: number;
}

const SUBPROTOCOL = 'v4.channel.k8s.io';
const DATA_CHANNEL = 0;
const ERROR_CHANNEL = 1;
/** The port's number at the start of each channel. */
const PREAMBLE_BYTES = 2;
/** Opening it goes through API server, node agent and pod. */
const OPEN_MS_MAX = 30_000;
/** A message is copied whole; both ends use 32 KiB and less. */
const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
/** An answer that refuses the upgrade is a `Status`. */
const REFUSAL_BYTES_MAX = 64 * 1024;

/** Resolves once the API server has accepted; the pod refusing the connection comes as an error of the stream. */
export async function openPortForward(
  transport: Transport,
  config: ClusterConfig,
  target: PortForwardTarget,
  signal: AbortSignal,
): Promise<Duplex> {
  const doing = `port-forward to ${target.namespace}/${target.pod}:${target.port}`;
  const { default: WebSocketClient } = await import('ws');
  const { url, tls, headers } = await transport.upgradeOptions();
  const { namespace, pod, port } = target;
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/api/v1/namespaces/${namespace}/pods/${pod}/portforward`;
  url.search = `?ports=${port}`;
  const isTls = url.protocol === 'https:';
  url.protocol = isTls ? 'wss:' : 'ws:';
  const { socketPath } = config;
  const throughSocket = socketPath
    ? {
        createConnection: () => {
          const plain = connectUnix(socketPath);
          return isTls
            ? connectTls({ ...tls, servername: config.tlsServerName ?? url.hostname, socket: plain })
            : plain;
        },
      }
    : {};
  if (signal.aborted) throw errorFromConnection(signal.reason, doing, signal);
  const socket = new WebSocketClient(url, SUBPROTOCOL, {
    ...tls,
    ...throughSocket,
    headers: headers as Record<string, string>,
    handshakeTimeout: OPEN_MS_MAX,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
  });
  // Listens before it is open: the server's first messages may come with its answer.
  const stream = duplexOver(socket, doing, signal);
  await opened(socket, doing, signal);
  return stream;
}

function opened(socket: WebSocket, doing: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('open', () => {
      // What comes now waits for the first read: an error must find the caller listening.
      socket.pause();
      resolve();
    });
    socket.once('error', (error) => reject(errorFromConnection(error, doing, signal)));
    socket.once('unexpected-response', (_request, response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        if (text.length < REFUSAL_BYTES_MAX) text += chunk;
      });
      response.on('close', () => {
        reject(errorFromAnswer(response.statusCode ?? 0, text, doing));
        socket.terminate();
      });
    });
  });
}

function duplexOver(socket: WebSocket, doing: string, signal: AbortSignal): Duplex {
  const preambleLeft = [PREAMBLE_BYTES, PREAMBLE_BYTES];
  const stream = new Duplex({
    read() {
      socket.resume();
    },
    write(chunk: Buffer, _encoding, done) {
      const message = Buffer.allocUnsafe(chunk.length + 1);
      message[0] = DATA_CHANNEL;
      chunk.copy(message, 1);
      socket.send(message, (error) => done(error ?? null));
    },
    // NOTE: the sub-protocol cannot say that one side has ended; the pod sees the end when the stream is destroyed.
    final(done) {
      done();
    },
    destroy(error, done) {
      signal.removeEventListener('abort', abort);
      socket.terminate();
      done(error);
    },
  });
  let isOpen = false;
  const fail = (error: MeshError) => {
    // Before it is open nobody has the stream: `opened` tells of the failure.
    if (isOpen) stream.destroy(error);
    else socket.terminate();
  };
  const abort = () => fail(errorFromConnection(signal.reason, doing, signal));
  socket.on('open', () => {
    isOpen = true;
  });
  signal.addEventListener('abort', abort);

  socket.on('message', (data: Buffer) => {
    const channel = data[0];
    if (channel !== DATA_CHANNEL && channel !== ERROR_CHANNEL) return;
    const skipped = Math.min(preambleLeft[channel] ?? 0, data.length - 1);
    preambleLeft[channel] = (preambleLeft[channel] ?? 0) - skipped;
    const content = data.subarray(1 + skipped);
    if (content.length === 0) return;
    if (channel === ERROR_CHANNEL) {
      fail(new MeshError('UNAVAILABLE', `${doing}: ${content.toString('utf8').trim()}`));
    } else if (!stream.push(content)) {
      socket.pause();
    }
  });
  socket.on('close', () => {
    signal.removeEventListener('abort', abort);
    if (stream.destroyed) return;
    stream.push(null);
    stream.end();
  });
  socket.on('error', (error) => {
    if (isOpen) stream.destroy(errorFromConnection(error, doing, signal));
  });
  return stream;
}
