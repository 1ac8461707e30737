/** Calls of the control plane's gRPC services from outside the mesh: through the API server's port-forward into its pod. */
import type { Duplex } from 'node:stream';
import type { DescMessage, DescService, JsonValue, MessageShape } from '@bufbuild/protobuf';
import { toJson } from '@bufbuild/protobuf';
import { ConnectError, createClient as createRpcClient, type Client as RpcClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { MeshError, type MeshErrorCode, PODS, type Pod } from '@tulle/api';
import type { Client } from '@tulle/client';

export interface ControlPlaneTarget {
  controlPlaneNamespace: string;
  /** Ask this pod; by default any that is ready. */
  pod?: string;
  port: number;
}

/** The first answer of a stream is the whole state; a control plane that is well sends it at once. */
const ANSWER_MS_MAX = 10_000;

/** Runs `call` with a client for the service, and closes the connection. Errors are MeshErrors that name the pod. */
export async function withControlPlane<S extends DescService, T>(
  client: Client,
  service: S,
  target: ControlPlaneTarget,
  call: (rpc: RpcClient<S>, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const pod = target.pod ?? (await readyPod(client, target.controlPlaneNamespace));
  const done = new AbortController();
  const signal = AbortSignal.any([done.signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
  const where = `${target.controlPlaneNamespace}/${pod}:${target.port}`;
  const stream = await client.portForward(target.controlPlaneNamespace, pod, target.port, signal);
  const baseUrl = `http://localhost:${target.port}`;
  const sessions = new Http2SessionManager(baseUrl, undefined, { createConnection: () => stream as Duplex });
  try {
    return await call(createRpcClient(service, createGrpcTransport({ baseUrl, sessionManager: sessions })), signal);
  } catch (error) {
    if (error instanceof MeshError) throw error;
    const { code: number, rawMessage } = ConnectError.from(error);
    const code = CODES[number] ?? 'UNKNOWN';
    // What it says of the question is not about where it was asked.
    const message = ANSWERS.has(code) ? rawMessage : `ask the control plane at ${where}: ${rawMessage}`;
    throw new MeshError(code, message, { cause: error });
  } finally {
    done.abort();
    sessions.abort();
    stream.destroy();
  }
}

/** The first message of a stream. */
export async function firstOf<T>(messages: AsyncIterable<T>): Promise<T> {
  for await (const message of messages) return message;
  throw new MeshError('UNAVAILABLE', 'the control plane ended the stream without an answer');
}

async function readyPod(client: Client, namespace: string): Promise<string> {
  const labelSelector = 'linkerd.io/control-plane-component=destination';
  const { items } = await client.list<Pod>(PODS, { namespace, labelSelector });
  const ready = items.find(({ status }) =>
    status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
  );
  const pod = ready ?? items.find(({ status }) => status?.phase === 'Running');
  if (!pod) {
    throw new MeshError(
      'NOT_FOUND',
      `no control plane runs in namespace ${namespace}; install one with: tulle install --crds | kubectl apply -f - and tulle install | kubectl apply -f -`,
    );
  }
  return pod.metadata.name;
}

/** A message as JSON, with addresses as people write them. */
export function readableJson<D extends DescMessage>(schema: D, message: MessageShape<D>): JsonValue {
  return withReadableAddresses(toJson(schema, message) as JsonValue);
}

function withReadableAddresses(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(withReadableAddresses);
  if (typeof value === 'number') return Number.isInteger(value) ? value : Number(value.toPrecision(FLOAT_DIGITS));
  if (value === null || typeof value !== 'object') return value;
  const { ip, port } = value;
  if (isAddress(value)) return addressText(value);
  const keys = Object.keys(value);
  if (ip !== undefined && isAddress(ip) && keys.every((key) => key === 'ip' || key === 'port')) {
    const text = addressText(ip as Record<string, JsonValue>);
    return port === undefined ? text : `${text.includes(':') ? `[${text}]` : text}:${port}`;
  }
  return Object.fromEntries(
    keys.map((key) => [
      key,
      NETWORK_KEYS.has(key) ? readableNetworks(value[key]!) : withReadableAddresses(value[key]!),
    ]),
  );
}

/** The wire's floats have so many digits; what double precision adds to them was never said. */
const FLOAT_DIGITS = 7;

/** Fields that hold networks: an address and a prefix, which is left out when it is 0. */
const NETWORK_KEYS = new Set(['net', 'except']);

function readableNetworks(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(readableNetworks);
  if (value === null || typeof value !== 'object' || value.ip === undefined || !isAddress(value.ip)) return value;
  return `${addressText(value.ip as { [key: string]: JsonValue })}/${value.prefixLen ?? 0}`;
}

function isAddress(value: JsonValue): boolean {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
  const keys = Object.keys(value);
  return (
    keys.length === 1 && (typeof value.ipv4 === 'number' || (keys[0] === 'ipv6' && typeof value.ipv6 === 'object'))
  );
}

function addressText(value: { [key: string]: JsonValue }): string {
  if (typeof value.ipv4 === 'number') return ipv4Text(value.ipv4);
  const { first = '0', last = '0' } = value.ipv6 as { first?: string; last?: string };
  return ipv6Text(BigInt(first), BigInt(last));
}

export const ipv4Text = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');

export function ipv6Text(first: bigint, last: bigint): string {
  const groups = [first, last].flatMap((half) =>
    [48n, 32n, 16n, 0n].map((shift) => ((half >> shift) & 0xffffn).toString(16)),
  );
  // The URL parser shortens it as RFC 5952 has it.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** By gRPC's numbers. */
const ANSWERS = new Set<MeshErrorCode>(['NOT_FOUND', 'INVALID_ARGUMENT', 'FAILED_PRECONDITION']);
const CODES: Partial<Record<number, MeshErrorCode>> = {
  1: 'CANCELLED',
  2: 'UNKNOWN',
  3: 'INVALID_ARGUMENT',
  4: 'DEADLINE_EXCEEDED',
  5: 'NOT_FOUND',
  6: 'ALREADY_EXISTS',
  7: 'PERMISSION_DENIED',
  8: 'RESOURCE_EXHAUSTED',
  9: 'FAILED_PRECONDITION',
  10: 'ABORTED',
  11: 'OUT_OF_RANGE',
  12: 'UNIMPLEMENTED',
  13: 'INTERNAL',
  14: 'UNAVAILABLE',
  15: 'DATA_LOSS',
  16: 'UNAUTHENTICATED',
};
