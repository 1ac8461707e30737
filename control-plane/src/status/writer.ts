/**
 * Brings the status of objects to what it should be: one patch at a time for each object, so many a second for all of
 * them, again after a failure, and none where nothing would change.
 */
import { type Kind, type KubeObject, MeshError } from '@tulle/api';
import { Backoff, type BackoffRange, type Client, objectPath } from '@tulle/client';
import type { Logger } from '../logger.ts';
import type { MetricRegistry } from '../metric-registry.ts';
import { saysTheSame } from './conditions.ts';
import type { WantedStatus } from './status-index.ts';

export interface StatusWriterOptions {
  client: Pick<Client, 'request'>;
  /** Undefined for an object that is gone. `now` in RFC 3339. */
  wanted(key: string, now: string): WantedStatus | undefined;
  /** The kind of an object that has a status of ours. */
  kindOf(object: KubeObject): Kind | undefined;
  logger: Pick<Logger, 'debug' | 'warn'>;
  metrics: MetricRegistry;
}

export interface StatusWriter {
  /** Looks at these objects, as soon as this writer may write. */
  push(keys: Iterable<string>): void;
  /** Whether this writer may write; from the start it may not. */
  setActive(isActive: boolean): void;
  /** Resolves when nothing is left to write now; what failed is tried again later. */
  idle(): Promise<void>;
  [Symbol.dispose](): void;
}

/** As Linkerd's controller; a server that takes longer is in trouble, and is asked again later. */
const PATCH_TIMEOUT_MS = 5_000;
/** Patches under way at once: a share of the client's connections. */
const IN_FLIGHT_MAX = 8;
/** Far above what people change, far below what an API server minds; 2,000 routes of a new cluster take 40 s. */
const PATCHES_PER_S = 50;
/** A moment's changes are written without waiting. */
const PATCHES_BURST = 100;
/** Objects looked at before others get their turn on the thread. */
const LOOKS_PER_TURN = 200;
const BACKOFF: BackoffRange = { minMs: 500, maxMs: 60_000 };
const FIELD_MANAGER = 'policy-controller';

