/**
 * Sets of field paths, as `metadata.managedFields` writes them (FieldsV1): keys `f:name` for a field, `k:{…}` for an
 * element of a list with keys, `v:…` for an element of a set, and `.` for the node itself where it has children too.
 */
import { fieldSchema, keyOf, listKeys, type Schema } from '../schema/schema.ts';

export class FieldSet {
  /** Whether the path of this node is in the set. */
  member = false;
  readonly children = new Map<string, FieldSet>();

  static parse(json: unknown): FieldSet {
    const set = new FieldSet();
    if (typeof json !== 'object' || json === null) return set;
    for (const [key, value] of Object.entries(json)) {
      if (key === '.') set.member = true;
      else {
        const child = FieldSet.parse(value);
        if (typeof value === 'object' && value !== null && Object.keys(value).length === 0) child.member = true;
        set.children.set(key, child);
      }
    }
    return set;
  }

  toJSON(): Record<string, unknown> {
    const out: Record<string, unknown> = {};
    if (this.member && this.children.size > 0) out['.'] = {};
    for (const key of [...this.children.keys()].sort()) out[key] = this.children.get(key)!.toJSON();
    return out;
  }

  get isEmpty(): boolean {
    return !this.member && this.children.size === 0;
  }

  child(key: string): FieldSet {
    let child = this.children.get(key);
    if (child === undefined) {
      child = new FieldSet();
      this.children.set(key, child);
    }
    return child;
  }

  union(other: FieldSet): FieldSet {
    const out = new FieldSet();
    out.member = this.member || other.member;
    for (const key of new Set([...this.children.keys(), ...other.children.keys()])) {
      const mine = this.children.get(key) ?? new FieldSet();
      out.children.set(key, mine.union(other.children.get(key) ?? new FieldSet()));
    }
    return out;
  }

  intersection(other: FieldSet): FieldSet {
    const out = new FieldSet();
    out.member = this.member && other.member;
    for (const [key, child] of this.children) {
      const theirs = other.children.get(key);
      if (theirs === undefined) continue;
      const both = child.intersection(theirs);
      if (!both.isEmpty) out.children.set(key, both);
    }
    return out;
  }

  difference(other: FieldSet): FieldSet {
    const out = new FieldSet();
    out.member = this.member && !other.member;
    for (const [key, child] of this.children) {
      const theirs = other.children.get(key);
      const rest = theirs === undefined ? child : child.difference(theirs);
      if (!rest.isEmpty) out.children.set(key, rest);
    }
    return out;
  }

  /** Like difference, but a path in `other` also takes away everything below it. */
  recursiveDifference(other: FieldSet): FieldSet {
    const out = new FieldSet();
    if (other.member) return out;
    out.member = this.member;
    for (const [key, child] of this.children) {
      const theirs = other.children.get(key);
      const rest = theirs === undefined ? child : child.recursiveDifference(theirs);
      if (!rest.isEmpty) out.children.set(key, rest);
    }
    return out;
  }

  equals(other: FieldSet): boolean {
    if (this.member !== other.member || this.children.size !== other.children.size) return false;
    for (const [key, child] of this.children) {
      const theirs = other.children.get(key);
      if (theirs === undefined || !child.equals(theirs)) return false;
    }
    return true;
  }

  /** The paths in the words of conflict messages: `.spec.containers[name="app"].image`. */
  paths(prefix = ''): string[] {
    const out = this.member && prefix !== '' ? [prefix] : [];
    for (const [key, child] of this.children) out.push(...child.paths(prefix + describe(key)));
    return out;
  }
}

function describe(key: string): string {
  if (key.startsWith('f:')) return `.${key.slice(2)}`;
  if (key.startsWith('k:')) {
    const keys = Object.entries(JSON.parse(key.slice(2)) as Fields);
    return `[${keys.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(',')}]`;
  }
  if (key.startsWith('v:')) return `[=${key.slice(2)}]`;
  return `[${key.slice(2)}]`;
}

export type Fields = Record<string, unknown>;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a value is owned as a whole. */
export function isAtomic(schema: Schema | undefined, value: unknown): boolean {
  if (Array.isArray(value)) return listKeys(schema).type === 'atomic';
  if (isFields(value)) return schema?.['x-kubernetes-map-type'] === 'atomic';
  return true;
}

/** The children of a granular value by their path element. */
export function childrenOf(
  value: unknown,
  schema: Schema | undefined,
): Map<string, { value: unknown; schema: Schema | undefined }> {
  const out = new Map<string, { value: unknown; schema: Schema | undefined }>();
  if (Array.isArray(value)) {
    const how = listKeys(schema);
    for (const item of value) out.set(elementKey(item, how, schema?.items), { value: item, schema: schema?.items });
  } else if (isFields(value)) {
    for (const [field, item] of Object.entries(value)) {
      if (item !== undefined) out.set(`f:${field}`, { value: item, schema: fieldSchema(schema, field) });
    }
  }
  return out;
}

function elementKey(item: unknown, how: ReturnType<typeof listKeys>, items: Schema | undefined): string {
  if (how.type === 'map' && isFields(item)) return `k:${JSON.stringify(keyOf(item, how.keys, items))}`;
  return `v:${JSON.stringify(item)}`;
}

/** Every path that an applied configuration says something about. */
export function fieldsOf(value: unknown, schema: Schema | undefined): FieldSet {
  const set = new FieldSet();
  if (isAtomic(schema, value)) {
    set.member = true;
    return set;
  }
  const children = childrenOf(value, schema);
  if (children.size === 0) set.member = true;
  for (const [key, child] of children) {
    const inner = fieldsOf(child.value, child.schema);
    const isMapEntry = key.startsWith('f:') && schema?.properties?.[key.slice(2)] === undefined;
    if (!key.startsWith('f:') || isMapEntry) inner.member = true;
    set.children.set(key, inner);
  }
  return set;
}
