/** The forms in which objects are shown: themselves, a Table for people, or their metadata alone. */
import type { IncomingMessage } from 'node:http';
import { apiVersionOf, type Column, type Resource } from '../resources/resource.ts';
import type { Entry, StoredObject } from '../store/stored-object.ts';
import { badRequest, notAcceptable } from './status.ts';

export type Form = 'object' | 'table' | 'metadata';

/** The first form in Accept that we have. */
export function negotiateForm(incoming: IncomingMessage): Form {
  const accept = incoming.headers.accept ?? '';
  if (accept === '') return 'object';
  for (const alternative of accept.split(',')) {
    const [type, ...parameters] = alternative.split(';').map((part) => part.trim());
    if (type !== 'application/json' && type !== '*/*' && type !== 'application/*') continue;
    const as = parameters.find((parameter) => parameter.startsWith('as='))?.slice(3);
    const version = parameters.find((parameter) => parameter.startsWith('v='))?.slice(2);
    if (as === undefined) return 'object';
    if (version !== undefined && version !== 'v1') continue;
    if (as === 'Table') return 'table';
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') return 'metadata';
  }
  throw notAcceptable(['application/json']);
}

export interface ListMeta {
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

export interface Encoder {
  form: Form;
  one: (entry: Entry) => string;
  list: (entries: readonly Entry[], metadata: ListMeta) => string;
  /** One object in a watch; a table's columns are sent with the first. */
  event: (entry: Entry) => string;
}

export function createEncoder(resource: Resource, form: Form, query: URLSearchParams, now: () => number): Encoder {
  const apiVersion = apiVersionOf(resource);
  const json = (entry: Entry) => entry.json(apiVersion, resource.fromStored);
  if (form === 'object') {
    const head = `{"kind":${JSON.stringify(resource.listKind)},"apiVersion":${JSON.stringify(apiVersion)},"metadata":`;
    return {
      form,
      one: json,
      event: json,
      list: (entries, metadata) => `${head}${JSON.stringify(metadata)},"items":[${entries.map(json).join(',')}]}`,
    };
  }
  if (form === 'metadata') {
    const head = '{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":';
    return {
      form,
      one: metadataJson,
      event: metadataJson,
      list: (entries, metadata) =>
        `${head}${JSON.stringify(metadata)},"items":[${entries.map(metadataJson).join(',')}]}`,
    };
  }
  const include = query.get('includeObject') ?? 'Metadata';
  if (!['None', 'Metadata', 'Object'].includes(include))
    throw badRequest(`unrecognized includeObject value: "${include}"`);
  const row = (entry: Entry) =>
    tableRow(
      entry,
      resource,
      include === 'None' ? '' : include === 'Object' ? json(entry) : metadataJson(entry),
      now(),
    );
  const table = (rows: string, metadata: ListMeta, hasColumns: boolean) =>
    `{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":${JSON.stringify(metadata)},"columnDefinitions":${
      hasColumns ? JSON.stringify(resource.columns.map(columnDefinition)) : 'null'
    },"rows":[${rows}]}`;
  let hasSentColumns = false;
  return {
    form,
    one: (entry) => table(row(entry), { resourceVersion: String(entry.revision) }, true),
    list: (entries, metadata) => table(entries.map(row).join(','), metadata, true),
    event: (entry) => {
      const text = table(row(entry), { resourceVersion: String(entry.revision) }, !hasSentColumns);
      hasSentColumns = true;
      return text;
    },
  };
}

function metadataJson(entry: Entry): string {
  return entry.json('meta', (object) => ({
    kind: 'PartialObjectMetadata',
    apiVersion: 'meta.k8s.io/v1',
    metadata: object.metadata,
  }));
}

function columnDefinition(column: Column) {
  return {
    name: column.name,
    type: column.type ?? 'string',
    format: column.format ?? (column.name === 'Name' ? 'name' : ''),
    description: column.description ?? '',
    priority: column.priority ?? 0,
  };
}

function tableRow(entry: Entry, resource: Resource, object: string, nowMs: number): string {
  const shown = resource.isCustom ? (resource.fromStored(entry.object) as StoredObject) : entry.object;
  const cells = resource.columns.map((column) => column.value(shown, nowMs));
  return `{"cells":${JSON.stringify(cells)}${object === '' ? '' : `,"object":${object}`}}`;
}
