/** A map from a key to a set of values that forgets a key with its last value. */

export class MultiMap<K, V> {
  readonly #sets = new Map<K, Set<V>>();

  get(key: K): ReadonlySet<V> {
    return this.#sets.get(key) ?? EMPTY;
  }

  add(key: K, value: V): void {
    const set = this.#sets.get(key);
    if (set) set.add(value);
    else this.#sets.set(key, new Set([value]));
  }

  delete(key: K, value: V): void {
    const set = this.#sets.get(key);
    if (set?.delete(value) && set.size === 0) this.#sets.delete(key);
  }

  keys(): MapIterator<K> {
    return this.#sets.keys();
  }

  get size(): number {
    return this.#sets.size;
  }
}

const EMPTY: ReadonlySet<never> = new Set<never>();
