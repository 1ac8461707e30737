/** What an agent can be told to do: one call of each protocol, each with all that a test wants to see of the answer. */
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { WebSocket } from 'ws';
import { Echo } from '../gen/echo_pb.ts';
import { runLoad } from './load.ts';

const TIMEOUT_MS = 15_000;

interface HttpArgs {
  url: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  trailers?: Record<string, string>;
  timeoutMs?: number;
}

interface TcpArgs {
  host: string;
  port: number;
  send?: string;
  /** Ends our half before reading, as a client that waits for the peer's end does. */
  isHalfClosed?: boolean;
  /** Reads until this many bytes have come. */
  readBytes?: number;
  timeoutMs?: number;
}

export const calls = {
  http: httpCall,
  http2: http2Call,
  grpc: grpcCall,
  webSocket: webSocketCall,
  tcp: tcpCall,
  load: runLoad,
};

export function httpCall({ url, method = 'GET', headers = {}, body, trailers, timeoutMs = TIMEOUT_MS }: HttpArgs) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent: false, timeout: timeoutMs }, async (response) => {
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({
          status: response.statusCode,
          headers: response.headers,
          trailers: response.trailers,
          body: text,
          httpVersion: response.httpVersion,
        });
      } catch (error) {
        reject(error);
      }
    });
    request.on('timeout', () => request.destroy(new Error(`${method} ${url}: no answer in ${timeoutMs} ms`)));
    request.on('error', reject);
    if (trailers) {
      request.setHeader('trailer', Object.keys(trailers).join(', '));
      request.setHeader('transfer-encoding', 'chunked');
      request.addTrailers(trailers);
    }
    request.end(body);
  });
}

function http2Call({
  origin,
  path = '/',
  headers = {},
}: {
  origin: string;
  path?: string;
  headers?: Record<string, string>;
}) {
  return new Promise((resolve, reject) => {
    const session = http2.connect(origin);
    session.on('error', reject);
    const stream = session.request({ ':path': path, ...headers });
    stream.setTimeout(TIMEOUT_MS, () => stream.destroy(new Error(`GET ${origin}${path}: no answer`)));
    const answer = { status: 0, headers: {} as Record<string, unknown>, body: '' };
    stream.on('response', (got) => {
      answer.status = Number(got[':status']);
      answer.headers = { ...got };
    });
    stream.setEncoding('utf8');
    stream.on('data', (chunk) => {
      answer.body += chunk;
    });
    stream.on('error', (error) => {
      session.destroy();
      reject(error);
    });
    stream.on('end', () => {
      session.close();
      resolve(answer);
    });
    stream.end();
  });
}

type GrpcShape = 'unary' | 'serverStream' | 'clientStream' | 'bidiStream';

async function grpcCall(args: {
  origin: string;
  shape: GrpcShape;
  texts?: string[];
  status?: number;
  delayMs?: number;
  timeoutMs?: number;
}) {
  const { origin, shape, texts = ['a', 'b', 'c'], status = 0, delayMs = 0, timeoutMs = TIMEOUT_MS } = args;
  const client = createClient(Echo, createGrpcTransport({ baseUrl: origin, defaultTimeoutMs: timeoutMs }));
  const request = { text: texts[0] ?? '', status, delayMs, count: texts.length };
  async function* requests() {
    for (const text of texts) yield { text, status, delayMs };
  }
  try {
    switch (shape) {
      case 'unary':
        return { code: 0, answers: [await client.unary(request)] };
      case 'clientStream':
        return { code: 0, answers: [await client.clientStream(requests())] };
      case 'serverStream':
        return { code: 0, answers: await Array.fromAsync(client.serverStream(request)) };
      case 'bidiStream':
        return { code: 0, answers: await Array.fromAsync(client.bidiStream(requests())) };
    }
  } catch (error) {
    const failure = ConnectError.from(error);
    return { code: failure.code, message: failure.rawMessage, answers: [] };
  }
}

function webSocketCall({ url, messages = ['one', 'two'] }: { url: string; messages?: string[] }) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { handshakeTimeout: TIMEOUT_MS });
    const answers: string[] = [];
    socket.on('error', reject);
    socket.on('open', () => {
      for (const message of messages) socket.send(message);
    });
    socket.on('message', (data) => {
      answers.push(String(data));
      if (answers.length === messages.length) socket.close(1000);
    });
    socket.on('close', (code) => resolve({ code, answers }));
  });
}

function tcpCall({ host, port, send, isHalfClosed = false, readBytes, timeoutMs = TIMEOUT_MS }: TcpArgs) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
    let received = '';
    socket.setTimeout(timeoutMs, () =>
      socket.destroy(new Error(`tcp ${host}:${port}: nothing for ${timeoutMs} ms after ${received.length} bytes`)),
    );
    socket.setEncoding('utf8');
    socket.on('connect', () => {
      if (send) socket.write(send);
      if (isHalfClosed) socket.end();
    });
    socket.on('data', (chunk) => {
      received += chunk;
      if (readBytes !== undefined && received.length >= readBytes) socket.end();
    });
    socket.on('end', () => {
      socket.end();
      // A refused connection may end as well as break off: what was asked for has not come in either case.
      if (received.length < (readBytes ?? 0))
        reject(new Error(`tcp ${host}:${port}: closed after ${received.length} of ${readBytes} bytes`));
      else resolve({ received });
    });
    socket.on('error', reject);
  });
}
