/** Which requests a rule takes: path, headers, query parameters, method; of gRPC, service and method. */
import type { Field } from '../field.ts';
import { parseRegex } from './regex.ts';

export interface HttpMatch {
  readonly path: PathMatch;
  readonly headers: readonly ValueMatch[];
  readonly queryParams: readonly ValueMatch[];
  readonly method?: string;
}

export interface PathMatch {
  readonly kind: 'exact' | 'prefix' | 'regex';
  readonly value: string;
}

/** `name` of a header is in lower case. */
export interface ValueMatch {
  readonly kind: 'exact' | 'regex';
  readonly name: string;
  readonly value: string;
}

export interface GrpcMatch {
  readonly service?: string;
  readonly method?: string;
  readonly headers: readonly ValueMatch[];
}

export const ANY_PATH: PathMatch = { kind: 'prefix', value: '/' };
/** What a rule without matches takes. */
export const ANY_HTTP: HttpMatch = { path: ANY_PATH, headers: [], queryParams: [] };
export const ANY_GRPC: GrpcMatch = { headers: [] };

export const HTTP_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const;

/** The largest that any served schema allows. */
const MATCHES_MAX = 64;
const VALUES_MAX = 16;
const NAME_CHARACTERS_MAX = 256;
/** What is longer proxies and servers refuse in requests. */
export const PATH_CHARACTERS_MAX = 4096;
const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
/** What a field value may hold: no control characters but tabs. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const HEADER_VALUE = /^[^\x00-\x08\x0a-\x1f\x7f]*$/;
const GRPC_NAME = /^[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*$/;

export function isHeaderName(text: string): boolean {
  return text.length <= NAME_CHARACTERS_MAX && HEADER_NAME.test(text);
}

export function isHeaderValue(text: string): boolean {
  return HEADER_VALUE.test(text);
}

/**
 * A part of a match that cannot be read is left out, so the match takes more than was meant; the rule's problems make it
 * refuse what it takes.
 */
export function readHttpMatches(rule: Field): HttpMatch[] {
  const items = matchesOf(rule);
  if (items.length === 0) return [ANY_HTTP];
  return items.map((match) => ({
    path: readPath(match.get('path')),
    headers: readValues(match.get('headers'), 'a header'),
    queryParams: readValues(match.get('queryParams'), 'a query parameter'),
    method: match.get('method').oneOf(HTTP_METHODS),
  }));
}

export function readGrpcMatches(rule: Field): GrpcMatch[] {
  const items = matchesOf(rule);
  if (items.length === 0) return [ANY_GRPC];
  return items.map((match) => {
    const headers = readValues(match.get('headers'), 'a header');
    const method = match.get('method');
    if (!method.object()) return { headers };
    const type = method.get('type');
    if (type.isSet && type.value !== 'Exact') type.refuse('Exact');
    const name = (field: Field) => {
      const text = field.text('a name');
      return text === undefined || GRPC_NAME.test(text) ? text : field.refuse('a name of gRPC such as app.Votes');
    };
    const read = { service: name(method.get('service')), method: name(method.get('method')) };
    if (!method.get('service').isSet && !method.get('method').isSet) method.refuse('a service, a method or both');
    return { ...read, headers };
  });
}

function matchesOf(rule: Field): Field[] {
  const list = rule.get('matches');
  const items = list.items('a list of matches');
  if (items.length > MATCHES_MAX) list.refuse(`at most ${MATCHES_MAX} matches`);
  for (const item of items) if (!item.object('a match') && !item.isSet) item.refuse('a match');
  return items;
}

const PATH_KINDS = { Exact: 'exact', PathPrefix: 'prefix', RegularExpression: 'regex' } as const;

function readPath(path: Field): PathMatch {
  if (!path.object()) return ANY_PATH;
  const kind = PATH_KINDS[path.get('type').oneOf(['Exact', 'PathPrefix', 'RegularExpression']) ?? 'PathPrefix'];
  const field = path.get('value');
  const value = field.text('a path') ?? '/';
  if (kind === 'regex') {
    if (parseRegex(value)) return { kind, value };
    field.refuse('a regular expression');
    return ANY_PATH;
  }
  if (value.startsWith('/') && value.length <= PATH_CHARACTERS_MAX) return { kind, value };
  field.refuse(`an absolute path of at most ${PATH_CHARACTERS_MAX} characters`);
  return ANY_PATH;
}

function readValues(list: Field, what: 'a header' | 'a query parameter'): ValueMatch[] {
  const items = list.items(`a list of ${what.slice(2)} matches`);
  if (items.length > VALUES_MAX) list.refuse(`at most ${VALUES_MAX} matches`);
  return items.flatMap((item) => {
    const isHeader = what === 'a header';
    const type = item.get('type').oneOf(['Exact', 'RegularExpression']) ?? 'Exact';
    const name = item.get('name').requiredText(`the name of ${what}`);
    const isName = isHeader ? isHeaderName(name) : name.length <= NAME_CHARACTERS_MAX;
    if (name !== '' && !isName) item.get('name').refuse(`the name of ${what}`);
    const field = item.get('value');
    const value = field.requiredText(type === 'Exact' ? 'a value' : 'a regular expression');
    const isValue = type === 'Exact' ? !isHeader || isHeaderValue(value) : parseRegex(value) !== undefined;
    if (value !== '' && !isValue) field.refuse(type === 'Exact' ? 'a value of a header' : 'a regular expression');
    if (name === '' || value === '' || !isName || !isValue) return [];
    return [{ kind: type === 'Exact' ? 'exact' : 'regex', name: isHeader ? name.toLowerCase() : name, value } as const];
  });
}
