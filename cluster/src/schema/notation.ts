/**
 * The short notation in which the built-in types are written, and its compiler.
 *
 *   Type: field field! field:kind field=default …      a type; `!` is required, the kind is string when not named
 *   Type(atomic): …                                    the whole object has one owner in server-side apply
 *   field@3 field@2.5                                  its number in protobuf; 2.5 is number 5 in the message at 2
 *   kinds: string int int64 bool number time quantity intstr bytes any, Type, [kind] list, {kind} map
 *   kind?                                              zero is a value of its own, not the same as leaving it out
 *   [Type](a,b) list told apart by fields a and b;  [](set) set;  {}(atomic) map with one owner
 */
import { MeshError } from '@tulle/api';
import type { Schema } from './schema.ts';

/** One field in a type's protobuf message, or a message whose fields are the type's own in JSON. */
export type WireField = { field: string; schema: Schema; hasZero: boolean } | { inlined: Map<number, WireField> };

/** The protobuf messages of compiled types, by field number. */
export const wireFields = new WeakMap<Schema, Map<number, WireField>>();

/** Names that compiled types have in OpenAPI, found again from the compiled object. */
export const typeNames = new WeakMap<Schema, string>();

const scalars: Record<string, Schema> = {
  string: { type: 'string' },
  int: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  bool: { type: 'boolean' },
  number: { type: 'number', format: 'double' },
  time: { type: 'string', format: 'date-time' },
  quantity: { 'x-kubernetes-int-or-string': true, format: 'quantity' },
  intstr: { 'x-kubernetes-int-or-string': true, format: 'int-or-string' },
  bytes: { type: 'string', format: 'byte' },
  any: { 'x-kubernetes-preserve-unknown-fields': true },
};

/** Compiles texts in the notation. Later texts may use types of earlier ones and the other way round. */
export function compileTypes(...texts: string[]): Record<string, Schema> {
  const types: Record<string, Schema> = {};
  const bodies: { schema: Schema; fields: string[] }[] = [];
  for (const line of texts.join('\n').replaceAll(/\n +/g, ' ').split('\n')) {
    if (line.trim() === '') continue;
    const match = /^(\w+)(\(atomic\))?:(.*)$/.exec(line);
    if (match === null) throw new MeshError('INTERNAL', `compile types: cannot read the line ${JSON.stringify(line)}`);
    const schema: Schema = { type: 'object', properties: {} };
    if (match[2] !== undefined) schema['x-kubernetes-map-type'] = 'atomic';
    types[match[1]!] = schema;
    typeNames.set(schema, match[1]!);
    bodies.push({ schema, fields: match[3]!.trim().split(/\s+/) });
  }
  for (const { schema, fields } of bodies) for (const field of fields) if (field !== '') addField(schema, field, types);
  return types;
}

function addField(schema: Schema, text: string, types: Record<string, Schema>): void {
  const match = /^(\w+)(?:@([\d.]+))?(!)?(?::([^=?]+)(\?)?)?(?:=(.+))?$/.exec(text);
  if (match === null) throw new MeshError('INTERNAL', `compile types: cannot read the field ${text}`);
  const [, name, number, required, kind, pointer, preset] = match;
  if (required !== undefined) schema.required = [...(schema.required ?? []), name!];
  const compiled = compileKind(kind ?? 'string', types);
  schema.properties![name!] = preset === undefined ? compiled : { ...compiled, default: preset };
  if (number !== undefined)
    addWireField(schema, number, { field: name!, schema: compiled, hasZero: pointer !== undefined });
}

function addWireField(schema: Schema, path: string, field: WireField): void {
  const numbers = path.split('.').map(Number);
  let message = wireFields.get(schema);
  if (message === undefined) {
    message = new Map();
    wireFields.set(schema, message);
  }
  for (const number of numbers.slice(0, -1)) {
    const outer = message.get(number);
    const inlined: Map<number, WireField> = outer !== undefined && 'inlined' in outer ? outer.inlined : new Map();
    message.set(number, { inlined });
    message = inlined;
  }
  message.set(numbers.at(-1)!, field);
}

function compileKind(kind: string, types: Record<string, Schema>): Schema {
  const list = /^\[(.*)\](?:\((.+)\))?$/.exec(kind);
  if (list !== null) {
    const schema: Schema = { type: 'array', items: compileKind(list[1] || 'string', types) };
    if (list[2] === 'set') schema['x-kubernetes-list-type'] = 'set';
    else if (list[2] !== undefined) {
      schema['x-kubernetes-list-type'] = 'map';
      schema['x-kubernetes-list-map-keys'] = list[2].split(',');
    } else schema['x-kubernetes-list-type'] = 'atomic';
    return schema;
  }
  const map = /^\{(.*)\}(\(atomic\))?$/.exec(kind);
  if (map !== null) {
    const schema: Schema = { type: 'object', additionalProperties: compileKind(map[1] || 'string', types) };
    if (map[2] !== undefined) schema['x-kubernetes-map-type'] = 'atomic';
    return schema;
  }
  const schema = types[kind] ?? scalars[kind];
  if (schema === undefined) throw new MeshError('INTERNAL', `compile types: unknown kind ${kind}`);
  return schema;
}
