/**
 * gRPC over plain HTTP/2. Mutual TLS is the work of the pod's own proxy in front. Here errors become gRPC statuses,
 * calls are counted, and streams end with Unavailable when the process stops.
 */
import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { Code, ConnectError, type ConnectRouter, type Interceptor } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { MeshError, type MeshErrorCode } from '@tulle/api';
import { listen } from './listen.ts';
import type { Logger } from './logger.ts';
import type { MetricRegistry } from './metric-registry.ts';

export interface GrpcServerOptions {
  address: string;
  routes: (router: ConnectRouter) => void;
  metrics: MetricRegistry;
  logger: Logger;
  /** How long clients may take to finish once their streams were told to end. */
  closeGraceMs?: number;
}

/** Requests are names, a token and a CSR; a service account token is a few KiB at most. */
const REQUEST_BYTES_MAX = 256 * 1024;
/** One connection carries the streams of all proxies: they come through this pod's own proxy. Three per destination and proxy. */
const STREAMS_PER_CONNECTION_MAX = 65_536;
/** Node refuses streams past its session memory; its default of 10 MB is some thousand streams. */
const SESSION_MEMORY_MB_MAX = 512;
/** Proxies that restart together drop all their streams at once; Node's default would close the shared connection. */
const STREAM_RESET_BURST = 65_536;
const STREAM_RESETS_PER_SECOND = 4_096;
/** The end of a stream is one small frame; a client that has not read it by then does not read. */
const CLOSE_GRACE_MS = 2_000;

export async function startGrpcServer(options: GrpcServerOptions): Promise<AsyncDisposable & { port: number }> {
  const stopping = new AbortController();
  const handler = connectNodeAdapter({
    routes: options.routes,
    connect: false,
    grpcWeb: false,
    readMaxBytes: REQUEST_BYTES_MAX,
    shutdownSignal: stopping.signal,
    interceptors: [watchCalls(options.metrics, options.logger)],
  });
  const server = createServer(
    {
      maxSessionMemory: SESSION_MEMORY_MB_MAX,
      settings: { maxConcurrentStreams: STREAMS_PER_CONNECTION_MAX },
      streamResetBurst: STREAM_RESET_BURST,
      streamResetRate: STREAM_RESETS_PER_SECOND,
    },
    handler,
  );
  const sessions = new Set<ServerHttp2Session>();
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  server.on('sessionError', (error) => options.logger.debug({ error: error.message }, 'connection failed'));
  const port = await listen(server, options.address);
  return {
    port,
    [Symbol.asyncDispose]: () => {
      stopping.abort(new ConnectError('the control plane is stopping', Code.Unavailable));
      return close(server, sessions, sockets, options.closeGraceMs ?? CLOSE_GRACE_MS);
    },
  };
}

async function close(
  server: Http2Server,
  sessions: ReadonlySet<ServerHttp2Session>,
  sockets: ReadonlySet<Socket>,
  graceMs: number,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  for (const session of sessions) session.close();
  // A session that is closing waits for its peer even when destroyed; its socket does not.
  const timer = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, graceMs);
  await promise;
  clearTimeout(timer);
}

/** Counts calls by outcome and turns our errors into gRPC's. */
function watchCalls(metrics: MetricRegistry, logger: Logger): Interceptor {
  const started = metrics.counter('grpc_server_started_total', 'RPCs started');
  const handled = metrics.counter('grpc_server_handled_total', 'RPCs completed, by status');
  const open = metrics.gauge('grpc_server_open_streams', 'Streams that are open');
  return (next) => async (request) => {
    const method = { grpc_service: request.service.typeName, grpc_method: request.method.name };
    const finish = (cause?: unknown): unknown => {
      const error = cause === undefined ? undefined : toConnectError(cause);
      handled.add({ ...method, grpc_code: error ? Code[error.code] : 'OK' });
      if (error) logCall(logger, method, error);
      return error;
    };
    started.add(method);
    try {
      const response = await next(request);
      if (!response.stream) {
        finish();
        return response;
      }
      return { ...response, message: watchStream(response.message, open, method, finish) };
    } catch (cause) {
      throw finish(cause);
    }
  };
}

async function* watchStream<T>(
  messages: AsyncIterable<T>,
  open: { add(labels: Record<string, string>, amount: number): void },
  method: Record<string, string>,
  finish: (cause?: unknown) => unknown,
): AsyncIterable<T> {
  open.add(method, 1);
  let isFinished = false;
  try {
    yield* messages;
    isFinished = true;
    finish();
  } catch (cause) {
    isFinished = true;
    throw finish(cause);
  } finally {
    open.add(method, -1);
    if (!isFinished) finish(new ConnectError('the client went away', Code.Canceled));
  }
}

function logCall(logger: Logger, method: Record<string, string>, error: ConnectError): void {
  const fields = { ...method, code: Code[error.code], error: MeshError.from(error.cause ?? error).message };
  if (error.code === Code.Internal || error.code === Code.Unknown) logger.error(fields, 'call failed');
  else logger.debug(fields, 'call refused');
}

const CODES: Record<MeshErrorCode, Code> = {
  CANCELLED: Code.Canceled,
  UNKNOWN: Code.Unknown,
  INVALID_ARGUMENT: Code.InvalidArgument,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  ABORTED: Code.Aborted,
  OUT_OF_RANGE: Code.OutOfRange,
  UNIMPLEMENTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
  UNAVAILABLE: Code.Unavailable,
  DATA_LOSS: Code.DataLoss,
  UNAUTHENTICATED: Code.Unauthenticated,
};

function toConnectError(cause: unknown): ConnectError {
  if (cause instanceof ConnectError) return cause;
  if (cause instanceof MeshError)
    return new ConnectError(cause.message, CODES[cause.code], undefined, undefined, cause);
  // What went wrong inside is for the log, not for peers.
  return new ConnectError('internal error', Code.Internal, undefined, undefined, cause);
}
