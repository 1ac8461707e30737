/** gRPC's message frames and statuses on the wire. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */
import { Code, ConnectError } from '@connectrpc/connect';

const HEAD_BYTES = 5;

/** A message with its head. */
export function frame(message: Uint8Array): Buffer {
  const buffer = Buffer.allocUnsafe(HEAD_BYTES + message.length);
  buffer.writeUInt8(0, 0);
  buffer.writeUInt32BE(message.length, 1);
  buffer.set(message, HEAD_BYTES);
  return buffer;
}

/** The one message of a request. @throws ConnectError for anything else. */
export function unframe(body: Buffer): Buffer {
  if (body.length < HEAD_BYTES) throw new ConnectError('the request has no message', Code.Unimplemented);
  if (body[0] !== 0) throw new ConnectError('compressed requests are not read', Code.Unimplemented);
  const end = HEAD_BYTES + body.readUInt32BE(1);
  if (end > body.length) throw new ConnectError('the request ends within its message', Code.InvalidArgument);
  if (end < body.length) throw new ConnectError('the request has more than one message', Code.Unimplemented);
  return body.subarray(HEAD_BYTES);
}

/** The end of a call as trailers; no error is OK. */
export function statusTrailers(error?: ConnectError): Record<string, string> {
  if (!error) return { 'grpc-status': '0' };
  return { 'grpc-status': String(error.code), 'grpc-message': percentEncode(error.rawMessage) };
}

/** Printable ASCII but `%` stays as it is; other bytes of the UTF-8 are escaped. */
function percentEncode(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) =>
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .join('');
}

const TIMEOUT_UNITS_MS: Record<string, number> = { n: 1e-6, u: 1e-3, m: 1, S: 1e3, M: 60e3, H: 3_600e3 };
/** What a timer can count. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** Undefined where the header gives none. @throws ConnectError when it cannot be read. */
export function parseTimeout(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const match = /^(\d{1,8})([HMSmun])$/.exec(header);
  if (!match) throw new ConnectError('grpc-timeout is no duration', Code.InvalidArgument);
  return Math.min(Number(match[1]) * TIMEOUT_UNITS_MS[match[2]!]!, TIMEOUT_MS_MAX);
}
