/** Structural schemas of custom resources: pruning, defaulting and validation of a value. */
import { type FieldError, invalidValue, required, unsupportedValue } from '../apiserver/status.ts';
import { isQuantity } from '../resources/names.ts';
import { DEPTH_MAX, type Decoded } from './decode.ts';
import { keyOf, type Schema } from './schema.ts';

/** A copy without fields that the schema does not have. */
export function readStructural(schema: Schema, value: unknown): Decoded {
  const unknownFields: string[] = [];
  const read = prune(schema, value, '', unknownFields, 0);
  return { value: read, unknownFields, typeError: undefined };
}

const embedded = ['apiVersion', 'kind', 'metadata'];

function prune(
  schema: Schema | undefined,
  value: unknown,
  path: string,
  unknownFields: string[],
  depth: number,
): unknown {
  if (depth > DEPTH_MAX) return undefined;
  const inner = (key: string, next: Schema | undefined, item: unknown) =>
    prune(next, item, key, unknownFields, depth + 1);
  if (Array.isArray(value)) return value.map((item, i) => inner(`${path}[${i}]`, schema?.items, item));
  if (typeof value !== 'object' || value === null) return value;
  const keepsUnknown = schema === undefined || schema['x-kubernetes-preserve-unknown-fields'] === true;
  const out: Record<string, unknown> = {};
  for (const [field, item] of Object.entries(value)) {
    if (field === '__proto__') continue;
    const at = path === '' ? field : `${path}.${field}`;
    let known = schema?.properties?.[field];
    if (known === undefined && typeof schema?.additionalProperties === 'object') known = schema.additionalProperties;
    const isAllowed =
      known !== undefined ||
      keepsUnknown ||
      schema.additionalProperties === true ||
      (schema['x-kubernetes-embedded-resource'] === true && embedded.includes(field));
    if (!isAllowed) {
      unknownFields.push(at);
      continue;
    }
    // A null stands for the default where there is one, and for nothing where it is not allowed.
    if (item === null && known !== undefined && known.nullable !== true) continue;
    out[field] = inner(at, known, item);
  }
  return out;
}

/** Fills in defaults, in place. */
export function applyStructuralDefaults(schema: Schema | undefined, value: unknown): void {
  if (schema === undefined || typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) applyStructuralDefaults(schema.items, item);
    return;
  }
  const object = value as Record<string, unknown>;
  for (const [field, property] of Object.entries(schema.properties ?? {})) {
    if (object[field] === undefined && property.default !== undefined)
      object[field] = structuredClone(property.default);
    applyStructuralDefaults(property, object[field]);
  }
  if (typeof schema.additionalProperties === 'object') {
    for (const [field, item] of Object.entries(object)) {
      if (schema.properties?.[field] === undefined) applyStructuralDefaults(schema.additionalProperties, item);
    }
  }
}

/** What breaks the schema's value rules. */
export function validateStructural(schema: Schema, value: unknown, path: string): FieldError[] {
  const errors: FieldError[] = [];
  check(schema, value, path, errors);
  return errors;
}

const typeOf = (value: unknown) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);

function hasType(schema: Schema, value: unknown): boolean {
  if (schema['x-kubernetes-int-or-string'] === true) return typeof value === 'string' || Number.isInteger(value);
  switch (schema.type) {
    case undefined:
      return true;
    case 'integer':
      return Number.isInteger(value);
    case 'number':
      return typeof value === 'number';
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeOf(value) === 'object';
    default:
      return typeof value === schema.type;
  }
}

function check(schema: Schema, value: unknown, path: string, errors: FieldError[]): void {
  if (value === null && schema.nullable === true) return;
  if (!hasType(schema, value)) {
    const wanted = schema['x-kubernetes-int-or-string'] === true ? 'integer,string' : schema.type;
    const message = `Invalid value: ${JSON.stringify(typeOf(value))}: ${path} in body must be of type ${wanted}: ${JSON.stringify(typeOf(value))}`;
    errors.push({ reason: 'FieldValueTypeInvalid', message, field: path });
    return;
  }
  const fail = (detail: string) => errors.push(invalidValue(path, value, `${path} in body ${detail}`));
  if (schema.enum !== undefined && !schema.enum.some((allowed) => JSON.stringify(allowed) === JSON.stringify(value))) {
    errors.push(unsupportedValue(path, value, schema.enum.map(String)));
  }
  if (typeof value === 'string') checkString(schema, value, fail);
  else if (typeof value === 'number') checkNumber(schema, value, fail);
  else if (Array.isArray(value)) checkList(schema, value, path, errors, fail);
  else if (typeof value === 'object' && value !== null)
    checkObject(schema, value as Record<string, unknown>, path, errors, fail);
  checkCombinations(schema, value, path, errors, fail);
}

