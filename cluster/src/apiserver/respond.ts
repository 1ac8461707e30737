/** Writes answers: JSON texts, Status objects, warnings. */
import type { ServerResponse } from 'node:http';
import { gzip } from 'node:zlib';
import { MeshError } from '@tulle/api';
import type { ApiRequest } from './context.ts';
import { failure, type Status } from './status.ts';

/** Bodies below this are not worth compressing; the real API server's own threshold. */
const GZIP_BYTES_MIN = 128 * 1024;

export function sendJson(
  request: Pick<ApiRequest, 'outgoing' | 'warnings' | 'incoming'>,
  code: number,
  text: string,
  contentType = 'application/json',
): void {
  const { outgoing, warnings, incoming } = request;
  setWarnings(outgoing, warnings);
  outgoing.setHeader('cache-control', 'no-cache, private');
  outgoing.setHeader('content-type', contentType);
  if (text.length > GZIP_BYTES_MIN && /\bgzip\b/.test(String(incoming.headers['accept-encoding'] ?? ''))) {
    gzip(text, { level: 1 }, (error, bytes) => {
      if (error !== null) return void outgoing.destroy(error);
      outgoing.setHeader('content-encoding', 'gzip');
      outgoing.writeHead(code, { 'content-length': bytes.length });
      outgoing.end(bytes);
    });
    return;
  }
  const bytes = Buffer.from(text);
  outgoing.writeHead(code, { 'content-length': bytes.length });
  outgoing.end(incoming.method === 'HEAD' ? undefined : bytes);
}

export function setWarnings(outgoing: ServerResponse, warnings: string[]): void {
  if (warnings.length === 0) return;
  const texts = [...new Set(warnings)].map((text) => {
    const printable = text.replaceAll(/[^\x20-\x7e]/g, ' ').replaceAll(/["\\]/g, '\\$&');
    return `299 - "${printable}"`;
  });
  outgoing.setHeader('warning', texts);
}

/** The Status that an error is answered with; errors that are not ours are an internal error without detail. */
export function statusOf(error: unknown): Status {
  if (error instanceof MeshError) {
    if (error.status !== undefined) return error.status as Status;
    const map: Record<string, [number, string]> = {
      OUT_OF_RANGE: [410, 'Expired'],
      RESOURCE_EXHAUSTED: [429, 'TooManyRequests'],
      UNAVAILABLE: [503, 'ServiceUnavailable'],
      ABORTED: [409, 'Conflict'],
    };
    const known = map[error.code];
    if (known !== undefined) return failure(known[0], known[1], error.message).status as Status;
  }
  const message = error instanceof Error ? error.message : String(error);
  return failure(500, 'InternalError', `Internal error occurred: ${message}`).status as Status;
}

export function success(details: Status['details'], message?: string): string {
  const status: Status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 200 };
  if (details !== undefined) status.details = details;
  if (message !== undefined) status.message = message;
  return JSON.stringify(status);
}
