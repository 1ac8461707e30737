/**
 * Keeps the store in a folder: a snapshot plus an append-only log of every later write.
 *
 * Each line is `crc32-in-hex json\n`. A write is in the kernel before the API answers, so it survives the death of the
 * process; fdatasync runs FSYNC_INTERVAL_MS later, so a power failure costs at most that much. A torn or damaged tail is
 * cut off at the first bad line. Once the log has outgrown the snapshot, a new snapshot is written beside the old one,
 * synced and renamed over it, and only then the log starts anew; lines of the log that the snapshot has already are skipped.
 */
import {
  closeSync,
  existsSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { MeshError } from '@tulle/api';
import type { Journal, Store } from './store.ts';
import type { StoredObject } from './stored-object.ts';

/** A power failure may cost this much; the death of the process costs nothing. */
export const FSYNC_INTERVAL_MS = 200;
/** The log is folded into a snapshot past this size; replaying it takes well below a second. */
export const LOG_BYTES_MAX = 16 * 1024 * 1024;
/** Lines are written out in pieces of about this size, so that a snapshot never doubles the memory. */
const SNAPSHOT_CHUNK_BYTES = 1024 * 1024;

interface Line {
  r: number;
  /** Resource, key and object; without object it is a deletion. */
  c?: string;
  k?: string;
  o?: StoredObject;
}

export interface OpenedJournal extends Journal {
  revision: number;
  entries: [string, StoredObject][];
  /** Must be told the store, whose content snapshots are made of. */
  attach(store: Store): void;
  close(): void;
}

/** Opens (or creates) the state in `dir` and replays it. */
export function openJournal(dir: string, options: { logBytesMax?: number } = {}): OpenedJournal {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const snapshotPath = join(dir, 'snapshot');
  const logPath = join(dir, 'log');
  const logBytesMax = options.logBytesMax ?? LOG_BYTES_MAX;

  const collections = new Map<string, Map<string, StoredObject>>();
  let revision = 1;
  const apply = (line: Line) => {
    if (line.r > revision) revision = line.r;
    if (line.c === undefined || line.k === undefined) return;
    const collection = collections.get(line.c) ?? new Map<string, StoredObject>();
    collections.set(line.c, collection);
    if (line.o === undefined) collection.delete(line.k);
    else collection.set(line.k, line.o);
  };
  const snapshot = readLines(snapshotPath, apply);
  if (!snapshot.isWhole) throw new MeshError('DATA_LOSS', `open the state folder ${dir}: the snapshot is damaged`);
  const snapshotRevision = revision;
  const log = readLines(logPath, (line) => {
    if (line.r > snapshotRevision) apply(line);
  });
  const entries: [string, StoredObject][] = [];
  for (const [resource, objects] of collections)
    for (const object of objects.values()) entries.push([resource, object]);

  let fd = openSync(logPath, 'a', 0o600);
  ftruncateSync(fd, log.goodBytes);
  let logBytes = log.goodBytes;
  let store: Store | undefined;
  let syncTimer: NodeJS.Timeout | undefined;
  let isClosed = false;

  const scheduleSync = () => {
    syncTimer ??= setTimeout(() => {
      syncTimer = undefined;
      fdatasync(fd, () => {});
    }, FSYNC_INTERVAL_MS).unref();
  };
  const fold = () => {
    if (store === undefined) return;
    const temporary = `${snapshotPath}.new`;
    const out = openSync(temporary, 'w', 0o600);
    let chunk = encodeLine({ r: store.revision });
    for (const resource of store.resources()) {
      for (const entry of store.list(resource)) {
        chunk += encodeLine({ r: entry.revision, c: resource, k: entry.key, o: entry.object });
        if (chunk.length > SNAPSHOT_CHUNK_BYTES) {
          writeAll(out, chunk);
          chunk = '';
        }
      }
    }
    writeAll(out, chunk);
    fsyncSync(out);
    closeSync(out);
    renameSync(temporary, snapshotPath);
    const folder = openSync(dir, 'r');
    fsyncSync(folder);
    closeSync(folder);
    closeSync(fd);
    fd = openSync(logPath, 'w', 0o600);
    logBytes = 0;
  };
  return {
    revision,
    entries,
    attach: (attached) => {
      store = attached;
    },
    append: (at, resource, key, object) => {
      // The number of a closed file may be another file's by now.
      if (isClosed) throw new MeshError('UNAVAILABLE', `write to the state folder ${dir}: it has been closed`);
      // Folding comes first: the store does not yet hold the write that is being appended.
      if (logBytes > logBytesMax) fold();
      logBytes += writeAll(
        fd,
        encodeLine({ r: at, c: resource, k: key, ...(object === undefined ? {} : { o: object }) }),
      );
      scheduleSync();
    },
    close: () => {
      isClosed = true;
      clearTimeout(syncTimer);
      fdatasyncSync(fd);
      closeSync(fd);
    },
  };
}

function encodeLine(line: Line): string {
  const json = JSON.stringify(line);
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
}

function writeAll(fd: number, text: string): number {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  return bytes.length;
}

/** Reads up to the first bad line; `goodBytes` is where it begins. */
function readLines(path: string, onLine: (line: Line) => void): { goodBytes: number; isWhole: boolean } {
  if (!existsSync(path)) return { goodBytes: 0, isWhole: true };
  const bytes = readFileSync(path);
  let at = 0;
  while (at < bytes.length) {
    const end = bytes.indexOf(10, at);
    if (end < 0) break;
    const json = bytes.subarray(at + 9, end);
    if (bytes.toString('latin1', at, at + 8) !== crc32(json).toString(16).padStart(8, '0')) break;
    onLine(JSON.parse(json.toString()));
    at = end + 1;
  }
  return { goodBytes: at, isWhole: at === bytes.length };
}
