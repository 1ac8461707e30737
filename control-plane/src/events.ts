/** Tells what users should know of an object as Kubernetes Events on it; telling is never worth failing or waiting for. */
import { CORE_EVENTS, MeshError } from '@tulle/api';
import type { Client } from '@tulle/client';
import type { Logger } from './logger.ts';

export interface EventSubject {
  apiVersion: string;
  kind: string;
  namespace: string;
  name: string;
  uid?: string;
}

export interface MeshEvent {
  subject: EventSubject;
  type: 'Normal' | 'Warning';
  /** Such as `IssuerUpdated`: in lists of Events, people look for it. */
  reason: string;
  message: string;
}

/** False where the Event was left out: the same was told a moment ago, or too many are under way. */
export type RecordEvent = (event: MeshEvent) => boolean;

export interface EventRecorderOptions {
  client: Pick<Client, 'create'>;
  logger: Logger;
  /** Who tells, such as `linkerd-identity`. */
  component: string;
  now?: () => number;
}

/** One Event a minute for each reason and subject: a fleet that restarts must not fill the API server with them. */
const INTERVAL_MS = 60_000;
/** Remembered subjects; past it, the oldest is forgotten and may be told of again. */
const SUBJECTS_MAX = 4_096;
/** Requests under way at once; further Events are dropped. */
const IN_FLIGHT_MAX = 16;

export function createEventRecorder(options: EventRecorderOptions): RecordEvent {
  const { client, logger, component, now = Date.now } = options;
  const lastMs = new Map<string, number>();
  let inFlight = 0;
  return ({ subject, type, reason, message }) => {
    const key = `${reason}/${subject.kind}/${subject.namespace}/${subject.name}`;
    const last = lastMs.get(key);
    if (inFlight >= IN_FLIGHT_MAX || (last !== undefined && now() - last < INTERVAL_MS)) return false;
    lastMs.delete(key);
    lastMs.set(key, now());
    if (lastMs.size > SUBJECTS_MAX) lastMs.delete(lastMs.keys().next().value!);
    const at = new Date(now()).toISOString().replace(/\.\d+Z$/, 'Z');
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { generateName: `${subject.name.slice(0, 200)}.`, namespace: subject.namespace },
      involvedObject: subject,
      type,
      reason,
      message,
      source: { component },
      firstTimestamp: at,
      lastTimestamp: at,
      count: 1,
    };
    inFlight++;
    client
      .create(CORE_EVENTS, event, { namespace: subject.namespace })
      .catch((cause) => logger.debug({ reason, error: MeshError.from(cause).message }, 'event not recorded'))
      .finally(() => {
        inFlight--;
      });
    return true;
  };
}
