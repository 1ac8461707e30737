/** Creating and deleting a controller's pods, with the events that say so. */

import { type KubeObject, MeshError, type Pod } from '@tulle/api';
import type { Collection } from './collection.ts';
import type { EventRecorder } from './event-recorder.ts';

/** Pods created or deleted in one sync; the rest follows in the next. */
const BURST_MAX = 500;

/**
 * Creates pods in batches of 1, 2, 4, …, so that a template that the server refuses is refused once and not for every
 * replica. Throws the first failure after its batch.
 */
export async function createPods(
  pods: Collection<Pod>,
  recorder: EventRecorder,
  owner: KubeObject,
  wanted: Pod[],
): Promise<void> {
  const all = wanted.slice(0, BURST_MAX);
  for (let from = 0, size = 1; from < all.length; from += size, size *= 2) {
    const batch = all.slice(from, from + size);
    const results = await Promise.allSettled(batch.map((pod) => createPod(pods, recorder, owner, pod)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }
}

export async function createPod(
  pods: Collection<Pod>,
  recorder: EventRecorder,
  owner: KubeObject,
  wanted: Pod,
): Promise<Pod> {
  try {
    const pod = await pods.create(wanted);
    recorder.record(owner, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
    return pod;
  } catch (error) {
    if (!isNamespaceTerminating(error)) {
      recorder.record(owner, 'Warning', 'FailedCreate', `Error creating: ${statusMessage(error)}`);
    }
    throw error;
  }
}

export async function deletePods(
  pods: Collection<Pod>,
  recorder: EventRecorder,
  owner: KubeObject,
  unwanted: Pod[],
): Promise<void> {
  await Promise.all(
    unwanted.slice(0, BURST_MAX).map(async (pod) => {
      try {
        await pods.delete(pod);
      } catch (error) {
        recorder.record(owner, 'Warning', 'FailedDelete', `Error deleting: ${statusMessage(error)}`);
        throw error;
      }
      recorder.record(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
    }),
  );
}

/** The server's own words, without what we were doing. */
export function statusMessage(error: unknown): string {
  const { status, message } = MeshError.from(error);
  return (status as { message?: string } | undefined)?.message ?? message;
}

function isNamespaceTerminating(error: unknown): boolean {
  return error instanceof MeshError && error.code === 'PERMISSION_DENIED' && error.message.includes('being terminated');
}
