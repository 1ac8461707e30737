/**
 * HTTP/1.1 to one API server over kept-alive connections (TLS, or plain for tests, or through a Unix socket), with
 * the credentials and impersonation headers of its configuration.
 */

import * as http from 'node:http';
import * as https from 'node:https';
import { MeshError } from '@tulle/api';
import { sleep } from './backoff.ts';
import type { ClusterConfig } from './cluster-config.ts';
import { errorFromAnswer, errorFromConnection } from './status-error.ts';

export interface RequestOptions {
  /** Sent as JSON, or as it is when a string or bytes. */
  body?: unknown;
  contentType?: string;
  query?: Record<string, string>;
  signal?: AbortSignal;
  headers?: Record<string, string>;
  /** An answer without end (watch, logs): its own pool of connections, and no limit of time between bytes. */
  streaming?: boolean;
}

/** Its body must be read to the end, or its signal aborted, for the connection to be used again. */
export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: AsyncIterable<Uint8Array>;
  json<T>(): Promise<T>;
  text(): Promise<string>;
}

export interface Transport {
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  /** URL, TLS options and headers for a WebSocket to the same server. */
  upgradeOptions(): Promise<{ url: URL; tls: https.AgentOptions; headers: http.OutgoingHttpHeaders }>;
  close(): void;
}

/** More requests than this wait: a control loop gone wild must not take the server down. */
const CONNECTIONS_MAX = 32;
/** One per watched kind and followed log; far above what one process watches. */
const STREAMS_MAX = 512;
const IDLE_CONNECTIONS_MAX = 8;
/** Below the idle limits of servers and load balancers on the way (60 s and more). */
const IDLE_CONNECTION_MS = 50_000;
/** An API server's own limit for a request is 60 s. */
const SILENCE_MS_MAX = 65_000;
/** A list of everything in a large cluster comes in pages far below this. */
const BODY_BYTES_MAX = 256 * 1024 * 1024;
/** Attempts for one request that the server asks to repeat (429 with `Retry-After`). */
const ATTEMPTS_MAX = 5;
/** A server may ask for any wait; longer is the caller's to decide. */
const RETRY_AFTER_MS_MAX = 5_000;

