/** Tells by Events of objects that have no status to say it: those that cannot be read, and those that authorize nobody. */
import { type KubeObject, objectKey } from '@tulle/api';
import type { RecordEvent } from '../events.ts';

export interface Problem {
  /** As in lists of Events: `NotRead`, `AuthorizesNobody`. */
  reason: string;
  message: string;
}

/** What was left out, because too much was told at once, is told this much later. */
const RETRY_MS = 15_000;
const MESSAGE_CHARACTERS_MAX = 1_000;

export class Problems {
  readonly #record: RecordEvent;
  readonly #untold = new Map<string, { object: KubeObject; problem: Problem }>();
  readonly #told = new Map<string, string>();
  #isActive = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(record: RecordEvent) {
    this.#record = record;
  }

  /** The object as it is now: with a problem, or without. */
  set(object: KubeObject, problem: Problem | undefined): void {
    const key = `${object.kind}/${objectKey(object)}`;
    if (!problem) {
      this.#untold.delete(key);
      this.#told.delete(key);
    } else if (this.#told.get(key) !== problem.message) {
      this.#untold.set(key, { object, problem });
      this.#tell();
    }
  }

  /** Whether this process tells; what came before waits until it does. */
  setActive(isActive: boolean): void {
    this.#isActive = isActive;
    if (isActive) this.#tell();
    else clearTimeout(this.#timer);
  }

  #tell(): void {
    if (!this.#isActive) return;
    for (const [key, { object, problem }] of this.#untold) {
      const { apiVersion = '', kind = '', metadata } = object;
      const subject = {
        apiVersion,
        kind,
        namespace: metadata.namespace ?? 'default',
        name: metadata.name,
        ...(metadata.uid ? { uid: metadata.uid } : {}),
      };
      const message = problem.message.slice(0, MESSAGE_CHARACTERS_MAX);
      if (!this.#record({ subject, type: 'Warning', reason: problem.reason, message })) continue;
      this.#untold.delete(key);
      this.#told.set(key, problem.message);
    }
    clearTimeout(this.#timer);
    if (this.#untold.size > 0) this.#timer = setTimeout(() => this.#tell(), RETRY_MS).unref();
  }
}
