/** Which field paths differ between two versions of an object. */
import { isDeepStrictEqual } from 'node:util';
import type { Schema } from '../schema/schema.ts';
import { childrenOf, FieldSet, isAtomic } from './field-set.ts';

export interface Difference {
  /** Paths that were added or changed in value. */
  changed: FieldSet;
  removed: FieldSet;
}

export function compareFields(old: unknown, now: unknown, schema: Schema | undefined): Difference {
  const changed = new FieldSet();
  const removed = new FieldSet();
  walk(old, now, schema, changed, removed, true);
  return { changed: prune(changed), removed: prune(removed) };
}

function walk(
  old: unknown,
  now: unknown,
  schema: Schema | undefined,
  changed: FieldSet,
  removed: FieldSet,
  isRoot: boolean,
): void {
  if (old === now) return;
  const isOldAtomic = old === undefined || isAtomic(schema, old);
  const isNowAtomic = now === undefined || isAtomic(schema, now);
  if (isOldAtomic && isNowAtomic) {
    if (isDeepStrictEqual(old, now)) return;
    if (now === undefined) removed.member = true;
    else changed.member = true;
    return;
  }
  const before = isOldAtomic ? new Map() : childrenOf(old, schema);
  const after = isNowAtomic ? new Map() : childrenOf(now, schema);
  if (!isRoot) {
    // A map, list or list element as such comes and goes with its first and last field; a struct has no path of its own.
    const hasOwnPath = schema?.properties === undefined || (!isNowAtomic && after.size === 0);
    if (old === undefined && hasOwnPath) changed.member = true;
    if (now === undefined) removed.member = true;
  }
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    const a = before.get(key);
    const b = after.get(key);
    const changedChild = changed.child(key);
    const removedChild = removed.child(key);
    walk(a?.value, b?.value, (b ?? a)!.schema, changedChild, removedChild, false);
    if (a === undefined && !key.startsWith('f:')) changedChild.member = true;
  }
}

function prune(set: FieldSet): FieldSet {
  for (const [key, child] of set.children) if (prune(child).isEmpty) set.children.delete(key);
  return set;
}
