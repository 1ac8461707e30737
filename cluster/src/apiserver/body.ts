/** Reads request bodies: bounded, JSON, YAML or protobuf, an object. */
import type { IncomingMessage } from 'node:http';
import { parseDocument } from 'yaml';
import { builtinSchema } from '../schema/builtin.ts';
import { PROTOBUF_TYPE, readEnvelope, readMessage } from '../schema/protobuf.ts';
import type { Fields } from '../store/stored-object.ts';
import { badRequest, failure, unsupportedMediaType } from './status.ts';

/** The real API server's limit for one object (etcd's 1.5 MiB, with room for encodings). */
export const BODY_BYTES_MAX = 3 * 1024 * 1024;

const BODY_TYPES = ['application/json', 'application/yaml', PROTOBUF_TYPE];

export async function readBytes(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming) {
    length += chunk.length;
    if (length > BODY_BYTES_MAX) {
      throw failure(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${BODY_BYTES_MAX}`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export function mediaType(incoming: IncomingMessage): string {
  return (incoming.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
}

/** The object in the body; undefined when there is no body. */
export async function readObject(incoming: IncomingMessage): Promise<Fields | undefined> {
  const type = mediaType(incoming);
  const bytes = await readBytes(incoming);
  if (bytes.length === 0) return undefined;
  if (type !== '' && !BODY_TYPES.includes(type)) throw unsupportedMediaType(type, BODY_TYPES);
  if (type === PROTOBUF_TYPE) return readProtobuf(bytes);
  const value = type === 'application/yaml' ? parseYaml(bytes.toString()) : parseJson(bytes.toString());
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badRequest('the object provided is unrecognized (must be of type Object)');
  }
  return value as Fields;
}

function readProtobuf(bytes: Uint8Array): Fields {
  const { apiVersion, kind, raw } = readEnvelope(bytes);
  const schema = builtinSchema(apiVersion, kind);
  if (schema === undefined)
    throw badRequest(`no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)}`);
  return { apiVersion, kind, ...readMessage(schema, raw) };
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`couldn't get version/kind; json parse error: ${(error as Error).message}`);
  }
}

/** Aliases are refused: they can unfold into something huge. */
export function parseYaml(text: string): unknown {
  const document = parseDocument(text, { version: '1.1', merge: false });
  const problem = document.errors[0];
  if (problem !== undefined) throw badRequest(`error decoding YAML: ${problem.message}`);
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    throw badRequest(`error decoding YAML: ${(error as Error).message}`);
  }
}
