/** Who wants to hear of which topic, and the wake-up of a stream: many changes while it is busy are one. */
import { MultiMap } from './multi-map.ts';
import type { Topic } from './workload-index.ts';

export interface Subscriber {
  wake(): void;
}

export class Subscriptions {
  readonly #wakers = new MultiMap<Topic, Subscriber>();

  notify(topics: Iterable<Topic>): void {
    for (const topic of topics) for (const waker of this.#wakers.get(topic)) waker.wake();
  }

  /** Wakes the subscriber on each change of the topics until disposed. */
  subscribe(topics: readonly Topic[], subscriber: Subscriber): Disposable {
    // An own object each time: one subscriber may have several subscriptions to a topic.
    const own = { wake: () => subscriber.wake() };
    for (const topic of topics) this.#wakers.add(topic, own);
    return {
      [Symbol.dispose]: () => {
        for (const topic of topics) this.#wakers.delete(topic, own);
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
