/** Routes from an OpenAPI document, version 2 or 3: one for each operation, in the order of paths and methods. */
import { MeshError } from '@tulle/api';
import { parseGoDuration } from '@tulle/api/duration.ts';
import { parseDocument } from 'yaml';
import { type PrintedRoute, quoteRegex } from './profile-object.ts';

type Fields = Record<string, unknown>;

const METHODS = ['delete', 'get', 'head', 'options', 'patch', 'post', 'put', 'trace'];
/** An operation that sets it may be sent again when it fails. */
const RETRYABLE = 'x-linkerd-retryable';
/** A duration such as 300ms: how long requests of the operation may take. */
const TIMEOUT = 'x-linkerd-timeout';
const SERVER_ERROR_MIN = 500;

/** @throws MeshError `INVALID_ARGUMENT` when the text is no OpenAPI document; `source` names it. */
export function openApiRoutes(text: string, source: string): PrintedRoute[] {
  const parsed = parseDocument(text);
  const [error] = parsed.errors;
  if (error)
    throw new MeshError('INVALID_ARGUMENT', `read ${source}: ${error.message.split('\n')[0]!.replace(/:$/, '')}`);
  const document: unknown = parsed.toJS();
  if (!isFields(document) || !isFields(document.paths)) {
    throw new MeshError('INVALID_ARGUMENT', `read ${source}: no OpenAPI document: want a map with paths`);
  }
  return Object.entries(document.paths)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([path, given]) => {
      if (!path.startsWith('/')) return [];
      const item = resolved(document, given, `read ${source}: ${path}`);
      return METHODS.flatMap((method) => {
        const operation = item?.[method];
        if (operation === undefined) return [];
        // The servers of an operation go before those of its path, and these before the document's.
        const base = serverPath(operation) ?? serverPath(item) ?? basePath(document);
        return [route(joined(base, path), method.toUpperCase(), operation, source)];
      });
    });
}

function route(path: string, method: string, operation: unknown, source: string): PrintedRoute {
  const fields = isFields(operation) ? withLowerCaseExtensions(operation) : {};
  const name = `${method} ${path}`;
  const timeout = fields[TIMEOUT];
  if (timeout !== undefined && parseGoDuration(String(timeout)) === undefined) {
    const found = JSON.stringify(timeout);
    throw new MeshError(
      'INVALID_ARGUMENT',
      `read ${source}: ${name}: ${TIMEOUT}: found ${found}, allowed is a duration such as 300ms, 1.5s or 1m30s`,
    );
  }
  const responseClasses = classes(fields.responses);
  return {
    name,
    condition: { method, pathRegex: pathRegex(path) },
    ...(responseClasses.length ? { responseClasses } : {}),
    ...(fields[RETRYABLE] === true ? { isRetryable: true } : {}),
    ...(timeout === undefined ? {} : { timeout: String(timeout) }),
  };
}

/** A parameter stands for what is between two slashes. */
export function pathRegex(path: string): string {
  return path
    .split(/(\{[^}]*\})/)
    .map((part) => (/^\{.*\}$/.test(part) ? '[^/]*' : quoteRegex(part)))
    .join('');
}

/** One for each status that is documented; `5XX` stands for a hundred of them, `default` for none. */
function classes(responses: unknown): NonNullable<PrintedRoute['responseClasses']> {
  if (!isFields(responses)) return [];
  return Object.keys(responses)
    .flatMap((key) => {
      const [, first, rest] = /^([1-5])(\d\d|XX)$/i.exec(key) ?? [];
      if (first === undefined || rest === undefined) return [];
      const min = Number(first) * 100 + (/x/i.test(rest) ? 0 : Number(rest));
      return [{ min, max: /x/i.test(rest) ? min + 99 : min }];
    })
    .sort((a, b) => a.min - b.min || a.max - b.max)
    .map((status) => ({
      condition: { status },
      ...(status.min >= SERVER_ERROR_MIN ? { isFailure: true as const } : {}),
    }));
}

/** Version 2 has it as a field of its own, version 3 as the path of the first server. */
function basePath(document: Fields): string {
  return typeof document.basePath === 'string' ? document.basePath : (serverPath(document) ?? '');
}

/** The path of the first server; a variable in it stands for what is between two slashes, as one of a path does. */
function serverPath(scope: unknown): string | undefined {
  const [first] = isFields(scope) && Array.isArray(scope.servers) ? scope.servers : [];
  const url = isFields(first) && typeof first.url === 'string' ? first.url : undefined;
  return url?.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '').replace(/^\/\/[^/]*/, '');
}

function joined(base: string, path: string): string {
  const start = base.replace(/\/+$/, '');
  return `${start === '' || start.startsWith('/') ? start : `/${start}`}${path}`;
}

/** Extensions are known by their names in any case. */
function withLowerCaseExtensions(operation: Fields): Fields {
  return Object.fromEntries(
    Object.entries(operation).map(([name, value]) => [/^x-/i.test(name) ? name.toLowerCase() : name, value]),
  );
}

/** A reference to a reference is rare; longer chains are circles. */
const REFERENCES_MAX = 8;

/** A path's operations may stand elsewhere in the document. @throws MeshError where they cannot be found. */
function resolved(document: Fields, item: unknown, at: string, depth = 0): Fields | undefined {
  if (!isFields(item)) return undefined;
  const { $ref: reference, ...own } = item;
  if (reference === undefined) return item;
  const refuse = (allowed: string) =>
    new MeshError('INVALID_ARGUMENT', `${at}.$ref: found ${JSON.stringify(reference)}, allowed is ${allowed}`);
  if (typeof reference !== 'string' || !reference.startsWith('#/')) throw refuse('a place in the same document, #/…');
  if (depth === REFERENCES_MAX) throw refuse(`a chain of at most ${REFERENCES_MAX} references`);
  const steps = reference.slice(2).split('/');
  const target = steps.reduce<unknown>((node, step) => {
    const key = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
    return isFields(node) && Object.hasOwn(node, key) ? node[key] : undefined;
  }, document);
  if (!isFields(target)) throw refuse('a place that the document has');
  return { ...resolved(document, target, at, depth + 1), ...own };
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
