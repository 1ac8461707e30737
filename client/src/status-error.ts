/** From what an API server answers, or how a connection fails, to the one error class. */

import { MeshError, type MeshErrorCode, type Status } from '@tulle/api';

/** An answer with status ≥ 400 as an error that carries the server's `Status`. */
export function errorFromAnswer(httpStatus: number, body: string, doing: string): MeshError {
  const status = parseStatus(body) ?? {
    status: 'Failure',
    code: httpStatus,
    message: body.slice(0, TEXT_IN_MESSAGE_MAX).trim() || `status ${httpStatus}`,
  };
  return errorFromStatus(status, doing, httpStatus);
}

/** A `Status` object (of an answer, or of a watch's ERROR event) as an error. */
export function errorFromStatus(status: Status, doing: string, httpStatus = status.code ?? 500): MeshError {
  return new MeshError(codeOf(status.code ?? httpStatus, status.reason), `${doing}: ${status.message ?? httpStatus}`, {
    status,
  });
}

/** A failed connection: `CANCELLED` where the caller's signal ended it, else `UNAVAILABLE`. */
export function errorFromConnection(error: unknown, doing: string, signal?: AbortSignal): MeshError {
  if (error instanceof MeshError) return error;
  if (signal?.aborted) return new MeshError('CANCELLED', `${doing}: cancelled`, { cause: error });
  const text = error instanceof Error ? error.message || error.name : String(error);
  const reason = error instanceof AggregateError ? error.errors.map((e) => (e as Error).message).join('; ') : text;
  return new MeshError('UNAVAILABLE', `${doing}: ${reason}`, { cause: error });
}

/** Enough of a body that is not a `Status` (a proxy's HTML page) to tell what answered. */
const TEXT_IN_MESSAGE_MAX = 300;

const CODES: Record<number, MeshErrorCode> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  405: 'UNIMPLEMENTED',
  406: 'UNIMPLEMENTED',
  409: 'ABORTED',
  410: 'OUT_OF_RANGE',
  413: 'INVALID_ARGUMENT',
  415: 'INVALID_ARGUMENT',
  422: 'INVALID_ARGUMENT',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  502: 'UNAVAILABLE',
  503: 'UNAVAILABLE',
  504: 'DEADLINE_EXCEEDED',
};

function codeOf(httpStatus: number, reason: string | undefined): MeshErrorCode {
  if (reason === 'AlreadyExists') return 'ALREADY_EXISTS';
  if (reason === 'Expired' || reason === 'Gone') return 'OUT_OF_RANGE';
  return CODES[httpStatus] ?? 'UNKNOWN';
}

function parseStatus(body: string): Status | undefined {
  if (!body.startsWith('{')) return undefined;
  try {
    const parsed = JSON.parse(body);
    return parsed?.kind === 'Status' ? parsed : undefined;
  } catch {
    return undefined; // a proxy on the way may answer with anything
  }
}
