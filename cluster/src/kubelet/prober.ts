/**
 * Runs one probe of a container on its schedule and tells when its verdict changes.
 * A probe that has not succeeded yet is asked more often at first, so that what starts fast is ready fast; those early
 * failures do not count.
 */

import { MeshError } from '@tulle/api';
import type { Action } from './probe-action.ts';

export interface ProbeSpec extends Action {
  initialDelaySeconds?: number;
  periodSeconds?: number;
  timeoutSeconds?: number;
  successThreshold?: number;
  failureThreshold?: number;
  terminationGracePeriodSeconds?: number;
}

export interface ProberOptions {
  spec: ProbeSpec;
  kind: 'startup' | 'readiness' | 'liveness';
  /** Runs the action once; throws when it fails. */
  run(action: Action, timeoutMs: number): Promise<void>;
  /** The verdict changed, or stays failed past another threshold. */
  onVerdict(succeeded: boolean, message: string): void;
  /** Every failure that counts, for an event. */
  onFailure(message: string): void;
}

const EARLY_MS = [50, 100, 200, 400, 800, 1600, 3200];

/** Returns what stops it. */
export function startProber({ spec, kind, run, onVerdict, onFailure }: ProberOptions): () => void {
  const periodMs = (spec.periodSeconds ?? 10) * 1000;
  const timeoutMs = (spec.timeoutSeconds ?? 1) * 1000;
  const successesWanted = kind === 'readiness' ? (spec.successThreshold ?? 1) : 1;
  const failuresWanted = spec.failureThreshold ?? 3;
  const startedAtMs = performance.now();
  const delayMs = (spec.initialDelaySeconds ?? 0) * 1000;
  let early = 0;
  let nextCountedMs = delayMs;
  let isStopped = false;
  let hasSucceeded = false;
  let successes = 0;
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;

  async function probe(): Promise<void> {
    const sinceMs = performance.now() - startedAtMs;
    const counts = sinceMs >= nextCountedMs - 1;
    if (counts) nextCountedMs = sinceMs + periodMs;
    try {
      await run(spec, timeoutMs);
      if (isStopped) return;
      hasSucceeded = true;
      failures = 0;
      if (++successes === successesWanted) onVerdict(true, '');
    } catch (error) {
      if (isStopped) return;
      const { message } = MeshError.from(error);
      successes = 0;
      if (counts) {
        onFailure(message);
        if (++failures % failuresWanted === 0) onVerdict(false, message);
      }
    }
    if (isStopped) return;
    timer = setTimeout(probe, nextMs());
  }

  /** Early questions lie between the counted ones. */
  function nextMs(): number {
    const untilCountedMs = Math.max(nextCountedMs - (performance.now() - startedAtMs), 0);
    const soonMs = EARLY_MS[early];
    if (kind === 'liveness' || hasSucceeded || soonMs === undefined || soonMs >= untilCountedMs) return untilCountedMs;
    early++;
    return soonMs;
  }

  timer = setTimeout(probe, delayMs);
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}
