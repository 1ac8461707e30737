/** What a pod's status says, as the controllers ask it. */

import type { Pod } from '@tulle/api';

export function podCondition(pod: Pod, type: string) {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

export function isPodReady(pod: Pod): boolean {
  return podCondition(pod, 'Ready')?.status === 'True';
}

export function isPodFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

/** Not finished and not being deleted. */
export function isPodActive(pod: Pod): boolean {
  return !isPodFinished(pod) && !pod.metadata.deletionTimestamp;
}

/** When the pod will have been ready for `minReadySeconds`; undefined while it is not ready. */
export function availableAtMs(pod: Pod, minReadySeconds = 0): number | undefined {
  const ready = podCondition(pod, 'Ready');
  if (ready?.status !== 'True') return undefined;
  if (minReadySeconds === 0) return 0;
  return timeMs(ready.lastTransitionTime) + minReadySeconds * 1000;
}

export function isPodAvailable(pod: Pod, minReadySeconds: number | undefined, nowMs: number): boolean {
  const atMs = availableAtMs(pod, minReadySeconds);
  return atMs !== undefined && atMs <= nowMs;
}

/** How long until the next of the pods becomes available; undefined when none is on its way. */
export function nextAvailableMs(pods: Pod[], minReadySeconds: number | undefined, nowMs: number): number | undefined {
  const times = pods
    .map((pod) => availableAtMs(pod, minReadySeconds))
    .filter((atMs): atMs is number => atMs !== undefined && atMs > nowMs);
  return times.length > 0 ? Math.min(...times) - nowMs : undefined;
}

/** Of an RFC 3339 time; 0 where there is none. */
export function timeMs(time: string | undefined): number {
  return time ? Date.parse(time) : 0;
}

/** As the API writes times: whole seconds. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
