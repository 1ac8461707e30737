/** Who wants to hear of which topic, and the wake-up of a stream: many changes while it is busy are one. */
import { MultiMap } from './multi-map.ts';
import type { Topic } from './workload-index.ts';

export class Subscriptions {
  readonly #wakers = new MultiMap<Topic, Waker>();

  notify(topics: Iterable<Topic>): void {
    for (const topic of topics) for (const waker of this.#wakers.get(topic)) waker.wake();
  }

  /** Wakes `waker` on each change of the topics until disposed. */
  subscribe(topics: readonly Topic[], waker: Waker): Disposable {
    for (const topic of topics) this.#wakers.add(topic, waker);
    return {
      [Symbol.dispose]: () => {
        for (const topic of topics) this.#wakers.delete(topic, waker);
      },
    };
  }

  get size(): number {
    return this.#wakers.size;
  }
}

export class Waker {
  #isAwake = false;
  #resume: (() => void) | undefined;

  wake(): void {
    this.#isAwake = true;
    this.#resume?.();
  }

  /** Resolves when woken since the last wait, or when the signal is aborted. One waiter at a time. */
  async wait(signal: AbortSignal): Promise<void> {
    if (!this.#isAwake && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const onAbort = () => resolve();
      this.#resume = resolve;
      signal.addEventListener('abort', onAbort);
      await promise;
      signal.removeEventListener('abort', onAbort);
      this.#resume = undefined;
    }
    this.#isAwake = false;
  }
}
