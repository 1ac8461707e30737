/** A stream of the latest state: answers now, then again after changes; what a slow reader misses, it never sees. */
import type { ClusterState } from '../workloads/cluster-state.ts';
import { Waker } from '../workloads/subscriptions.ts';
import type { Topic } from '../workloads/workload-index.ts';

/**
 * Yields what `next` returns, at once and after every change of a topic, until the signal is aborted, then throws its
 * reason. An empty array says that nothing is new.
 */
export async function* watchView<T>(
  state: ClusterState,
  topics: readonly Topic[],
  signal: AbortSignal,
  next: () => readonly T[],
): AsyncGenerator<T> {
  await state.ready();
  const waker = new Waker();
  using _ = state.subscriptions.subscribe(topics, waker);
  for (;;) {
    signal.throwIfAborted();
    for (const message of next()) yield message;
    await waker.wait(signal);
  }
}

/** Makes a `next` that returns a value only when it differs from the one before. */
export function onlyChanges<T>(read: () => T, isEqual: (a: T, b: T) => boolean): () => readonly T[] {
  let last: { value: T } | undefined;
  return () => {
    const value = read();
    if (last && isEqual(last.value, value)) return [];
    last = { value };
    return [value];
  };
}
