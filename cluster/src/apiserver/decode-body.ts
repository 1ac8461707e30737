/** From a request's body to an object of the resource: type, unknown fields, the name and namespace of the path. */
import { apiVersionOf } from '../resources/resource.ts';
import { decode } from '../schema/decode.ts';
import type { Schema } from '../schema/schema.ts';
import type { Fields } from '../store/stored-object.ts';
import type { ApiRequest } from './context.ts';
import { badRequest } from './status.ts';

type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

/** What a client may ask for; another value has been refused before a body is read. */
export const FIELD_VALIDATIONS: readonly string[] = ['', 'Ignore', 'Strict', 'Warn'];

function fieldValidation(query: URLSearchParams): FieldValidation {
  return (query.get('fieldValidation') || 'Warn') as FieldValidation;
}

export interface DecodeTarget {
  apiVersion: string;
  kind: string;
  schema: Schema;
}

/** A copy of `body` as the type of the resource (or of `target`), which the caller may change. */
export function decodeObject(request: ApiRequest, body: unknown, target?: DecodeTarget): Fields {
  const { resource, info } = request;
  const apiVersion = target?.apiVersion ?? apiVersionOf(resource);
  const kind = target?.kind ?? resource.kind;
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw badRequest(`the body is not an object of kind ${kind}`);
  const given = body as Fields;
  if (given.apiVersion !== undefined && given.apiVersion !== apiVersion) {
    throw badRequest(
      `the API version in the data (${given.apiVersion}) does not match the expected API version (${apiVersion})`,
    );
  }
  if (given.kind !== undefined && given.kind !== kind) {
    throw badRequest(`the kind in the data (${given.kind}) does not match the expected kind (${kind})`);
  }
  const { value, unknownFields, typeError } =
    target === undefined
      ? resource.read({ ...given, apiVersion, kind })
      : decode(target.schema, { ...given, apiVersion, kind });
  const version = apiVersion.split('/').at(-1);
  if (typeError !== undefined) {
    throw badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: ${typeError}`);
  }
  if (unknownFields.length > 0) {
    const words = unknownFields.map((field) => `unknown field ${JSON.stringify(field)}`);
    switch (fieldValidation(info.query)) {
      case 'Strict':
        throw badRequest(
          `${kind} in version "${version}" cannot be handled as a ${kind}: strict decoding error: ${words.join(', ')}`,
        );
      case 'Warn':
        request.warnings.push(...words);
        break;
      case 'Ignore':
    }
  }
  const object = value as Fields;
  object.metadata ??= {};
  return object;
}

/** The namespace of the path is the object's; a different one in the body is an error. */
export function settleNamespace(request: ApiRequest, object: Fields): void {
  const { info, resource } = request;
  if (!resource.namespaced) {
    delete object.metadata.namespace;
    return;
  }
  if (info.namespace === undefined) throw badRequest('an empty namespace may not be set during creation');
  if (
    object.metadata.namespace !== undefined &&
    object.metadata.namespace !== '' &&
    object.metadata.namespace !== info.namespace
  ) {
    throw badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
  }
  object.metadata.namespace = info.namespace;
}
