/** Statuses: whether one has changed, and their lists of conditions. */

import { isDeepStrictEqual } from 'node:util';
import { formatTime } from './pod-state.ts';

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

/**
 * The list with this condition; with a status of undefined, without it. The transition time changes with the status
 * alone, and nothing changes where the condition is there already.
 */
export function setCondition<C extends Condition>(
  conditions: C[] | undefined,
  nowMs: number,
  wanted: { type: string; status: string | undefined; reason: string; message: string },
  updateTimeField?: string,
): C[] | undefined {
  const present = conditions?.find((condition) => condition.type === wanted.type);
  const others = conditions?.filter((condition) => condition.type !== wanted.type) ?? [];
  if (wanted.status === undefined) return present ? others : conditions;
  const isSame =
    present?.status === wanted.status && present.reason === wanted.reason && present.message === wanted.message;
  if (isSame) return conditions;
  const now = formatTime(nowMs);
  const lastTransitionTime = present?.status === wanted.status ? present.lastTransitionTime : now;
  const times = { lastTransitionTime, ...(updateTimeField ? { [updateTimeField]: now } : {}) };
  return [...others, { ...wanted, ...times } as unknown as C];
}

/** Whether two statuses say the same; fields that are not there, undefined or empty lists say nothing. */
export function isSameStatus(one: object | undefined, other: object | undefined): boolean {
  return isDeepStrictEqual(said(one), said(other));
}

function said(status: object | undefined): unknown {
  return JSON.parse(
    JSON.stringify(status ?? {}, (_name, value) => (Array.isArray(value) && value.length === 0 ? undefined : value)),
  );
}