export function createStatusWriter(options: StatusWriterOptions): StatusWriter {
  const { client, wanted, kindOf, logger } = options;
  const patches = options.metrics.counter('policy_status_patches_total', 'Patches of statuses, by result');
  const queue = new Set<string>();
  const inFlight = new Set<string>();
  const failed = new Map<string, { backoff: Backoff; timer?: NodeJS.Timeout }>();
  /** What was written, and what the server made of it, where that is something else. */
  const pruned = new Map<string, { wanted: unknown; got: unknown }>();
  const idleWaiters: (() => void)[] = [];
  let isActive = false;
  let turn: NodeJS.Immediate | NodeJS.Timeout | undefined;
  let burstEndsAtMs = 0;

  function schedule(delayMs = 0): void {
    if (turn || !isActive) return;
    const run = () => {
      turn = undefined;
      pump();
    };
    turn = delayMs > 0 ? setTimeout(run, delayMs).unref() : setImmediate(run);
  }

  function cancelTurn(): void {
    clearTimeout(turn as NodeJS.Timeout | undefined);
    clearImmediate(turn as NodeJS.Immediate | undefined);
    turn = undefined;
  }

  /** GCRA: each patch moves the end of the burst on, and waits where that is too far ahead. */
  function waitMs(): number {
    const now = performance.now();
    return Math.max(burstEndsAtMs, now) + 1000 / PATCHES_PER_S - now - (PATCHES_BURST * 1000) / PATCHES_PER_S;
  }

  function pump(): void {
    let looks = 0;
    for (const key of queue) {
      if (!isActive) return;
      if (inFlight.has(key) || failed.get(key)?.timer) continue;
      if (inFlight.size >= IN_FLIGHT_MAX) return;
      if (++looks > LOOKS_PER_TURN) {
        schedule();
        return;
      }
      const next = wanted(key, new Date().toISOString().replace(/\.\d+Z$/, 'Z'));
      if (!next) failed.delete(key);
      if (!next) pruned.delete(key);
      if (!next || isWritten(key, next)) {
        queue.delete(key);
        continue;
      }
      const wait = waitMs();
      if (wait > 0) {
        schedule(wait);
        return;
      }
      burstEndsAtMs = Math.max(burstEndsAtMs, performance.now()) + 1000 / PATCHES_PER_S;
      queue.delete(key);
      inFlight.add(key);
      void patch(key, next).finally(() => {
        inFlight.delete(key);
        schedule();
        settle();
      });
    }
    settle();
  }

  function settle(): void {
    if (inFlight.size > 0 || idleWaiters.length === 0) return;
    for (const key of queue) if (!failed.get(key)?.timer) return;
    for (const resolve of idleWaiters.splice(0)) resolve();
  }

  function isWritten(key: string, { object, status }: WantedStatus): boolean {
    const current = ours(status, object.status);
    if (saysTheSame(current, status)) return true;
    const before = pruned.get(key);
    return before !== undefined && saysTheSame(before.wanted, status) && saysTheSame(before.got, current);
  }

  async function patch(key: string, { object, status }: WantedStatus): Promise<void> {
    const { metadata, apiVersion } = object;
    const known = kindOf(object);
    if (!known) return;
    const kind = { ...known, apiVersion: apiVersion ?? known.apiVersion };
    try {
      const answer = await client.request('PATCH', objectPath(kind, metadata.name, metadata.namespace, 'status'), {
        // With its version, so that what another controller writes meanwhile is not undone.
        body: {
          apiVersion: kind.apiVersion,
          kind: kind.kind,
          metadata: { name: metadata.name, resourceVersion: metadata.resourceVersion },
          status,
        },
        contentType: 'application/merge-patch+json',
        query: { fieldManager: FIELD_MANAGER },
        signal: AbortSignal.timeout(PATCH_TIMEOUT_MS),
      });
      const got = ours(status, (await answer.json<{ status?: unknown }>()).status);
      if (saysTheSame(got, status)) pruned.delete(key);
      else pruned.set(key, { wanted: status, got });
      failed.delete(key);
      patches.add({ kind: kind.kind, result: 'ok' });
    } catch (cause) {
      retry(key, kind, MeshError.from(cause));
    }
  }

  function retry(key: string, kind: Kind, error: MeshError): void {
    patches.add({ kind: kind.kind, result: error.code.toLowerCase() });
    // Gone; its deletion is on the way.
    if (error.code === 'NOT_FOUND') return;
    const isConflict = error.code === 'ABORTED';
    logger[isConflict ? 'debug' : 'warn']({ object: key, error: error.message }, 'status not written');
    const state = failed.get(key) ?? { backoff: new Backoff(BACKOFF) };
    failed.set(key, state);
    queue.add(key);
    state.timer = setTimeout(() => {
      delete state.timer;
      schedule();
    }, state.backoff.nextMs()).unref();
  }

  return {
    push(keys) {
      for (const key of keys) queue.add(key);
      schedule();
    },
    setActive(value) {
      isActive = value;
      if (isActive) schedule();
      else cancelTurn();
    },
    idle() {
      return new Promise((resolve) => {
        idleWaiters.push(resolve);
        schedule();
      });
    },
    [Symbol.dispose]() {
      isActive = false;
      cancelTurn();
      for (const { timer } of failed.values()) clearTimeout(timer);
    },
  };
}

/** The fields that are wanted, as they are; a list that is not there is an empty one. */
function ours(wanted: Record<string, unknown>, status: unknown): Record<string, unknown> {
  const current = (status && typeof status === 'object' ? status : {}) as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(wanted).map(([field, value]) => [field, current[field] ?? (Array.isArray(value) ? [] : undefined)]),
  );
}