export function createTransport(config: ClusterConfig): Transport {
  const base = parseServer(config.server);
  const isTls = base.protocol === 'https:';
  const prefix = base.pathname.replace(/\/+$/, '');
  const tls: https.AgentOptions = isTls
    ? {
        ca: config.caPem,
        cert: config.clientCertPem,
        key: config.clientKeyPem,
        rejectUnauthorized: !config.insecureSkipTlsVerify,
        ...(config.tlsServerName ? { servername: config.tlsServerName } : {}),
      }
    : {};
  const agentOptions = { ...tls, keepAlive: true, maxFreeSockets: IDLE_CONNECTIONS_MAX, timeout: IDLE_CONNECTION_MS };
  const newAgent = (maxSockets: number) =>
    isTls ? new https.Agent({ ...agentOptions, maxSockets }) : new http.Agent({ ...agentOptions, maxSockets });
  const requests = newAgent(CONNECTIONS_MAX);
  const streams = newAgent(STREAMS_MAX);

  async function credentials(): Promise<http.OutgoingHttpHeaders> {
    const headers: http.OutgoingHttpHeaders = { 'user-agent': 'tulle' };
    if (config.token) headers.authorization = `Bearer ${await config.token()}`;
    if (config.asUser) headers['impersonate-user'] = config.asUser;
    if (config.asGroups?.length) headers['impersonate-group'] = config.asGroups;
    return headers;
  }

  function send(method: string, target: string, headers: http.OutgoingHttpHeaders, options: RequestOptions) {
    return new Promise<http.IncomingMessage>((resolve, reject) => {
      const body = encodeBody(options.body);
      const request = (isTls ? https : http).request({
        method,
        host: base.hostname.replace(/^\[|\]$/g, ''),
        port: base.port || (isTls ? 443 : 80),
        ...(config.socketPath ? { socketPath: config.socketPath } : {}),
        path: target,
        headers: body ? { ...headers, 'content-length': body.byteLength } : headers,
        agent: options.streaming ? streams : requests,
        ...(options.signal ? { signal: options.signal } : {}),
        ...(options.streaming ? { timeout: 0 } : { timeout: SILENCE_MS_MAX }),
      });
      request.on('response', resolve);
      request.on('error', (error: NodeJS.ErrnoException) => {
        // The server may close an idle connection just as it is taken; asking again is safe for a read alone.
        if (request.reusedSocket && error.code === 'ECONNRESET' && method === 'GET' && !options.signal?.aborted) {
          send(method, target, headers, options).then(resolve, reject);
        } else {
          reject(error);
        }
      });
      request.on('timeout', () => request.destroy(new Error(`no answer within ${SILENCE_MS_MAX} ms`)));
      request.end(body);
    });
  }

  async function request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const query = new URLSearchParams(options.query ?? {}).toString();
    const target = prefix + path + (query ? `${path.includes('?') ? '&' : '?'}${query}` : '');
    const doing = `${method} ${base.origin}${prefix}${path}`;
    for (let attempt = 1; ; attempt++) {
      const headers: http.OutgoingHttpHeaders = {
        accept: 'application/json',
        ...(await credentials()),
        ...(options.body === undefined ? {} : { 'content-type': options.contentType ?? 'application/json' }),
        ...options.headers,
      };
      let message: http.IncomingMessage;
      try {
        message = await send(method, target, headers, options);
      } catch (error) {
        throw errorFromConnection(error, doing, options.signal);
      }
      const status = message.statusCode ?? 0;
      if (status < 400) return answerFrom(message, doing, options.signal);
      const text = await readText(message, doing, options.signal);
      const retryAfterS = Number(message.headers['retry-after']);
      if (status !== 429 || !(retryAfterS >= 0) || attempt === ATTEMPTS_MAX || options.signal?.aborted) {
        throw errorFromAnswer(status, text, doing);
      }
      await sleep(Math.min(retryAfterS * 1000, RETRY_AFTER_MS_MAX), options.signal);
    }
  }

  return {
    request,
    async upgradeOptions() {
      return { url: new URL(base), tls, headers: await credentials() };
    },
    close() {
      requests.destroy();
      streams.destroy();
    },
  };
}

function parseServer(server: string): URL {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') {
    throw new MeshError('INVALID_ARGUMENT', `connect to API server ${server}: not an http or https URL`);
  }
  return url;
}

function encodeBody(body: unknown): Uint8Array | undefined {
  if (body === undefined) return undefined;
  if (body instanceof Uint8Array) return body;
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
}

function answerFrom(message: http.IncomingMessage, doing: string, signal: AbortSignal | undefined): Answer {
  const text = () => readText(message, doing, signal);
  return {
    status: message.statusCode ?? 0,
    headers: message.headers,
    body: readBody(message, doing, signal),
    text,
    async json<T>() {
      const body = await text();
      try {
        return JSON.parse(body) as T;
      } catch (cause) {
        throw new MeshError('INTERNAL', `${doing}: the answer is not JSON`, { cause });
      }
    },
  };
}

async function* readBody(message: http.IncomingMessage, doing: string, signal: AbortSignal | undefined) {
  try {
    for await (const chunk of message) yield chunk as Uint8Array;
  } catch (error) {
    throw errorFromConnection(error, doing, signal);
  }
}

async function readText(message: http.IncomingMessage, doing: string, signal: AbortSignal | undefined) {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of readBody(message, doing, signal)) {
    bytes += chunk.byteLength;
    if (bytes > BODY_BYTES_MAX) {
      throw new MeshError('RESOURCE_EXHAUSTED', `${doing}: the answer is larger than ${BODY_BYTES_MAX} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
