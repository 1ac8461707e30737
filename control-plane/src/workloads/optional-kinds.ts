/** Looks which of the kinds that a cluster may lack are served, again and again, and watches just those. */
import { type Kind, MeshError } from '@tulle/api';
import { type Client, sleep } from '@tulle/client';
import type { Logger } from '../logger.ts';
import { forget, type KindSource, startKindSource } from './kind-source.ts';

/** A user who installs a kind waits this long for it at most. */
const LOOK_MS = 10_000;
/** Until the first look has succeeded nobody is answered, so it is tried again soon. */
const FIRST_LOOK_MS = 500;
/** A server that is starting may say for a moment that it has no kinds; objects are dropped only when it says so again. */
const MISSING_LOOKS_MIN = 2;

interface Watched {
  source: KindSource;
  /** Set while it is watched. */
  version?: string;
  stop?: AbortController;
  /** Resolves once it is read. */
  synced?: Promise<void>;
  missingLooks: number;
}

/** Resolves once the first look has succeeded and what it found is read. Looks until the signal is aborted. */
export async function startOptionalKinds(
  client: Client,
  sources: readonly KindSource[],
  logger: Logger,
  signal: AbortSignal,
  lookMs = LOOK_MS,
): Promise<void> {
  const watched = sources.map((source): Watched => ({ source, missingLooks: 0 }));
  if (watched.length === 0) return;
  const kinds = sources.map(({ kind }) => kind);
  const found = await firstLook(client, kinds, logger, signal);
  const synced = Promise.all(watched.map((one, i) => update(client, one, found[i], logger, signal)));
  void lookOn(client, watched, kinds, logger, signal, lookMs);
  await synced;
}

/**
 * An API server that is starting does not know all of its kinds yet, and a policy that is not read is not in force: what
 * is missing counts when the server had said before that it is ready.
 */
async function firstLook(
  client: Client,
  kinds: readonly Kind[],
  logger: Logger,
  signal: AbortSignal,
): Promise<(Kind | undefined)[]> {
  for (let wasReady = false; ; ) {
    signal.throwIfAborted();
    const found = await look(client, kinds, logger);
    if (found && (wasReady || found.every((kind) => kind !== undefined))) return found;
    wasReady = found !== undefined && (await isReady(client, logger));
    if (!wasReady) await sleep(FIRST_LOOK_MS, signal);
  }
}

/** Also true of a server that does not tell us. */
async function isReady(client: Client, logger: Logger): Promise<boolean> {
  try {
    await client.request('GET', '/readyz').then((answer) => answer.text());
    return true;
  } catch (cause) {
    const { code, message } = MeshError.from(cause);
    if (UNTOLD.has(code)) return true;
    logger.warn({ error: message }, 'API server is not ready');
    return false;
  }
}

/** The path is not there, or not for us. */
const UNTOLD: ReadonlySet<MeshError['code']> = new Set(['NOT_FOUND', 'PERMISSION_DENIED', 'UNAUTHENTICATED']);

async function lookOn(
  client: Client,
  watched: readonly Watched[],
  kinds: readonly Kind[],
  logger: Logger,
  signal: AbortSignal,
  lookMs: number,
): Promise<void> {
  for (;;) {
    await sleep(lookMs, signal);
    if (signal.aborted) return;
    const found = await look(client, kinds, logger);
    watched.forEach((one, i) => {
      if (found) update(client, one, found[i], logger, signal).catch(() => undefined); // rejects only when it ends
    });
  }
}

async function look(client: Client, kinds: readonly Kind[], logger: Logger): Promise<(Kind | undefined)[] | undefined> {
  try {
    return await client.findServed(kinds);
  } catch (cause) {
    logger.warn({ error: MeshError.from(cause).message }, 'discovery failed');
    return undefined;
  }
}

/** Resolves once what is watched now is read. */
async function update(
  client: Client,
  watched: Watched,
  found: Kind | undefined,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const { source } = watched;
  const fields = { kind: source.kind.kind, version: found?.apiVersion ?? source.kind.apiVersion };
  if (found) {
    watched.missingLooks = 0;
    if (watched.version === found.apiVersion) return;
    // Another version of the same objects: they stay known while it is read.
    watched.stop?.abort();
    const stop = new AbortController();
    watched.stop = stop;
    watched.version = found.apiVersion;
    logger.info(fields, 'kind is served');
    for (const feed of source.feeds) feed.serve(true);
    const until = AbortSignal.any([signal, stop.signal]);
    watched.synced = startKindSource(client, { ...source, kind: found }, logger, until).catch((cause) => {
      // What was stopped for another version, or for none, is not waited for.
      if (signal.aborted) throw cause;
      return watched.stop === stop ? undefined : watched.synced;
    });
    await watched.synced;
  } else if (watched.stop && ++watched.missingLooks >= MISSING_LOOKS_MIN) {
    logger.info(fields, 'kind is not served any more');
    watched.stop.abort();
    watched.stop = undefined;
    watched.version = undefined;
    watched.synced = undefined;
    forget(source);
    for (const feed of source.feeds) feed.serve(false);
  }
}