type Fail = (detail: string) => void;

function checkString(schema: Schema, value: string, fail: Fail): void {
  const { minLength, maxLength, pattern, format } = schema as Record<string, never>;
  const length = [...value].length;
  if (minLength !== undefined && length < minLength) fail(`should be at least ${minLength} chars long`);
  if (maxLength !== undefined && length > maxLength) fail(`should be at most ${maxLength} chars long`);
  if (pattern !== undefined && !patternOf(pattern).test(value)) fail(`should match '${pattern}'`);
  if (format === 'date-time' && Number.isNaN(Date.parse(value))) fail('must be of type date-time');
  if (format === 'byte' && !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) fail('must be of type byte');
  if (format === 'quantity' && !isQuantity(value)) fail('must be a quantity');
}

/** Compiled patterns of the schemas that are served; there are some hundreds. */
const patterns = new Map<string, RegExp>();

function patternOf(text: string): RegExp {
  let pattern = patterns.get(text);
  if (pattern === undefined) {
    pattern = new RegExp(text);
    patterns.set(text, pattern);
  }
  return pattern;
}

function checkNumber(schema: Schema, value: number, fail: Fail): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema as Record<string, never>;
  if (minimum !== undefined && (exclusiveMinimum ? value <= minimum : value < minimum))
    fail(`should be greater than${exclusiveMinimum ? '' : ' or equal to'} ${minimum}`);
  if (maximum !== undefined && (exclusiveMaximum ? value >= maximum : value > maximum))
    fail(`should be less than${exclusiveMaximum ? '' : ' or equal to'} ${maximum}`);
  if (multipleOf !== undefined && value % multipleOf !== 0) fail(`should be a multiple of ${multipleOf}`);
}

function checkList(schema: Schema, value: unknown[], path: string, errors: FieldError[], fail: Fail): void {
  const { minItems, maxItems, uniqueItems } = schema as Record<string, never>;
  if (minItems !== undefined && value.length < minItems) fail(`should have at least ${minItems} items`);
  if (maxItems !== undefined && value.length > maxItems) {
    errors.push({
      reason: 'FieldValueTooMany',
      message: `Too many: ${value.length}: must have at most ${maxItems} items`,
      field: path,
    });
  }
  const type = schema['x-kubernetes-list-type'];
  if (uniqueItems || type === 'set' || type === 'map') {
    const seen = new Set<string>();
    for (const [i, item] of value.entries()) {
      const isMap = type === 'map' && typeof item === 'object' && item !== null;
      const key = isMap
        ? keyOf(item as Record<string, unknown>, schema['x-kubernetes-list-map-keys'] ?? [], schema.items)
        : item;
      const text = JSON.stringify(key);
      if (seen.has(text))
        errors.push({ reason: 'FieldValueDuplicate', message: `Duplicate value: ${text}`, field: `${path}[${i}]` });
      seen.add(text);
    }
  }
  if (schema.items !== undefined)
    for (const [i, item] of value.entries()) check(schema.items, item, `${path}[${i}]`, errors);
}

function checkObject(
  schema: Schema,
  value: Record<string, unknown>,
  path: string,
  errors: FieldError[],
  fail: Fail,
): void {
  const { minProperties, maxProperties } = schema as Record<string, never>;
  const count = Object.keys(value).length;
  if (minProperties !== undefined && count < minProperties) fail(`should have at least ${minProperties} properties`);
  if (maxProperties !== undefined && count > maxProperties) fail(`should have at most ${maxProperties} properties`);
  for (const field of schema.required ?? []) {
    if (value[field] === undefined) errors.push(required(path === '' ? field : `${path}.${field}`));
  }
  for (const [field, item] of Object.entries(value)) {
    const at = path === '' ? field : `${path}.${field}`;
    const property = schema.properties?.[field];
    if (property !== undefined) check(property, item, at, errors);
    else if (typeof schema.additionalProperties === 'object') check(schema.additionalProperties, item, at, errors);
  }
}

function checkCombinations(schema: Schema, value: unknown, path: string, errors: FieldError[], fail: Fail): void {
  const { allOf, anyOf, oneOf, not } = schema as { allOf?: Schema[]; anyOf?: Schema[]; oneOf?: Schema[]; not?: Schema };
  const isGood = (part: Schema) => validateStructural(part, value, path).length === 0;
  for (const part of allOf ?? []) check(part, value, path, errors);
  if (anyOf !== undefined && schema['x-kubernetes-int-or-string'] !== true && !anyOf.some(isGood))
    fail('must validate at least one schema (anyOf)');
  if (oneOf !== undefined && oneOf.filter(isGood).length !== 1) fail('must validate one and only one schema (oneOf)');
  if (not !== undefined && isGood(not)) fail('must not validate the schema (not)');
}
