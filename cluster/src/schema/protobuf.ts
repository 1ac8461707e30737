/**
 * Kubernetes' protobuf form of built-in types, read into the JSON form. kubectl sends it for what its typed clients create.
 *
 * A body is the magic `k8s\0`, then a message of apiVersion and kind (1), the object's own message (2) and its encoding.
 * Fields that are zero are always sent; those for which zero is no value of its own are left out here.
 */

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { badRequest } from '../apiserver/status.ts';
import { DEPTH_MAX } from './decode.ts';
import { type WireField, wireFields } from './notation.ts';
import type { Schema } from './schema.ts';

export const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';
const MAGIC = Buffer.from('k8s\0');

type Fields = Record<string, unknown>;

export interface ProtobufEnvelope {
  apiVersion: string;
  kind: string;
  /** The object's own message, to be read by the schema of its kind. */
  raw: Uint8Array;
}

export function readEnvelope(bytes: Uint8Array): ProtobufEnvelope {
  if (Buffer.compare(bytes.subarray(0, MAGIC.length), MAGIC) !== 0)
    throw malformed('it does not begin with its magic number');
  const out: ProtobufEnvelope = { apiVersion: '', kind: '', raw: new Uint8Array() };
  guarded(() => {
    eachField(bytes.subarray(MAGIC.length), (number, _type, reader) => {
      if (number === 1) {
        eachField(reader.bytes(), (inner, _innerType, meta) => {
          if (inner === 1) out.apiVersion = meta.string();
          else if (inner === 2) out.kind = meta.string();
          else return false;
          return true;
        });
      } else if (number === 2) out.raw = reader.bytes();
      else return false;
      return true;
    });
  });
  return out;
}

/** The object in a message of the type. */
export function readMessage(schema: Schema, bytes: Uint8Array): Fields {
  return guarded(() => readType(wireFields.get(schema), bytes, 0));
}

const malformed = (why: string) => badRequest(`the body is not a Kubernetes object in protobuf: ${why}`);

function guarded<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw malformed(error instanceof Error ? error.message : String(error));
  }
}

/** Calls back at each field; what is not read there (false) is skipped. */
function eachField(bytes: Uint8Array, read: (number: number, type: WireType, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (!read(number, type, reader)) reader.skip(type, number);
  }
}

function readType(message: Map<number, WireField> | undefined, bytes: Uint8Array, depth: number): Fields {
  const out: Fields = {};
  if (depth > DEPTH_MAX) throw new Error('it is nested too deeply');
  eachField(bytes, (number, type, reader) => {
    const known = message?.get(number);
    if (known === undefined) return false;
    if ('inlined' in known) {
      Object.assign(out, readType(known.inlined, reader.bytes(), depth + 1));
      return true;
    }
    const { field, schema, hasZero } = known;
    if (schema.type === 'array') {
      const list = (out[field] ?? []) as unknown[];
      out[field] = list;
      const isPacked = type === WireType.LengthDelimited && isVarint(schema.items!);
      if (!isPacked) list.push(readValue(schema.items!, type, reader, depth));
      else
        for (const inner = new BinaryReader(reader.bytes()); inner.pos < inner.len; ) list.push(Number(inner.int64()));
    } else if (schema.type === 'object' && typeof schema.additionalProperties === 'object') {
      const [key, value] = readEntry(schema.additionalProperties, reader.bytes(), depth);
      const map = (out[field] ?? {}) as Fields;
      out[field] = map;
      if (key !== '__proto__') map[key] = value;
    } else {
      const value = readValue(schema, type, reader, depth);
      if (hasZero || !isZero(value)) out[field] = value;
    }
    return true;
  });
  return out;
}

function readEntry(schema: Schema, bytes: Uint8Array, depth: number): [key: string, value: unknown] {
  let key = '';
  let value: unknown = schema.type === 'string' ? '' : undefined;
  eachField(bytes, (number, type, reader) => {
    if (number === 1) key = reader.string();
    else if (number !== 2) return false;
    else if (schema.type === 'array') {
      const items: unknown[] = [];
      eachField(reader.bytes(), (_inner, innerType, list) => {
        items.push(readValue(schema.items!, innerType, list, depth));
        return true;
      });
      value = items;
    } else value = readValue(schema, type, reader, depth);
    return true;
  });
  return [key, value];
}

const isVarint = (schema: Schema) => schema.type === 'integer' || schema.type === 'boolean';

function readValue(schema: Schema, type: WireType, reader: BinaryReader, depth: number): unknown {
  if (type === WireType.Varint) return schema.type === 'boolean' ? reader.bool() : Number(reader.int64());
  if (type !== WireType.LengthDelimited) throw new Error(`unexpected wire type ${type}`);
  const bytes = reader.bytes();
  if (schema.format === 'byte') return Buffer.from(bytes).toString('base64');
  if (schema.format === 'date-time') return readTime(bytes);
  if (schema.format === 'quantity') return firstString(bytes);
  if (schema.format === 'int-or-string') return readIntOrString(bytes);
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return readRaw(bytes);
  if (schema.type === 'string') return Buffer.from(bytes).toString();
  return readType(wireFields.get(schema), bytes, depth + 1);
}

function readTime(bytes: Uint8Array): string | undefined {
  let seconds = 0;
  let nanos = 0;
  eachField(bytes, (number, _type, reader) => {
    if (number === 1) seconds = Number(reader.int64());
    else if (number === 2) nanos = Number(reader.int32());
    else return false;
    return true;
  });
  if (bytes.length === 0) return undefined;
  const text = new Date(seconds * 1000).toISOString().slice(0, 19);
  return nanos === 0 ? `${text}Z` : `${text}.${String(Math.floor(nanos / 1000)).padStart(6, '0')}Z`;
}

function firstString(bytes: Uint8Array): string {
  let text = '';
  eachField(bytes, (number, _type, reader) => {
    if (number !== 1) return false;
    text = reader.string();
    return true;
  });
  return text;
}

function readIntOrString(bytes: Uint8Array): string | number {
  let isString = false;
  let int = 0;
  let text = '';
  eachField(bytes, (number, _type, reader) => {
    if (number === 1) isString = Number(reader.int64()) === 1;
    else if (number === 2) int = reader.int32();
    else if (number === 3) text = reader.string();
    else return false;
    return true;
  });
  return isString ? text : int;
}

/** Open content travels as JSON text in field 1. */
function readRaw(bytes: Uint8Array): unknown {
  const text = firstString(bytes);
  return text === '' ? undefined : JSON.parse(text);
}

function isZero(value: unknown): boolean {
  if (value === undefined || value === '' || value === 0 || value === false) return true;
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0;
}
