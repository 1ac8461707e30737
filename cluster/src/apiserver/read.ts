/** get and list. */
import type { Entry } from '../store/stored-object.ts';
import type { ApiRequest } from './context.ts';
import { createEncoder, negotiateForm } from './representation.ts';
import { sendJson } from './respond.ts';
import { parseFieldSelector, parseLabelSelector } from './selector.ts';
import { badRequest, expired, failure, forbiddenField, invalidOptions, notFound, plainFailure } from './status.ts';

export function findEntry(request: ApiRequest): Entry {
  const { context, info, resource } = request;
  const entry = context.store.get(resource.storage, objectKey(info.namespace, info.name!));
  if (entry === undefined) throw notFound(resource, info.name!);
  return entry;
}

export function objectKey(namespace: string | undefined, name: string): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

export function handleGet(request: ApiRequest): void {
  const form = negotiateForm(request.incoming);
  const encoder = createEncoder(request.resource, form, request.info.query, request.context.now);
  const entry = findEntry(request);
  checkVersionReached(request);
  sendJson(request, 200, encoder.one(entry));
}

/** What a list or watch selects. */
export function entryFilter(request: ApiRequest): (entry: Entry) => boolean {
  const { info, resource } = request;
  const labels = info.query.get('labelSelector') ?? '';
  const fields = info.query.get('fieldSelector') ?? '';
  const byLabel = labels === '' ? undefined : parseLabelSelector(labels);
  const byField = fields === '' ? undefined : parseFieldSelector(fields, resource);
  const { namespace, name } = info;
  return (entry) =>
    (namespace === undefined || !resource.namespaced || entry.namespace === namespace) &&
    (name === undefined || entry.name === name) &&
    (byLabel === undefined || byLabel(entry.object.metadata.labels)) &&
    (byField === undefined || byField(entry.object));
}

/** A version that the store has not reached yet is waited for by clients, not by us: 504, try again in a second. */
export function checkVersionReached({ info, context }: ApiRequest): number | undefined {
  const text = info.query.get('resourceVersion') ?? '';
  if (text === '') return undefined;
  if (!/^\d{1,16}$/.test(text)) {
    const why = `resourceVersion: Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`;
    throw info.verb === 'watch' ? plainFailure(why) : badRequest(`invalid resource version: ${why}`);
  }
  const revision = Number(text);
  if (revision > context.store.revision) {
    throw failure(504, 'Timeout', `Too large resource version: ${revision}, current: ${context.store.revision}`, {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    });
  }
  return revision;
}

/** Paged lists held open so that later pages come from the same moment; the oldest goes first. */
export const OPEN_PAGES_MAX = 32;

interface Page {
  entries: readonly Entry[];
  revision: number;
}

export class PagedLists {
  #pages = new Map<string, Page>();
  #next = 0;

  keep(page: Page): string {
    const id = String(++this.#next);
    this.#pages.set(id, page);
    if (this.#pages.size > OPEN_PAGES_MAX) this.#pages.delete(this.#pages.keys().next().value!);
    return id;
  }

  find(id: string): Page | undefined {
    return this.#pages.get(id);
  }
}

export function handleList(request: ApiRequest, pages: PagedLists): void {
  const { context, info, resource } = request;
  const encoder = createEncoder(resource, negotiateForm(request.incoming), info.query, context.now);
  const filter = entryFilter(request);
  const limit = readLimit(info.query);
  const token = info.query.get('continue') ?? '';

  let id: string | undefined;
  let start = 0;
  let all: readonly Entry[];
  let revision: number;
  if (token !== '') {
    const match = /^([0-9]+)\.([0-9]+)\.([0-9]+)$/.exec(Buffer.from(token, 'base64url').toString());
    if (match === null) throw badRequest('continue key is not valid');
    if (info.query.get('resourceVersion'))
      throw badRequest('specifying resource version is not allowed when using continue');
    id = match[1]!;
    const page = context.store.revision >= Number(match[3]) ? pages.find(id) : undefined;
    if (page === undefined || page.revision !== Number(match[3])) {
      throw expired(
        'The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.',
      );
    }
    start = Number(match[2]);
    all = page.entries;
    revision = page.revision;
  } else {
    const wanted = checkVersionReached(request);
    const match = info.query.get('resourceVersionMatch') ?? '';
    if (match !== '' && wanted === undefined)
      throw invalidOptions('ListOptions', [
        forbiddenField('resourceVersionMatch', 'resourceVersionMatch is forbidden unless resourceVersion is provided'),
      ]);
    if (match === 'Exact' && wanted !== context.store.revision) {
      throw expired(`The resourceVersion for the provided list is too old.`);
    }
    all = context.store.list(resource.storage, resource.namespaced ? info.namespace : undefined).filter(filter);
    revision = context.store.revision;
  }

  const shown = limit === undefined ? all.slice(start) : all.slice(start, start + limit);
  const remaining = all.length - start - shown.length;
  const metadata: Parameters<typeof encoder.list>[1] = { resourceVersion: String(revision) };
  if (remaining > 0) {
    id ??= pages.keep({ entries: all, revision });
    metadata.continue = Buffer.from(`${id}.${start + shown.length}.${revision}`).toString('base64url');
    metadata.remainingItemCount = remaining;
  }
  sendJson(request, 200, encoder.list(shown, metadata));
}

function readLimit(query: URLSearchParams): number | undefined {
  const text = query.get('limit') ?? '';
  if (text === '' || text === '0') return undefined;
  const limit = Number(text);
  if (!Number.isSafeInteger(limit) || limit < 0) throw badRequest(`invalid limit: ${text}`);
  return limit;
}
