/** Merging an applied configuration into a live object, and taking fields out of one, by a schema. */
import type { Schema } from '../schema/schema.ts';
import { fieldSchema } from '../schema/schema.ts';
import { childrenOf, type FieldSet, type Fields, fieldsOf, isAtomic, isFields } from './field-set.ts';

/** The live value with everything that `applied` says; lists with keys keep the live order, new elements follow. */
export function mergeApplied(live: unknown, applied: unknown, schema: Schema | undefined): unknown {
  if (live === undefined || isAtomic(schema, applied)) return applied;
  if (Array.isArray(applied)) {
    if (!Array.isArray(live)) return applied;
    const before = childrenOf(live, schema);
    const after = childrenOf(applied, schema);
    const out: unknown[] = [];
    for (const [key, child] of before) {
      const theirs = after.get(key);
      out.push(theirs === undefined ? child.value : mergeApplied(child.value, theirs.value, child.schema));
    }
    for (const [key, child] of after) if (!before.has(key)) out.push(child.value);
    return reorder(out, [...after.keys()], schema);
  }
  if (!isFields(applied) || !isFields(live)) return applied;
  const out: Fields = { ...live };
  for (const [field, value] of Object.entries(applied)) {
    out[field] = mergeApplied(live[field], value, fieldSchema(schema, field));
  }
  return out;
}

/** Elements that the configuration names come in its order, in the places that they take up together. */
function reorder(list: unknown[], wanted: string[], schema: Schema | undefined): unknown[] {
  const keys = [...childrenOf(list, schema).keys()];
  if (keys.length !== list.length) return list;
  const rank = new Map(wanted.map((key, i) => [key, i]));
  const places = keys.flatMap((key, i) => (rank.has(key) ? [i] : []));
  const named = places.map((i) => ({ item: list[i], rank: rank.get(keys[i]!)! })).sort((a, b) => a.rank - b.rank);
  const out = [...list];
  places.forEach((place, i) => {
    out[place] = named[i]!.item;
  });
  return out;
}

/** The value without the paths in `gone`; an element or field that still has others' fields in it stays. */
export function removeFields(value: unknown, gone: FieldSet, kept: FieldSet, schema: Schema | undefined): unknown {
  if (gone.children.size === 0 || isAtomic(schema, value)) return value;
  if (Array.isArray(value)) {
    const children = [...childrenOf(value, schema)];
    if (children.length !== value.length) return value;
    return children.flatMap(([key, child]) => {
      const taken = gone.children.get(key);
      if (taken === undefined) return [child.value];
      const keep = kept.children.get(key);
      if (taken.member && keep === undefined) return [];
      return [removeFields(child.value, taken, keep ?? emptyKept, child.schema)];
    });
  }
  if (!isFields(value)) return value;
  const out: Fields = { ...value };
  for (const [key, taken] of gone.children) {
    const field = key.slice(2);
    if (!key.startsWith('f:') || out[field] === undefined) continue;
    const keep = kept.children.get(key);
    const inner = fieldSchema(schema, field);
    if (keep === undefined && (taken.member || isAtomic(inner, out[field]))) {
      delete out[field];
      continue;
    }
    const rest = removeFields(out[field], taken, keep ?? emptyKept, inner);
    const isEmptied = keep === undefined && isEmpty(rest) && !isEmpty(out[field]);
    if (isEmptied) delete out[field];
    else out[field] = rest;
  }
  return out;
}

const emptyKept: FieldSet = fieldsOf({}, { type: 'object', properties: {} });

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : isFields(value) && Object.keys(value).length === 0;
}
