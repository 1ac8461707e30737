/** One container of a pod as the agent knows it. */

import type { Container } from '@tulle/api';

/**
 * `init` runs to its end before the next; `sidecar` is an init container that stays (restartPolicy Always);
 * `main` is one of spec.containers.
 */
export type ContainerRole = 'init' | 'sidecar' | 'main';

export interface Termination {
  exitCode: number;
  signal: number;
  reason: string;
  message?: string;
  startedAt: string;
  finishedAt: string;
  containerId: string;
}

/**
 * waiting: not started, or between runs; starting: the runtime is at it; running; terminated: the last run has ended and
 * it is not (yet) decided or time to start another.
 */
export type ContainerPhase = 'waiting' | 'starting' | 'running' | 'terminated';

export class ContainerState {
  readonly name: string;
  readonly role: ContainerRole;
  spec: Container;
  phase: ContainerPhase = 'waiting';
  waiting: { reason: string; message?: string };
  containerId = '';
  startedAt = '';
  /** The run that ended last, also while waiting for the next. */
  termination: Termination | undefined;
  lastTermination: Termination | undefined;
  restartCount = 0;
  /** The next start is a restart, and counts as one when it comes. */
  isRestart = false;
  /** Runs of this agent, so that ids and logs of runs do not mix. */
  attempt = 0;
  /** Startup probe has succeeded, or there is none, and the postStart hook has ended. */
  isStarted = false;
  isReady = false;
  isHookRunning = false;
  /** Stop was asked for: no restart follows. */
  isStopping = false;
  retryAtMs = 0;
  failures = 0;
  stopProbers: (() => void)[] = [];
  exited: PromiseWithResolvers<void> | undefined;

  constructor(spec: Container, role: ContainerRole, waitingReason: string) {
    this.name = spec.name;
    this.spec = spec;
    this.role = role;
    this.waiting = { reason: waitingReason };
  }

  get isRunning(): boolean {
    return this.phase === 'running';
  }

  stopAllProbers(): void {
    for (const stop of this.stopProbers) stop();
    this.stopProbers = [];
  }
}

/**
 * Milliseconds until the next restart after so many failures in a row. The first comes soon, but not before the Services'
 * clients can know that the pod is not ready: a proxy that is back before its application answers for it with errors.
 */
export function backoffMs(failures: number): number {
  const FIRST_MS = 10_000;
  const LONGEST_MS = 300_000;
  const SOON_MS = 1000;
  return failures <= 1 ? SOON_MS : Math.min(FIRST_MS * 2 ** (failures - 2), LONGEST_MS);
}

/** A run that lasted this long begins the back-off anew. */
export const BACKOFF_RESET_MS = 600_000;
