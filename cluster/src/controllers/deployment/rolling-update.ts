/**
 * The arithmetic of a rolling update: how many replicas each ReplicaSet gets next, so that never more than
 * `desired + maxSurge` pods are asked for and never fewer than `desired - maxUnavailable` of those available are kept.
 */

import { type IntOrPercent, resolveIntOrPercent } from '../int-or-percent.ts';

/** A ReplicaSet as far as the arithmetic goes. */
export interface Share {
  name: string;
  /** What is asked for. */
  replicas: number;
  available: number;
  createdMs: number;
  /** `desired + maxSurge` when this ReplicaSet was last scaled. */
  maxReplicas?: number;
}

export interface Bounds {
  desired: number;
  maxSurge: number;
  maxUnavailable: number;
}

/** New numbers of replicas by name; only those that change. */
export type Scaling = Map<string, number>;

/** Shares in percent round so that a rollout can always proceed: surge up, unavailable down, and not both to zero. */
export function boundsOf(desired: number, maxSurge: IntOrPercent, maxUnavailable: IntOrPercent): Bounds {
  const surge = resolveIntOrPercent(maxSurge, desired, 'up', '25%');
  const unavailable = resolveIntOrPercent(maxUnavailable, desired, 'down', '25%');
  if (surge === 0 && unavailable === 0) return { desired, maxSurge: 0, maxUnavailable: 1 };
  return { desired, maxSurge: surge, maxUnavailable: Math.min(unavailable, desired) };
}

/** How many replicas the new ReplicaSet may have, given what all of them have now. */
export function newReplicas({ desired, maxSurge }: Bounds, newShare: Share | undefined, oldShares: Share[]): number {
  const current = newShare?.replicas ?? 0;
  const room = desired + maxSurge - current - sum(oldShares, 'replicas');
  return room <= 0 ? current : current + Math.min(room, desired - current);
}

/** One step: the new ReplicaSet grows (or shrinks to what is desired), and when it cannot, the old ones shrink. */
export function planRollingUpdate(bounds: Bounds, newShare: Share, oldShares: Share[]): Scaling {
  const { desired } = bounds;
  const next = newShare.replicas > desired ? desired : newReplicas(bounds, newShare, oldShares);
  if (next !== newShare.replicas) return new Map([[newShare.name, next]]);
  return planOldScaleDown(bounds, newShare, oldShares);
}

function planOldScaleDown({ desired, maxUnavailable }: Bounds, newShare: Share, oldShares: Share[]): Scaling {
  const old = [...oldShares].sort((a, b) => a.createdMs - b.createdMs);
  const replicas = new Map(old.map((share) => [share.name, share.replicas]));
  const minAvailable = desired - maxUnavailable;
  const newUnavailable = newShare.replicas - newShare.available;
  const removable = newShare.replicas + sum(old, 'replicas') - minAvailable - newUnavailable;

  // What is not available goes first: it serves nobody.
  let left = Math.max(0, removable);
  for (const share of old) {
    const count = Math.min(left, Math.max(0, share.replicas - share.available));
    replicas.set(share.name, share.replicas - count);
    left -= count;
  }
  left = Math.min(left, Math.max(0, newShare.available + sum(old, 'available') - minAvailable));
  for (const share of old) {
    const present = replicas.get(share.name) ?? 0;
    const count = Math.min(left, present);
    replicas.set(share.name, present - count);
    left -= count;
  }
  return changed(old, replicas);
}

/** When the number desired changes during a rollout, every ReplicaSet grows or shrinks in proportion. */
export function planProportionalScaling({ desired, maxSurge }: Bounds, shares: Share[]): Scaling {
  const active = shares.filter((share) => share.replicas > 0);
  const allowed = desired > 0 ? desired + maxSurge : 0;
  const toAdd = allowed - sum(active, 'replicas');
  // The largest takes the rest; of equals the newest when growing, the oldest when shrinking.
  active.sort((a, b) => b.replicas - a.replicas || (toAdd > 0 ? b.createdMs - a.createdMs : a.createdMs - b.createdMs));
  const replicas = new Map<string, number>();
  let added = 0;
  for (const share of active) {
    const count = toAdd === 0 ? 0 : proportionOf(share, desired, allowed, toAdd, added);
    replicas.set(share.name, share.replicas + count);
    added += count;
  }
  const first = active[0];
  if (first && toAdd !== 0) replicas.set(first.name, Math.max(0, (replicas.get(first.name) ?? 0) + toAdd - added));
  return changed(active, replicas);
}

function proportionOf(share: Share, desired: number, allowed: number, toAdd: number, added: number): number {
  const before = share.maxReplicas || allowed;
  const fraction = desired === 0 ? -share.replicas : Math.round((share.replicas * allowed) / before) - share.replicas;
  return toAdd > 0 ? Math.max(0, Math.min(fraction, toAdd - added)) : Math.min(0, Math.max(fraction, toAdd - added));
}

function changed(shares: Share[], replicas: Map<string, number>): Scaling {
  const scaling: Scaling = new Map();
  for (const { name, replicas: present } of shares) {
    const next = replicas.get(name) ?? present;
    if (next !== present) scaling.set(name, next);
  }
  return scaling;
}

function sum(shares: Share[], field: 'replicas' | 'available'): number {
  return shares.reduce((total, share) => total + share[field], 0);
}
