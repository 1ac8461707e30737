/** What probes and lifecycle hooks do: an HTTP request, a connect, a gRPC health check, a command in the container. */

import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { connect } from 'node:net';
import { type Container, MeshError } from '@tulle/api';

export interface Action {
  exec?: { command?: string[] };
  httpGet?: {
    host?: string;
    port: number | string;
    path?: string;
    scheme?: string;
    httpHeaders?: { name: string; value: string }[];
  };
  tcpSocket?: { host?: string; port: number | string };
  grpc?: { port: number; service?: string };
  sleep?: { seconds: number };
}

export interface ActionTarget {
  podIp: string;
  container: Container;
  /** Runs a command in the container; its exit code and output. */
  exec(command: string[], signal: AbortSignal): Promise<{ exitCode: number; output: string }>;
}

/** What a failed probe's event shows of a body. */
const BODY_BYTES_MAX = 1024;
const USER_AGENT = 'kube-probe/1.34';
const SERVING = 1;

/** Resolves when it succeeds; else throws a MeshError whose message is what an event shows. */
export async function runAction(action: Action, target: ActionTarget, timeoutMs: number): Promise<void> {
  const signal = AbortSignal.timeout(Math.ceil(timeoutMs));
  try {
    if (action.httpGet) await httpGet(action.httpGet, target, signal);
    else if (action.tcpSocket) await tcpConnect(action.tcpSocket, target, signal);
    else if (action.grpc) await grpcHealth(action.grpc, target, signal);
    else if (action.exec) await runCommand(action.exec.command ?? [], target, signal);
    else if (action.sleep) await new Promise((resolve) => setTimeout(resolve, (action.sleep?.seconds ?? 0) * 1000));
  } catch (cause) {
    if (signal.aborted) throw new MeshError('DEADLINE_EXCEEDED', `no answer within ${timeoutMs / 1000}s`, { cause });
    throw cause;
  }
}

export function portNumber(container: Container, port: number | string): number {
  const named = container.ports?.find(({ name }) => name === port)?.containerPort;
  const number = named ?? Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65535)
    throw new MeshError('FAILED_PRECONDITION', `port "${port}" is not in container ${container.name}`);
  return number;
}

async function httpGet(get: NonNullable<Action['httpGet']>, target: ActionTarget, signal: AbortSignal): Promise<void> {
  const isHttps = get.scheme?.toUpperCase() === 'HTTPS';
  const host = get.host || target.podIp;
  const port = portNumber(target.container, get.port);
  const path = get.path?.startsWith('/') ? get.path : `/${get.path ?? ''}`;
  const name = host.includes(':') ? `[${host}]` : host;
  const headers: Record<string, string> = { host: `${name}:${port}`, 'user-agent': USER_AGENT, accept: '*/*' };
  for (const { name: header, value } of get.httpHeaders ?? []) headers[header.toLowerCase()] = value;
  const { status, body } = await new Promise<{ status: number; body: string }>((resolve, reject) => {
    const options = { host, port, path, headers, agent: false, signal, rejectUnauthorized: false };
    const request = (isHttps ? https : http).get(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        if (text.length < BODY_BYTES_MAX) text += chunk.slice(0, BODY_BYTES_MAX - text.length);
      });
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      response.once('error', reject);
    });
    request.once('error', (error) =>
      reject(
        new MeshError(
          'UNAVAILABLE',
          `Get "${get.scheme?.toLowerCase() ?? 'http'}://${name}:${port}${path}": ${error.message}`,
        ),
      ),
    );
  });
  if (status < 200 || status >= 400)
    throw new MeshError('UNAVAILABLE', `HTTP probe failed with statuscode: ${status}${body ? `: ${body}` : ''}`);
}

async function tcpConnect(
  to: NonNullable<Action['tcpSocket']>,
  target: ActionTarget,
  signal: AbortSignal,
): Promise<void> {
  const port = portNumber(target.container, to.port);
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host: to.host || target.podIp, port, signal });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });
}

async function runCommand(command: string[], target: ActionTarget, signal: AbortSignal): Promise<void> {
  const { exitCode, output } = await target.exec(command, signal);
  if (exitCode !== 0) throw new MeshError('UNAVAILABLE', output.trim() || `command ended with exit code ${exitCode}`);
}

/** grpc.health.v1.Health/Check, written by hand: one string field there, one enum field back. */
async function grpcHealth(
  check: NonNullable<Action['grpc']>,
  target: ActionTarget,
  signal: AbortSignal,
): Promise<void> {
  const host = target.podIp.includes(':') ? `[${target.podIp}]` : target.podIp;
  const session = http2.connect(`http://${host}:${check.port}`);
  try {
    const answer = await new Promise<{ grpcStatus: string; body: Buffer }>((resolve, reject) => {
      session.once('error', reject);
      const stream = session.request(
        {
          ':method': 'POST',
          ':path': '/grpc.health.v1.Health/Check',
          'content-type': 'application/grpc',
          'user-agent': USER_AGENT,
          te: 'trailers',
        },
        { signal },
      );
      const chunks: Buffer[] = [];
      let grpcStatus = '';
      const note = (headers: http2.IncomingHttpHeaders) => {
        grpcStatus = String(headers['grpc-status'] ?? grpcStatus);
      };
      stream.on('response', note).on('trailers', note);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.once('error', reject);
      stream.once('close', () => resolve({ grpcStatus, body: Buffer.concat(chunks) }));
      stream.end(healthRequest(check.service ?? ''));
    });
    if (answer.grpcStatus !== '0')
      throw new MeshError('UNAVAILABLE', `gRPC health check failed with status ${answer.grpcStatus || 'none'}`);
    const status = answer.body[5] === 0x08 ? answer.body[6] : 0;
    if (status !== SERVING)
      throw new MeshError('UNAVAILABLE', `service unhealthy (responded with ${status === 2 ? 'NOT_SERVING' : status})`);
  } finally {
    session.destroy();
  }
}

function healthRequest(service: string): Buffer {
  const name = Buffer.from(service);
  const message = name.length > 0 ? Buffer.concat([Buffer.from([0x0a, name.length]), name]) : Buffer.alloc(0);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  return Buffer.concat([frame, message]);
}
