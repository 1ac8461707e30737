/**
 * Reads a JSON value by a built-in type: a copy without nulls and without fields that the type does not have, and the
 * list of what was wrong. (Custom resources are pruned and validated by custom-resource.ts, whose rules differ.)
 */
import { isQuantity } from '../resources/names.ts';
import type { Schema } from './schema.ts';

/** Deeper bodies are refused; no real object comes near. */
export const DEPTH_MAX = 64;

export interface Decoded {
  value: unknown;
  /** Paths that the type does not have, dropped from the value. */
  unknownFields: string[];
  /** The first value of a wrong type, in words. */
  typeError: string | undefined;
}

export function decode(schema: Schema, value: unknown): Decoded {
  const decoder = new Decoder();
  const out = decoder.read(schema, value, '', 0);
  return { value: out, unknownFields: decoder.unknownFields, typeError: decoder.typeError };
}

class Decoder {
  unknownFields: string[] = [];
  typeError: string | undefined;

  read(schema: Schema, value: unknown, path: string, depth: number): unknown {
    if (depth > DEPTH_MAX) {
      this.#fail(value, path, 'a value nested less deeply');
      return undefined;
    }
    if (schema['x-kubernetes-preserve-unknown-fields'] === true) return value;
    if (schema['x-kubernetes-int-or-string'] === true) return this.#readIntOrString(schema, value, path);
    switch (schema.type) {
      case 'object':
        return this.#readObject(schema, value, path, depth);
      case 'array':
        if (!Array.isArray(value)) return this.#fail(value, path, 'a list');
        return value.map((item, i) => this.read(schema.items ?? {}, item, `${path}[${i}]`, depth + 1));
      case 'string':
        return typeof value === 'string' ? this.#readString(schema, value, path) : this.#fail(value, path, 'string');
      case 'boolean':
        return typeof value === 'boolean' ? value : this.#fail(value, path, 'bool');
      case 'integer':
        return Number.isSafeInteger(value) && isInRange(schema, value as number)
          ? value
          : this.#fail(value, path, schema.format ?? 'int64');
      case 'number':
        return typeof value === 'number' ? value : this.#fail(value, path, 'float64');
      default:
        return value;
    }
  }

  #readObject(schema: Schema, value: unknown, path: string, depth: number): unknown {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return this.#fail(value, path, 'an object');
    const out: Record<string, unknown> = {};
    for (const [field, item] of Object.entries(value)) {
      const at = path === '' ? field : `${path}.${field}`;
      let known = schema.properties?.[field];
      if (known === undefined && typeof schema.additionalProperties === 'object') known = schema.additionalProperties;
      if (known === undefined || field === '__proto__') {
        this.unknownFields.push(at);
        continue;
      }
      if (item === null) continue;
      const read = this.read(known, item, at, depth + 1);
      if (read !== undefined) out[field] = read;
    }
    return out;
  }

  #readIntOrString(schema: Schema, value: unknown, path: string): unknown {
    if (schema.format === 'quantity') {
      if (!isQuantity(value)) {
        this.typeError ??= `${path}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'`;
        return undefined;
      }
      return typeof value === 'number' ? String(value) : value;
    }
    if (typeof value === 'string' || Number.isSafeInteger(value)) return value;
    return this.#fail(value, path, 'intstr.IntOrString');
  }

  #readString(schema: Schema, value: string, path: string): unknown {
    if (schema.format === 'byte' && !/^[A-Za-z0-9+/\r\n]*={0,2}$/.test(value)) {
      this.typeError ??= `${path}: illegal base64 data`;
    } else if (schema.format === 'date-time' && Number.isNaN(Date.parse(value))) {
      this.typeError ??= `${path}: parsing time ${JSON.stringify(value)}: not an RFC 3339 time`;
    }
    return value;
  }

  #fail(value: unknown, path: string, wanted: string): undefined {
    const found = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
    this.typeError ??= `json: cannot unmarshal ${found === 'boolean' ? 'bool' : found} into field ${path || '.'} of type ${wanted}`;
    return undefined;
  }
}

function isInRange(schema: Schema, value: number): boolean {
  return schema.format !== 'int32' || (value >= -2147483648 && value <= 2147483647);
}

/** Paths of required fields that are not there, outside `status`. */
export function missingFields(schema: Schema, value: unknown, path = ''): string[] {
  const missing: string[] = [];
  if (schema.type === 'array' && Array.isArray(value)) {
    value.forEach((item, i) => {
      missing.push(...missingFields(schema.items ?? {}, item, `${path}[${i}]`));
    });
  } else if (schema.type === 'object' && typeof value === 'object' && value !== null) {
    const object = value as Record<string, unknown>;
    for (const field of schema.required ?? []) {
      if (object[field] === undefined || object[field] === '') missing.push(path === '' ? field : `${path}.${field}`);
    }
    for (const [field, item] of Object.entries(object)) {
      if (path === '' && (field === 'status' || field === 'metadata')) continue;
      const known =
        schema.properties?.[field] ??
        (typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined);
      if (known !== undefined) missing.push(...missingFields(known, item, path === '' ? field : `${path}.${field}`));
    }
  }
  return missing;
}
