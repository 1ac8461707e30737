/** Reads the log files that `tulle-pod` writes (`TIME stream F|P TEXT`), as `kubectl logs` asks for them. */

import { watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

export interface LogQuery {
  follow?: boolean;
  tailLines?: number;
  sinceMs?: number;
  timestamps?: boolean;
  limitBytes?: number;
}

const CHUNK_BYTES = 64 << 10;

/** Lines of the rotated file and the present one, then with `follow` what comes, until `ended` resolves. */
export async function* readLogs(
  path: string,
  query: LogQuery,
  ended: Promise<void>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let left = query.limitBytes ?? Number.POSITIVE_INFINITY;
  const format = formatter(query);
  const tail = query.tailLines === undefined ? undefined : await lastLines(path, query.tailLines);
  for await (const line of tail ? follow(path, tail, query, ended, signal) : all(path, query, ended, signal)) {
    const text = format(line);
    if (!text) continue;
    yield text.length > left ? text.subarray(0, left) : text;
    left -= text.length;
    if (left <= 0) return;
  }
}

interface Position {
  lines: Buffer[];
  offset: number;
}

async function* all(path: string, query: LogQuery, ended: Promise<void>, signal: AbortSignal): AsyncGenerator<Buffer> {
  yield* linesOf(`${path}.1`, { offset: 0 });
  yield* follow(path, { lines: [], offset: 0 }, query, ended, signal);
}

async function* follow(
  path: string,
  start: Position,
  query: LogQuery,
  ended: Promise<void>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  yield* start.lines;
  const state = { offset: start.offset };
  if (!query.follow) {
    yield* linesOf(path, state);
    return;
  }
  let hasEnded = false;
  let wake = () => {};
  let isDirty = true;
  const nudge = () => {
    isDirty = true;
    wake();
  };
  ended.finally(() => {
    hasEnded = true;
    nudge();
  });
  signal.addEventListener('abort', nudge);
  // The folder, because a rotation puts another file in this one's place.
  const watcher = watch(dirname(path), (_, name) => name === basename(path) && nudge());
  let inode: number | undefined;
  try {
    while (!signal.aborted) {
      const isLast = hasEnded;
      isDirty = false;
      const present = (await stat(path).catch(() => undefined))?.ino;
      if (inode !== undefined && present !== inode) {
        yield* linesOf(`${path}.1`, state);
        state.offset = 0;
      }
      inode = present;
      yield* linesOf(path, state);
      if (isLast) return;
      if (!isDirty) await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    watcher.close();
    signal.removeEventListener('abort', nudge);
  }
}

/** Full lines from an offset on, which moves with them. A file that is not there has none. */
async function* linesOf(path: string, state: { offset: number }): AsyncGenerator<Buffer> {
  let file: FileHandle;
  try {
    file = await open(path);
  } catch {
    return;
  }
  try {
    let rest = Buffer.alloc(0);
    let position = state.offset;
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        const line = rest.subarray(0, end);
        rest = rest.subarray(end + 1);
        state.offset += end + 1;
        yield line;
      }
    }
  } finally {
    await file.close();
  }
}

async function lastLines(path: string, count: number): Promise<Position> {
  const lines: Buffer[] = [];
  const state = { offset: 0 };
  for (const part of [`${path}.1`, path]) {
    state.offset = 0;
    for await (const line of linesOf(part, state)) {
      lines.push(Buffer.from(line));
      if (lines.length > count) lines.shift();
    }
  }
  return { lines, offset: state.offset };
}

/** Without the stream's name; parts of a long line are put together again. */
function formatter({ timestamps, sinceMs }: LogQuery): (line: Buffer) => Buffer | undefined {
  let isInside = false;
  return (line) => {
    const timeEnd = line.indexOf(32);
    const streamEnd = line.indexOf(32, timeEnd + 1);
    const flag = line.subarray(streamEnd + 1, streamEnd + 2).toString();
    const time = line.subarray(0, timeEnd).toString();
    if (sinceMs !== undefined && Date.parse(time) < sinceMs) return undefined;
    const head = timestamps && !isInside ? Buffer.from(`${time} `) : Buffer.alloc(0);
    isInside = flag === 'P';
    return Buffer.concat([head, line.subarray(streamEnd + 3), Buffer.from(isInside ? '' : '\n')]);
  };
}
