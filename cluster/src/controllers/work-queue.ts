/**
 * A queue of keys to be worked on: a key is in it once however often it is added, is worked on by one worker at a time,
 * and comes back later when its work failed, each time after a longer wait.
 */

import { Backoff, sleep } from '@tulle/client';

export interface WorkQueue {
  add(key: string): void;
  /** Adds the key after a time; of several times that are waiting, the earliest counts. */
  addAfter(key: string, delayMs: number): void;
  /** Resolves when nothing is queued or being worked on (what waits for its time does not count). */
  idle(): Promise<void>;
}

export interface WorkQueueOptions {
  sync: (key: string) => Promise<void>;
  /** Told of work that failed; it is tried again by itself. */
  onError: (key: string, error: unknown) => void;
  signal: AbortSignal;
  workers?: number;
  backoff?: { minMs: number; maxMs: number };
}

/** Keeps one kind's controller from taking all of the API server's attention. */
const WORKERS = 4;
/** A lost race is over in milliseconds; what is broken is asked about twice a minute. */
const BACKOFF = { minMs: 20, maxMs: 30_000 };
/** The longest delay that a timer takes; longer waits are made of several. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const { sync, onError, signal, workers = WORKERS, backoff = BACKOFF } = options;
  const queued = new Set<string>();
  const active = new Set<string>();
  /** Keys that were added while they were being worked on. */
  const again = new Set<string>();
  const delayed = new Map<string, { atMs: number; timer: NodeJS.Timeout }>();
  const backoffs = new Map<string, Backoff>();
  const idleWaiters: Array<() => void> = [];

  signal.addEventListener('abort', () => {
    queued.clear();
    for (const { timer } of delayed.values()) clearTimeout(timer);
    delayed.clear();
    if (active.size === 0) tellIdle();
  });

  function add(key: string): void {
    if (signal.aborted) return;
    if (active.has(key)) again.add(key);
    else queued.add(key);
    next();
  }

  function addAfter(key: string, delayMs: number): void {
    if (signal.aborted) return;
    if (delayMs <= 0) {
      add(key);
      return;
    }
    const atMs = performance.now() + delayMs;
    const waiting = delayed.get(key);
    if (waiting && waiting.atMs <= atMs) return;
    clearTimeout(waiting?.timer);
    const timer = setTimeout(
      () => {
        delayed.delete(key);
        if (delayMs > TIMER_MS_MAX) addAfter(key, delayMs - TIMER_MS_MAX);
        else add(key);
      },
      Math.min(delayMs, TIMER_MS_MAX),
    );
    delayed.set(key, { atMs, timer });
  }

  function next(): void {
    while (active.size < workers && !signal.aborted) {
      const [key] = queued;
      if (key === undefined) break;
      queued.delete(key);
      active.add(key);
      void work(key);
    }
    if (active.size === 0 && queued.size === 0) tellIdle();
  }

  async function work(key: string): Promise<void> {
    // Lets the events that came in one chunk all arrive before the first of them is acted on.
    await sleep(0, signal);
    try {
      if (!signal.aborted) await sync(key);
      backoffs.delete(key);
    } catch (error) {
      if (!signal.aborted) {
        onError(key, error);
        const wait = backoffs.get(key) ?? new Backoff(backoff);
        backoffs.set(key, wait);
        addAfter(key, wait.nextMs());
      }
    }
    active.delete(key);
    if (again.delete(key)) queued.add(key);
    next();
  }

  function tellIdle(): void {
    for (const resolve of idleWaiters.splice(0)) resolve();
  }

  return {
    add,
    addAfter,
    idle: () =>
      active.size === 0 && queued.size === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            idleWaiters.push(resolve);
          }),
  };
}
