/**
 * One call on Node's own HTTP/2 streams: reads the request, writes what the procedure answers as fast as the client
 * reads, ends with a status. A library's layers on top cost 40 KB for each open stream, and proxies hold thousands.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { Code, ConnectError } from '@connectrpc/connect';
import { parseTimeout, statusTrailers, unframe } from './frame.ts';
import type { Procedure } from './router.ts';

/** Requests are names, a token and a CSR; a service account token is a few KiB at most. */
const REQUEST_BYTES_MAX = 256 * 1024;

export interface CallObserver {
  /** Makes of whatever was thrown what the client is told. */
  toError(cause: unknown): ConnectError;
  /** Told once of every call. */
  ended(error: ConnectError | undefined): void;
}

/** Runs until the stream is closed; never rejects. `stopping` ends it with its reason. */
export async function answerCall(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  procedure: Procedure,
  stopping: AbortSignal,
  observer: CallObserver,
): Promise<void> {
  const ending = new AbortController();
  const stop = () => ending.abort(stopping.reason);
  const cancel = () => ending.abort(new ConnectError('the client went away', Code.Canceled));
  stopping.addEventListener('abort', stop);
  stream.on('close', cancel);
  let timer: NodeJS.Timeout | undefined;
  let error: ConnectError | undefined;
  try {
    const timeoutMs = parseTimeout(headers['grpc-timeout'] as string | undefined);
    const late = () => ending.abort(new ConnectError('the deadline is over', Code.DeadlineExceeded));
    if (timeoutMs !== undefined) timer = setTimeout(late, timeoutMs);
    if (stopping.aborted) stop();
    const request = procedure.decode(unframe(await readRequest(stream, ending.signal)));
    ending.signal.throwIfAborted();
    for await (const message of procedure.call(request, ending.signal)) {
      if (ending.signal.aborted) break;
      if (!stream.headersSent) respond(stream);
      if (!stream.write(procedure.encode(message))) await drained(stream, ending.signal);
    }
    ending.signal.throwIfAborted();
  } catch (cause) {
    error = observer.toError(ending.signal.aborted ? ending.signal.reason : cause);
  } finally {
    clearTimeout(timer);
    stopping.removeEventListener('abort', stop);
    stream.off('close', cancel);
  }
  end(stream, error);
  observer.ended(error);
}

const HEADERS = { ':status': 200, 'content-type': 'application/grpc' };

function respond(stream: ServerHttp2Stream): void {
  stream.respond(HEADERS, { waitForTrailers: true });
}

/** For what is no call of ours: a status and nothing else. */
export function refuseCall(stream: ServerHttp2Stream, error: ConnectError): void {
  // A body that nobody reads would keep the stream.
  stream.resume();
  end(stream, error);
}

function end(stream: ServerHttp2Stream, error: ConnectError | undefined): void {
  if (stream.closed || stream.destroyed) return;
  if (!stream.headersSent && error) {
    stream.respond({ ...HEADERS, ...statusTrailers(error) }, { endStream: true });
    return;
  }
  if (!stream.headersSent) respond(stream);
  stream.once('wantTrailers', () => {
    if (!stream.destroyed) stream.sendTrailers(statusTrailers(error));
  });
  stream.end();
}

function readRequest(stream: ServerHttp2Stream, signal: AbortSignal): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  const onData = (chunk: Buffer) => {
    size += chunk.length;
    if (size <= REQUEST_BYTES_MAX) chunks.push(chunk);
    else reject(new ConnectError(`the request is larger than ${REQUEST_BYTES_MAX} bytes`, Code.ResourceExhausted));
  };
  const onEnd = () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
  const onAbort = () => reject(signal.reason);
  stream.on('data', onData);
  stream.on('end', onEnd);
  signal.addEventListener('abort', onAbort);
  return promise.finally(() => {
    stream.off('data', onData);
    stream.off('end', onEnd);
    signal.removeEventListener('abort', onAbort);
    stream.resume();
  });
}

/** Resolves when the client has read on, or when the call is over. */
async function drained(stream: ServerHttp2Stream, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = () => resolve();
  stream.on('drain', done);
  signal.addEventListener('abort', done);
  if (!stream.writableNeedDrain || signal.aborted) resolve();
  await promise;
  stream.off('drain', done);
  signal.removeEventListener('abort', done);
}
