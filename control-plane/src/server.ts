/**
 * gRPC over plain HTTP/2. Mutual TLS is the work of the pod's own proxy in front. Here errors become gRPC statuses,
 * calls are counted, and streams end with Unavailable when the process stops.
 */
import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { Code, ConnectError } from '@connectrpc/connect';
import { MeshError, type MeshErrorCode } from '@tulle/api';
import { answerCall, type CallObserver, refuseCall } from './grpc/call.ts';
import { createRouter, type GrpcRouter, type Procedure } from './grpc/router.ts';
import { listen } from './listen.ts';
import type { Logger } from './logger.ts';
import type { MetricRegistry } from './metric-registry.ts';

export interface GrpcServerOptions {
  address: string;
  routes: (router: GrpcRouter) => void;
  metrics: MetricRegistry;
  logger: Logger;
  /** How long clients may take to finish once their streams were told to end. */
  closeGraceMs?: number;
}

/** One connection carries the streams of all proxies: they come through this pod's own proxy. Three per destination and proxy. */
const STREAMS_PER_CONNECTION_MAX = 65_536;
/** Node refuses streams past its session memory; its default of 10 MB is some thousand streams. */
const SESSION_MEMORY_MB_MAX = 512;
/** Proxies that restart together drop all their streams at once; Node's default would close the shared connection. */
const STREAM_RESET_BURST = 65_536;
const STREAM_RESETS_PER_SECOND = 4_096;
/** As gRPC asks for what is not gRPC. */
const HTTP_UNSUPPORTED_MEDIA_TYPE = 415;
/** The end of a stream is one small frame; a client that has not read it by then does not read. */
const CLOSE_GRACE_MS = 2_000;

export async function startGrpcServer(options: GrpcServerOptions): Promise<AsyncDisposable & { port: number }> {
  const stopping = new AbortController();
  const procedures = createRouter(options.routes);
  const observe = observeCalls(options.metrics, options.logger);
  const server = createServer({
    maxSessionMemory: SESSION_MEMORY_MB_MAX,
    settings: { maxConcurrentStreams: STREAMS_PER_CONNECTION_MAX },
    streamResetBurst: STREAM_RESET_BURST,
    streamResetRate: STREAM_RESETS_PER_SECOND,
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', (error) => options.logger.debug({ error: error.message }, 'stream failed'));
    const isGrpc = headers[':method'] === 'POST' && /^application\/grpc(\+proto)?$/.test(headers['content-type'] ?? '');
    if (!isGrpc) {
      stream.respond({ ':status': HTTP_UNSUPPORTED_MEDIA_TYPE }, { endStream: true });
      return;
    }
    const procedure = procedures.get(headers[':path'] ?? '');
    if (procedure) void answerCall(stream, headers, procedure, stopping.signal, observe(procedure));
    else refuseCall(stream, new ConnectError(`${headers[':path']} is not served here`, Code.Unimplemented));
  });
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
function observeCalls(metrics: MetricRegistry, logger: Logger): (procedure: Procedure) => CallObserver {
  const started = metrics.counter('grpc_server_started_total', 'RPCs started');
  const handled = metrics.counter('grpc_server_handled_total', 'RPCs completed, by status');
  const open = metrics.gauge('grpc_server_open_streams', 'Streams that are open');
  return ({ labels }) => {
    started.add(labels);
    open.add(labels, 1);
    return {
      toError: toConnectError,
      ended: (error) => {
        open.add(labels, -1);
        handled.add({ ...labels, grpc_code: error ? Code[error.code] : 'OK' });
        if (error) logCall(logger, labels, error);
      },
    };
  };
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
