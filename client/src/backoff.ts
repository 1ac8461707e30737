/** Waiting between attempts: doubling with jitter, cut short by a signal. */

export interface BackoffRange {
  minMs: number;
  maxMs: number;
}

/** Doubles from `minMs` to `maxMs`; each wait is drawn from the upper half, so that many clients spread out. */
export class Backoff {
  private readonly range: BackoffRange;
  private attempts = 0;

  constructor(range: BackoffRange) {
    this.range = range;
  }

  nextMs(): number {
    const ceilingMs = Math.min(this.range.maxMs, this.range.minMs * 2 ** Math.min(this.attempts++, DOUBLINGS_MAX));
    return ceilingMs / 2 + (Math.random() * ceilingMs) / 2;
  }

  reset(): void {
    this.attempts = 0;
  }
}

/** 2^30 is past any range; keeps the exponent from growing without end. */
const DOUBLINGS_MAX = 30;

/** Resolves after `ms`, or at once when the signal is aborted; never rejects. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done);
  });
}
