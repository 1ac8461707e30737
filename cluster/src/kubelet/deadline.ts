/** A point in time that things wait for, and that can come sooner than first said. */
export class Deadline {
  readonly reached: Promise<void>;
  readonly #resolve: () => void;
  #atMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(afterMs: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.reached = promise;
    this.#resolve = resolve;
    this.#atMs = performance.now() + afterMs;
    this.#arm();
  }

  get leftMs(): number {
    return Math.max(this.#atMs - performance.now(), 0);
  }

  /** Moves it to `afterMs` from now where that is sooner. */
  shorten(afterMs: number): void {
    const atMs = performance.now() + afterMs;
    if (atMs >= this.#atMs) return;
    this.#atMs = atMs;
    this.#arm();
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#resolve, this.leftMs);
  }
}
