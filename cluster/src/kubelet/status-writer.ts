/** Sends pods' statuses to the API: the latest of each, once it differs from what was sent, a few at a time. */

import { MeshError, PODS, type Pod } from '@tulle/api';
import type { Client } from '@tulle/client';
import type { Logger } from 'pino';

/** Enough to keep the API server busy without standing in others' way. */
const IN_FLIGHT_MAX = 8;
const RETRY_MS = 500;

export interface StatusSource {
  readonly pod: Pod;
  status(): NonNullable<Pod['status']>;
}

export class StatusWriter {
  readonly #client: Client;
  readonly #logger: Logger;
  readonly #dirty = new Map<string, StatusSource>();
  readonly #sent = new Map<string, string>();
  readonly #busy = new Map<string, Promise<void>>();
  #isScheduled = false;

  constructor(client: Client, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  report(uid: string, source: StatusSource): void {
    this.#dirty.set(uid, source);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // What happens within one turn of the loop is one status.
    setImmediate(() => {
      this.#isScheduled = false;
      this.#pump();
    });
  }

  /** Resolves when the pod's last status is out. */
  async flush(uid: string): Promise<void> {
    while (this.#dirty.has(uid) || this.#busy.has(uid)) {
      await (this.#busy.get(uid) ?? new Promise((resolve) => setImmediate(resolve)));
    }
  }

  forget(uid: string): void {
    this.#dirty.delete(uid);
    this.#sent.delete(uid);
  }

  #pump(): void {
    for (const [uid, source] of this.#dirty) {
      if (this.#busy.size >= IN_FLIGHT_MAX) return;
      if (this.#busy.has(uid)) continue;
      this.#dirty.delete(uid);
      this.#busy.set(
        uid,
        this.#send(uid, source).finally(() => {
          this.#busy.delete(uid);
          this.#pump();
        }),
      );
    }
  }

  async #send(uid: string, source: StatusSource): Promise<void> {
    const status = source.status();
    const text = JSON.stringify(status, (key, value) => (key === 'lastTransitionTime' ? undefined : value));
    if (this.#sent.get(uid) === text) return;
    const { name, namespace } = source.pod.metadata;
    try {
      // The uid is a precondition: a pod of the same name made since then is another one.
      const patch = { metadata: { uid }, status };
      await this.#client.patch(PODS, name, namespace, patch, 'strategic', { subresource: 'status' });
      this.#sent.set(uid, text);
    } catch (cause) {
      const error = MeshError.from(cause);
      if (error.code === 'NOT_FOUND') return;
      this.#logger.warn({ err: error, pod: name }, 'pod status not sent');
      if (error.code === 'UNAVAILABLE' || error.code === 'ABORTED')
        setTimeout(() => this.#dirty.has(uid) || this.report(uid, source), RETRY_MS);
    }
  }
}
