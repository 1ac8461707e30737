/** Events about objects, as `kubectl describe` shows them; the same event again only counts up. */

import { randomUUID } from 'node:crypto';
import { CORE_EVENTS, type CoreEvent, type KubeObject, MeshError } from '@tulle/api';
import type { Client } from '@tulle/client';

export interface EventRecorder {
  /** Never fails and never waits: an event that cannot be written is dropped. */
  record(about: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): void;
  /** Resolves when what was recorded so far is written. */
  flush(): Promise<void>;
}

/** Events that wait for the API server; beyond it new ones are dropped, as they are about the same trouble. */
const PENDING_MAX = 1_000;
/** Events remembered so that a repetition counts up. */
const REMEMBERED_MAX = 2_000;
/** What the API server accepts. */
const MESSAGE_CHARS_MAX = 1_024;

export function createEventRecorder(client: Client, component: string, signal: AbortSignal): EventRecorder {
  const remembered = new Map<string, CoreEvent>();
  let pending = 0;
  let last: Promise<void> = Promise.resolve();

  async function write(key: string, event: CoreEvent): Promise<void> {
    const before = remembered.get(key);
    try {
      const written = before
        ? await countUp(client, before, event)
        : await client.create<CoreEvent>(CORE_EVENTS, event);
      remembered.delete(key);
      remembered.set(key, written);
      const [oldest] = remembered.keys();
      if (remembered.size > REMEMBERED_MAX && oldest !== undefined) remembered.delete(oldest);
    } catch (error) {
      // The namespace is going away, the event has expired, or the server is away: it was only a note.
      remembered.delete(key);
      if (before && error instanceof MeshError && error.code === 'NOT_FOUND') await write(key, event);
    }
  }

  return {
    record(about, type, reason, message) {
      if (pending >= PENDING_MAX || signal.aborted) return;
      const text = message.length > MESSAGE_CHARS_MAX ? `${message.slice(0, MESSAGE_CHARS_MAX - 1)}…` : message;
      const event = newEvent(about, type, reason, text, component);
      const key = [about.metadata.uid, type, reason, text].join('|');
      pending++;
      last = last.then(() => write(key, event)).finally(() => pending--);
    },
    flush: () => last,
  };
}

function countUp(client: Client, before: CoreEvent, event: CoreEvent): Promise<CoreEvent> {
  const { name, namespace } = before.metadata;
  const patch = { count: (before.count ?? 1) + 1, lastTimestamp: event.lastTimestamp };
  return client.patch<CoreEvent>(CORE_EVENTS, name, namespace, patch, 'merge');
}

function newEvent(about: KubeObject, type: string, reason: string, message: string, component: string): CoreEvent {
  const { name, namespace = 'default', uid, resourceVersion } = about.metadata;
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  return {
    metadata: { name: `${name}.${randomUUID().replaceAll('-', '').slice(0, 16)}`, namespace },
    involvedObject: {
      apiVersion: about.apiVersion,
      kind: about.kind,
      name,
      namespace: about.metadata.namespace,
      uid,
      resourceVersion,
    },
    type,
    reason,
    message,
    count: 1,
    firstTimestamp: now,
    lastTimestamp: now,
    source: { component },
    reportingComponent: component,
    reportingInstance: '',
  };
}
