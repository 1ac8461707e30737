/**
 * Strategic merge patch: merge patch in which lists with keys merge by their first key, with the directives `$patch`,
 * `$retainKeys`, `$deleteFromPrimitiveList/x` and `$setElementOrder/x`. The inputs are not changed.
 */
import { isDeepStrictEqual } from 'node:util';
import { badRequest } from '../apiserver/status.ts';
import { fieldSchema, listKeys, type Schema } from '../schema/schema.ts';

type Fields = Record<string, unknown>;

const DELETE_FROM = '$deleteFromPrimitiveList/';
const ORDER = '$setElementOrder/';

export function applyStrategicMergePatch(target: unknown, patch: unknown, schema: Schema | undefined): unknown {
  if (!isObject(patch)) throw badRequest('error decoding patch: a strategic merge patch is an object');
  return mergeObject(isObject(target) ? target : {}, patch, schema);
}

function mergeObject(target: Fields, patch: Fields, schema: Schema | undefined): Fields {
  if (patch.$patch === 'replace') return withoutDirectives(patch);
  if (patch.$patch === 'delete') return {};
  if (patch.$patch !== undefined && patch.$patch !== 'merge') {
    throw badRequest(`error decoding patch: unknown patch type found: ${String(patch.$patch)}`);
  }
  const out: Fields = { ...target };
  const retained = patch.$retainKeys;
  if (Array.isArray(retained)) {
    for (const field of Object.keys(out)) if (!retained.includes(field)) delete out[field];
  }
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith(DELETE_FROM) && Array.isArray(value)) {
      const list = field.slice(DELETE_FROM.length);
      const present = out[list];
      if (Array.isArray(present)) {
        out[list] = present.filter((item) => !value.some((gone) => isDeepStrictEqual(gone, item)));
      }
    }
  }
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith('$') || field === '__proto__') continue;
    const known = fieldSchema(schema, field);
    if (value === null) delete out[field];
    else if (isObject(value)) {
      const merged = mergeObject(isObject(out[field]) ? out[field] : {}, value, known);
      if (value.$patch === 'delete') delete out[field];
      else out[field] = merged;
    } else if (Array.isArray(value)) out[field] = mergeList(out[field], value, known);
    else out[field] = value;
  }
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith(ORDER) && Array.isArray(value)) {
      const list = field.slice(ORDER.length);
      if (Array.isArray(out[list])) out[list] = inOrder(out[list], value, fieldSchema(schema, list));
    }
  }
  return out;
}

function mergeList(present: unknown, patch: unknown[], schema: Schema | undefined): unknown[] {
  const how = listKeys(schema);
  if (how.type === 'set') {
    const out = Array.isArray(present) ? [...present] : [];
    for (const item of patch) if (!out.some((old) => isDeepStrictEqual(old, item))) out.push(item);
    return out;
  }
  if (how.type === 'atomic') return patch.map(withoutDirectives);
  const key = how.keys[0]!;
  if (patch.some((item) => isObject(item) && item.$patch === 'replace')) {
    return patch.filter((item) => !(isObject(item) && item.$patch === 'replace')).map(withoutDirectives);
  }
  let out: unknown[] = Array.isArray(present) ? [...present] : [];
  for (const item of patch) {
    if (!isObject(item)) throw badRequest('error decoding patch: an element of a list with keys is not an object');
    if (item[key] === undefined) {
      throw badRequest(
        `error decoding patch: map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`,
      );
    }
    if (item.$patch === 'delete') {
      out = out.filter((old) => !isObject(old) || old[key] !== item[key]);
      continue;
    }
    const at = out.findIndex((old) => isObject(old) && old[key] === item[key]);
    if (at < 0) out.push(mergeObject({}, item, schema?.items));
    else out[at] = mergeObject(out[at] as Fields, item, schema?.items);
  }
  return out;
}

/** The list in the order that the patch asks for; elements it does not name stay behind the ones they follow. */
function inOrder(list: unknown[], order: unknown[], schema: Schema | undefined): unknown[] {
  const how = listKeys(schema);
  const idOf = (item: unknown) => (how.type === 'map' && isObject(item) ? item[how.keys[0]!] : item);
  const rank = new Map(order.map((item, i) => [JSON.stringify(idOf(item)), i]));
  const ranked = list.filter((item) => rank.has(JSON.stringify(idOf(item))));
  ranked.sort((a, b) => rank.get(JSON.stringify(idOf(a)))! - rank.get(JSON.stringify(idOf(b)))!);
  const out: unknown[] = [...ranked];
  list.forEach((item, i) => {
    if (rank.has(JSON.stringify(idOf(item)))) return;
    const before = list.slice(0, i).findLast((earlier) => out.includes(earlier));
    out.splice(before === undefined ? 0 : out.indexOf(before) + 1, 0, item);
  });
  return out;
}

function withoutDirectives(value: unknown): Fields {
  if (!isObject(value)) return value as Fields;
  const out: Fields = {};
  for (const [field, item] of Object.entries(value)) if (!field.startsWith('$')) out[field] = item;
  return out;
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
