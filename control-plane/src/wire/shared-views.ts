/**
 * Answers that several streams wait for, each worked out once per change and handed to all of them as one object. A
 * stream hears only of answers that differ; what a slow reader misses, it never sees.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ClusterState } from '../workloads/cluster-state.ts';
import { Waker } from '../workloads/subscriptions.ts';
import type { Topic } from '../workloads/workload-index.ts';

export interface View<T> {
  /** What the answer depends on now; asked for again after each change. */
  topics: () => readonly Topic[];
  /** A throw ends the streams with its error. */
  read: () => T;
}

type Answer<T> = { value: T } | { error: unknown };

export class SharedViews<T> {
  readonly #state: ClusterState;
  readonly #isEqual: (a: T, b: T) => boolean;
  readonly #entries = new Map<string, Entry<T>>();

  constructor(state: ClusterState, isEqual: (a: T, b: T) => boolean = isDeepStrictEqual) {
    this.#state = state;
    this.#isEqual = isEqual;
  }

  /**
   * Yields the answer at once and after every change, until the signal is aborted, then throws its reason. Watches with
   * one key must have the same view.
   */
  async *watch(key: string, view: View<T>, signal: AbortSignal): AsyncGenerator<T> {
    await this.#state.ready();
    const waker = new Waker();
    const entry = this.#enter(key, view, waker);
    try {
      let told: Answer<T> | undefined;
      for (;;) {
        signal.throwIfAborted();
        const answer = entry.answer;
        if ('error' in answer) throw answer.error;
        if (answer !== told) yield answer.value;
        told = answer;
        await waker.wait(signal);
      }
    } finally {
      this.#leave(key, entry, waker);
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  #enter(key: string, view: View<T>, waker: Waker): Entry<T> {
    let entry = this.#entries.get(key);
    if (!entry) {
      entry = new Entry(this.#state, view, this.#isEqual);
      this.#entries.set(key, entry);
    }
    entry.watchers.add(waker);
    return entry;
  }

  #leave(key: string, entry: Entry<T>, waker: Waker): void {
    entry.watchers.delete(waker);
    if (entry.watchers.size > 0) return;
    entry[Symbol.dispose]();
    this.#entries.delete(key);
  }
}

class Entry<T> {
  readonly watchers = new Set<Waker>();
  answer: Answer<T>;
  readonly #state: ClusterState;
  readonly #view: View<T>;
  readonly #isEqual: (a: T, b: T) => boolean;
  #topics: readonly Topic[] = [];
  #subscription: Disposable | undefined;
  #pending: NodeJS.Immediate | undefined;

  constructor(state: ClusterState, view: View<T>, isEqual: (a: T, b: T) => boolean) {
    this.#state = state;
    this.#view = view;
    this.#isEqual = isEqual;
    this.#subscribe();
    this.answer = this.#read();
  }

  /** All changes that have come by the end of the turn are one. */
  wake(): void {
    this.#pending ??= setImmediate(() => this.#refresh());
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#pending);
    this.#subscription?.[Symbol.dispose]();
  }

  #refresh(): void {
    this.#pending = undefined;
    this.#subscribe();
    const next = this.#read();
    const { answer } = this;
    if ('value' in next && 'value' in answer && this.#isEqual(next.value, answer.value)) return;
    this.answer = next;
    for (const waker of this.watchers) waker.wake();
  }

  #read(): Answer<T> {
    try {
      return { value: this.#view.read() };
    } catch (error) {
      return { error };
    }
  }

  #subscribe(): void {
    const topics = this.#view.topics();
    if (this.#subscription && isDeepStrictEqual(topics, this.#topics)) return;
    const subscription = this.#state.subscriptions.subscribe(topics, this);
    this.#subscription?.[Symbol.dispose]();
    this.#subscription = subscription;
    this.#topics = topics;
  }
}
