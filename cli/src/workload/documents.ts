/** Manifests as they were written: YAML documents whose comments and order survive a change. */
import { MeshError } from '@tulle/api';
import type { AddOperation } from '@tulle/control-plane/injector/json-patch.ts';
import { type Document, isMap, isSeq, parseAllDocuments } from 'yaml';
import { readText } from '../install/install-values.ts';

/** Manifests that people write are far smaller; this only stops a wrong URL. */
const BYTES_MAX = 64 * 1024 * 1024;
const FETCH_MS_MAX = 30_000;

export type Path = (string | number)[];

/** From a file, `-` for standard input, or a URL. */
export async function readManifest(source: string): Promise<Document[]> {
  const text = /^https?:\/\//.test(source) ? await fetchText(source) : readText(source);
  if (text.length > BYTES_MAX)
    throw new MeshError('RESOURCE_EXHAUSTED', `read ${source}: more than ${BYTES_MAX} bytes`);
  const documents = parseAllDocuments(text);
  if (!Array.isArray(documents)) return [];
  for (const document of documents) {
    const error = document.errors[0];
    if (error)
      throw new MeshError('INVALID_ARGUMENT', `read ${source}: ${error.message.split('\n')[0]!.replace(/:$/, '')}`);
  }
  return documents as Document[];
}

export function printManifest(documents: readonly Document[], format: string): string {
  const filled = documents.filter((document) => document.contents !== null && document.toJS() !== null);
  if (format === 'json') {
    const objects = filled.map((document) => document.toJS());
    const whole = objects.length === 1 ? objects[0] : { apiVersion: 'v1', kind: 'List', items: objects };
    return `${JSON.stringify(whole, null, 2)}\n`;
  }
  return filled
    .map((document) => {
      document.directives = undefined as unknown as NonNullable<Document['directives']>;
      return document.toString({ lineWidth: 0, directives: false });
    })
    .map((text) => `${text.replace(/^---\n/, '').trimEnd()}\n`)
    .join('---\n');
}

/** Applies `add` operations whose paths start at `prefix`. */
export function applyToDocument(document: Document, prefix: Path, patch: readonly AddOperation[]): void {
  for (const { path, value } of patch) {
    const segments = path
      .slice(1)
      .split('/')
      .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = segments.pop()!;
    const at = [...prefix, ...segments];
    const parent = at.length ? document.getIn(at, true) : document.contents;
    const node = document.createNode(value, { aliasDuplicateObjects: false });
    if (isSeq(parent)) {
      // An empty list as written here, `[]`, would keep its one-line form.
      if (parent.items.length === 0) parent.flow = false;
      parent.items.splice(last === '-' ? parent.items.length : Number(last), 0, node);
    } else if (isMap(parent)) {
      if (parent.items.length === 0) parent.flow = false;
      parent.set(last, node);
    } else {
      document.setIn([...at, last], node);
    }
  }
}

async function fetchText(url: string): Promise<string> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(FETCH_MS_MAX) });
    if (!answer.ok) throw new MeshError('NOT_FOUND', `HTTP status ${answer.status}`);
    return await answer.text();
  } catch (error) {
    const cause = error as Error & { cause?: Error };
    throw new MeshError('UNAVAILABLE', `fetch ${url}: ${cause.cause?.message ?? cause.message}`, { cause: error });
  }
}
