/**
 * watch: a stream of changes from a version on, one JSON document per line.
 *
 * Without a version (or with 0) the stream begins with every present object as ADDED. With sendInitialEvents the initial
 * objects end with a bookmark that carries `k8s.io/initial-events-end`. An object that comes under the selector by a change
 * is ADDED, one that leaves it is DELETED.
 */

import { apiVersionOf } from '../resources/resource.ts';
import type { StoreEvent } from '../store/store.ts';
import { Entry } from '../store/stored-object.ts';
import type { ApiRequest } from './context.ts';
import { checkVersionReached, entryFilter } from './read.ts';
import { createEncoder, negotiateForm } from './representation.ts';
import { setWarnings, statusOf } from './respond.ts';
import { badRequest, expired, failure } from './status.ts';

/** Clients that do not say get a watch of 30 to 60 minutes, so that they do not all come back at once. */
const TIMEOUT_S_MIN = 1800;
/** A bookmark this often moves a quiet watch's version on, so that it stays within the history. */
export const BOOKMARK_INTERVAL_MS = 60_000;
/** A watcher that has this much unread is dropped; it lists again. A list of 300 pods is about 3 MiB. */
export const UNREAD_BYTES_MAX = 32 * 1024 * 1024;

export function handleWatch(request: ApiRequest): void {
  const { context, info, resource, outgoing } = request;
  const { query } = info;
  const encoder = createEncoder(resource, negotiateForm(request.incoming), query, context.now);
  const filter = entryFilter(request);
  const hasBookmarks = ['true', '1'].includes(query.get('allowWatchBookmarks') ?? '');
  const initial = initialEvents(query, hasBookmarks);
  const wanted = checkVersionReached(request);
  const from = wanted === undefined || wanted === 0 ? undefined : wanted;

  const lines: string[] = [];
  let isStarted = false;
  let sentRevision = context.store.revision;
  const write = (line: string) => {
    if (!isStarted) return void lines.push(line);
    outgoing.write(line);
    if (outgoing.writableLength > UNREAD_BYTES_MAX) outgoing.destroy();
  };
  const send = (type: string, entry: Entry) => write(`{"type":"${type}","object":${encoder.event(entry)}}\n`);
  const bookmark = (isInitialEnd: boolean) => write(bookmarkLine(request, sentRevision, isInitialEnd, encoder.form));

  const sendsState = initial ?? from === undefined;
  if (sendsState) {
    const namespace = resource.namespaced ? info.namespace : undefined;
    for (const entry of context.store.list(resource.storage, namespace)) if (filter(entry)) send('ADDED', entry);
    if (initial === true) bookmark(true);
  }
  const onEvent = ({ type, entry, previous, revision }: StoreEvent) => {
    sentRevision = revision;
    const isIn = type !== 'DELETED' && filter(entry);
    const wasIn = previous !== undefined && filter(previous);
    if (isIn) send(wasIn ? 'MODIFIED' : 'ADDED', entry);
    else if (wasIn) send('DELETED', type === 'DELETED' ? entry : lastSeen(previous, revision));
  };
  let unsubscribe: () => void;
  try {
    unsubscribe = context.store.subscribe(
      resource.storage,
      sendsState ? context.store.revision : (from ?? context.store.revision),
      onEvent,
    );
  } catch (error) {
    const status = statusOf(error);
    if (status.code !== 410) throw error;
    // A watch that has begun answers 200 and says in the stream that its version is gone.
    write(`${JSON.stringify({ type: 'ERROR', object: expired(status.message ?? '').status })}\n`);
    unsubscribe = () => {};
    start();
    outgoing.end();
    return;
  }

  start();
  const bookmarkTimer = hasBookmarks
    ? setInterval(() => {
        sentRevision = context.store.revision;
        bookmark(false);
      }, BOOKMARK_INTERVAL_MS).unref()
    : undefined;
  const end = () => {
    if (outgoing.writableEnded || outgoing.destroyed) return;
    if (hasBookmarks) {
      sentRevision = context.store.revision;
      bookmark(false);
    }
    // What changes from here on is not written after the end; the client resumes from the bookmark.
    unsubscribe();
    clearInterval(bookmarkTimer);
    outgoing.end();
  };
  const timeoutTimer = setTimeout(end, timeoutMs(query)).unref();
  context.signal.addEventListener('abort', end, { once: true });
  outgoing.on('close', () => {
    unsubscribe();
    clearInterval(bookmarkTimer);
    clearTimeout(timeoutTimer);
    context.signal.removeEventListener('abort', end);
  });

  function start(): void {
    setWarnings(outgoing, request.warnings);
    outgoing.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    outgoing.flushHeaders();
    isStarted = true;
    if (lines.length > 0) outgoing.write(lines.join(''));
  }
}

/** What an object that left the selector is shown as: as it was when it was last in it, with the version of the change. */
function lastSeen(previous: Entry, revision: number): Entry {
  const { object } = previous;
  return new Entry({ ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } });
}

/** Whether the state must (true) or must not (false) come first; undefined where the client does not say. */
function initialEvents(query: URLSearchParams, hasBookmarks: boolean): boolean | undefined {
  const text = query.get('sendInitialEvents');
  if (text === null || text === '') {
    if (query.get('resourceVersionMatch')) {
      throw forbiddenOption(
        'resourceVersionMatch',
        'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
      );
    }
    return undefined;
  }
  if (query.get('resourceVersionMatch') !== 'NotOlderThan') {
    throw forbiddenOption(
      'resourceVersionMatch',
      'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
    );
  }
  const isWanted = text === 'true' || text === '1';
  if (isWanted && !hasBookmarks)
    throw forbiddenOption('allowWatchBookmarks', 'sendInitialEvents needs allowWatchBookmarks');
  return isWanted;
}

function forbiddenOption(field: string, message: string) {
  return failure(422, 'Invalid', `ListOptions.meta.k8s.io "" is invalid: ${field}: Forbidden: ${message}`, {
    group: 'meta.k8s.io',
    kind: 'ListOptions',
    causes: [{ reason: 'FieldValueForbidden', message: `Forbidden: ${message}`, field }],
  });
}

function bookmarkLine(request: ApiRequest, revision: number, isInitialEnd: boolean, form: string): string {
  const { resource } = request;
  const metadata = {
    resourceVersion: String(revision),
    creationTimestamp: null,
    ...(isInitialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
  };
  const object =
    form === 'object'
      ? { kind: resource.kind, apiVersion: apiVersionOf(resource), metadata }
      : form === 'metadata'
        ? { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }
        : {
            kind: 'Table',
            apiVersion: 'meta.k8s.io/v1',
            metadata: { resourceVersion: String(revision) },
            columnDefinitions: null,
            rows: [{ cells: [], object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata } }],
          };
  return `${JSON.stringify({ type: 'BOOKMARK', object })}\n`;
}

function timeoutMs(query: URLSearchParams): number {
  const text = query.get('timeoutSeconds') ?? '';
  if (text === '' || text === '0') return (TIMEOUT_S_MIN + Math.random() * TIMEOUT_S_MIN) * 1000;
  const seconds = Number(text);
  if (!Number.isSafeInteger(seconds) || seconds < 0) throw badRequest(`invalid timeoutSeconds: ${text}`);
  return Math.min(seconds, 24 * 3600) * 1000;
}
