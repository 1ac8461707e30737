/** The body of a watch: one JSON document a line, cut into chunks anywhere. */

import { type KubeObject, MeshError, type Status } from '@tulle/api';
import { errorFromStatus } from './status-error.ts';

export interface WatchEvent<T = KubeObject> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  object: T;
}

/** Objects are at most 3 MiB in etcd; the rest is the envelope. */
const LINE_BYTES_MAX = 16 * 1024 * 1024;
const NEWLINE = 0x0a;

/** @throws MeshError for an ERROR event (`OUT_OF_RANGE` when the resourceVersion is gone) or a malformed line. */
export async function* readWatch<T>(body: AsyncIterable<Uint8Array>, doing: string): AsyncGenerator<WatchEvent<T>> {
  for await (const line of readLines(body, doing)) {
    const event = parseLine(line, doing);
    if (event.type === 'ERROR') throw errorFromStatus(event.object as Status, doing);
    yield event as WatchEvent<T>;
  }
}

function parseLine(line: string, doing: string): { type: string; object: unknown } {
  try {
    const event = JSON.parse(line);
    if (typeof event?.type === 'string' && typeof event.object === 'object' && event.object) return event;
  } catch (cause) {
    throw new MeshError('DATA_LOSS', `${doing}: a watch event is not JSON`, { cause });
  }
  throw new MeshError('DATA_LOSS', `${doing}: a watch event has no type or object`);
}

/** Lines without their end; a last line that has no end is dropped, since its rest was lost. */
async function* readLines(body: AsyncIterable<Uint8Array>, doing: string): AsyncGenerator<string> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      parts.push(chunk.subarray(from, end));
      const line = Buffer.concat(parts).toString('utf8');
      parts = [];
      bytes = 0;
      from = end + 1;
      if (line.trim() !== '') yield line;
    }
    if (from < chunk.length) parts.push(chunk.subarray(from));
    bytes += chunk.length - from;
    if (bytes > LINE_BYTES_MAX) {
      throw new MeshError('RESOURCE_EXHAUSTED', `${doing}: a watch event is larger than ${LINE_BYTES_MAX} bytes`);
    }
  }
}
