/** Which procedure answers a path. */
import {
  create,
  type DescMessage,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { frame } from './frame.ts';

/** As Connect's router, without its transports. */
export interface GrpcRouter {
  service<T extends DescService>(service: T, implementation: Partial<ServiceImpl<T>>): unknown;
}

export interface Procedure {
  labels: { grpc_service: string; grpc_method: string };
  /** The answers to a request: one, or a stream of them. */
  call(request: unknown, signal: AbortSignal): AsyncIterable<object>;
  /** @throws ConnectError when the bytes are no such message. */
  decode(bytes: Uint8Array): unknown;
  encode(message: object): Buffer;
}

export function createRouter(routes: (router: GrpcRouter) => void): ReadonlyMap<string, Procedure> {
  const procedures = new Map<string, Procedure>();
  routes({
    service(service, implementation) {
      for (const method of service.methods) {
        const handler = (implementation as Record<string, Handler | undefined>)[method.localName];
        if (!handler) continue;
        if (method.methodKind !== 'unary' && method.methodKind !== 'server_streaming') {
          throw new Error(`serve ${service.typeName}/${method.name}: requests that are streams are not read`);
        }
        const isUnary = method.methodKind === 'unary';
        procedures.set(`/${service.typeName}/${method.name}`, {
          labels: { grpc_service: service.typeName, grpc_method: method.name },
          call: (request, signal) => {
            const answer = handler(request, { signal });
            return isUnary ? one(answer as Promise<object>) : (answer as AsyncIterable<object>);
          },
          decode: (bytes) => decode(method.input, bytes),
          encode: encoder(method.output),
        });
      }
    },
  });
  return procedures;
}

type Handler = (request: unknown, context: { signal: AbortSignal }) => Promise<object> | AsyncIterable<object>;

async function* one(answer: Promise<object> | object): AsyncIterable<object> {
  yield await answer;
}

function decode(schema: DescMessage, bytes: Uint8Array): unknown {
  try {
    // Unknown fields are a newer client's, and nothing here reads them.
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch (cause) {
    throw new ConnectError(`the request is no ${schema.typeName}`, Code.InvalidArgument, undefined, undefined, cause);
  }
}

/** Streams that are told the same object one after the other share its bytes. */
function encoder(schema: DescMessage): (message: object) => Buffer {
  let last: WeakRef<object> | undefined;
  let bytes: WeakRef<Buffer> | undefined;
  return (message) => {
    const known = last?.deref() === message ? bytes?.deref() : undefined;
    if (known) return known;
    const encoded = frame(
      toBinary(schema, create(schema, message as MessageInitShape<DescMessage>) as MessageShape<DescMessage>),
    );
    last = new WeakRef(message);
    bytes = new WeakRef(encoded);
    return encoded;
  };
}
