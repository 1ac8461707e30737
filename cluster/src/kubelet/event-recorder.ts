/** Events about pods, as `kubectl describe` shows them; the same one again counts up instead of adding another. */

import { randomBytes } from 'node:crypto';
import { CORE_EVENTS, MeshError, type Pod } from '@tulle/api';
import type { Client } from '@tulle/client';
import type { Logger } from 'pino';

/** Events are a comfort: past this many waiting, new ones are dropped. */
const QUEUE_MAX = 1000;
const IN_FLIGHT_MAX = 4;
/** Different events that are remembered for counting. */
const KNOWN_MAX = 4096;

interface Known {
  name: string;
  count: number;
}

export class EventRecorder {
  readonly #client: Client;
  readonly #source: { component: string; host: string };
  readonly #logger: Logger;
  readonly #queue: (() => Promise<void>)[] = [];
  readonly #known = new Map<string, Known>();
  #inFlight = 0;

  constructor(client: Client, nodeName: string, logger: Logger) {
    this.#client = client;
    this.#source = { component: 'kubelet', host: nodeName };
    this.#logger = logger;
  }

  record(pod: Pod, type: 'Normal' | 'Warning', reason: string, message: string, containerPath?: string): void {
    if (this.#queue.length >= QUEUE_MAX) return;
    const now = new Date().toISOString().replace(/\.\d+/, '');
    this.#queue.push(() => this.#send(pod, type, reason, message, containerPath, now));
    this.#pump();
  }

  #pump(): void {
    while (this.#inFlight < IN_FLIGHT_MAX) {
      const next = this.#queue.shift();
      if (!next) return;
      this.#inFlight++;
      next()
        .catch((error) => this.#logger.debug({ err: MeshError.from(error) }, 'event not recorded'))
        .finally(() => {
          this.#inFlight--;
          this.#pump();
        });
    }
  }

  async #send(pod: Pod, type: string, reason: string, message: string, fieldPath: string | undefined, now: string) {
    const { name, namespace = 'default', uid, resourceVersion } = pod.metadata;
    const key = [uid, type, reason, message, fieldPath].join('|');
    const known = this.#known.get(key);
    if (known) {
      known.count++;
      await this.#client.patch(CORE_EVENTS, known.name, namespace, { count: known.count, lastTimestamp: now }, 'merge');
      return;
    }
    const event = `${name}.${randomBytes(8).toString('hex')}`;
    this.#known.set(key, { name: event, count: 1 });
    if (this.#known.size > KNOWN_MAX) this.#known.delete(this.#known.keys().next().value ?? '');
    const involvedObject = { apiVersion: 'v1', kind: 'Pod', name, namespace, uid, resourceVersion };
    await this.#client.create(
      CORE_EVENTS,
      {
        metadata: { name: event, namespace },
        involvedObject: fieldPath ? { ...involvedObject, fieldPath } : involvedObject,
        type,
        reason,
        message,
        count: 1,
        firstTimestamp: now,
        lastTimestamp: now,
        source: this.#source,
        reportingComponent: this.#source.component,
        reportingInstance: this.#source.host,
      },
      { namespace },
    );
  }
}
