/** What is done to requests and responses on their way: the filters of routes and of their backends. */
import { Field } from '../field.ts';
import type { ObjectRef } from '../object-ref.ts';
import { isHeaderName, isHeaderValue, PATH_CHARACTERS_MAX } from './http-match.ts';
import { readHostname, readTarget, type TargetRef } from './route.ts';

export type HttpFilter = HeaderFilter | RedirectFilter | RewriteFilter | MirrorFilter | UnsupportedFilter;

export interface Header {
  readonly name: string;
  readonly value: string;
}

export interface HeaderFilter {
  readonly kind: 'request-headers' | 'response-headers';
  readonly set: readonly Header[];
  readonly add: readonly Header[];
  readonly remove: readonly string[];
}

export interface PathModifier {
  readonly kind: 'full' | 'prefix';
  readonly value: string;
}

/** What is not set stays as it was in the request. */
export interface RedirectFilter {
  readonly kind: 'redirect';
  readonly scheme?: 'http' | 'https';
  readonly host?: string;
  readonly path?: PathModifier;
  readonly port?: number;
  readonly status: number;
}

export interface RewriteFilter {
  readonly kind: 'rewrite';
  readonly host?: string;
  readonly path?: PathModifier;
}

/** A copy of this share of requests goes to the target. */
export interface MirrorFilter {
  readonly kind: 'mirror';
  readonly target: TargetRef;
  readonly numerator: number;
  readonly denominator: number;
}

/** A filter that nobody here carries out: requests that it is for have to fail. */
export interface UnsupportedFilter {
  readonly kind: 'unsupported';
  readonly type: string;
  readonly field: string;
}

export const POLICY_FILTERS = ['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestRedirect'] as const;
export const GATEWAY_HTTP_FILTERS = [...POLICY_FILTERS, 'URLRewrite', 'RequestMirror'] as const;
export const GRPC_FILTERS = ['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror'] as const;

export type FilterType = (typeof GATEWAY_HTTP_FILTERS)[number];

const FILTERS_MAX = 16;
const HEADERS_MAX = 16;
const STATUS_DEFAULT = 302;
const STATUSES = [301, 302, 303, 307, 308];
const U32_MAX = 0xffff_ffff;

export interface FilterOptions {
  ref: ObjectRef;
  supported: readonly FilterType[];
  /** Whether every match of the rule is by a prefix of the path, without which no prefix can be replaced. */
  isPrefixMatch: boolean;
  /** Takes what is said of unsupported filters instead of the problems, for routes that are let in with them. */
  admitted?: string[];
}

export function readFilters(owner: Field, options: FilterOptions): HttpFilter[] {
  const list = owner.get('filters');
  const items = list.items('a list of filters');
  if (items.length > FILTERS_MAX) list.refuse(`at most ${FILTERS_MAX} filters`);
  const filters = items.flatMap((item) => readFilter(item, options) ?? []);
  const kinds = filters.map(({ kind }) => kind);
  if (kinds.includes('redirect') && kinds.includes('rewrite')) {
    list.refuse('a URLRewrite or a RequestRedirect, not both');
  }
  return filters;
}

function readFilter(item: Field, options: FilterOptions): HttpFilter | undefined {
  const { ref, supported, isPrefixMatch, admitted } = options;
  const type = item.get('type').requiredText('the type of a filter');
  if (type === '') return undefined;
  if (!(supported as readonly string[]).includes(type)) {
    const told = item.get('type');
    (admitted ? new Field(told.path, told.value, admitted) : told).refuse(`one of ${supported.join(', ')}`);
    return { kind: 'unsupported', type, field: item.path };
  }
  const body = item.get(BODIES[type as FilterType]);
  if (!body.object()) {
    if (!body.isSet) body.refuse(`an object that says what a ${type} does`);
    return undefined;
  }
  switch (type as FilterType) {
    case 'RequestHeaderModifier':
      return readHeaders('request-headers', body);
    case 'ResponseHeaderModifier':
      return readHeaders('response-headers', body);
    case 'RequestRedirect':
      return readRedirect(body, isPrefixMatch);
    case 'URLRewrite':
      return { kind: 'rewrite', host: readHost(body), path: readRewrittenPath(body.get('path'), isPrefixMatch) };
    case 'RequestMirror':
      return readMirror(body, ref);
  }
}

const BODIES: Record<FilterType, string> = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  RequestMirror: 'requestMirror',
};

function readHeaders(kind: HeaderFilter['kind'], body: Field): HeaderFilter {
  const remove = limited(body.get('remove')).flatMap((item) => readHeaderName(item) ?? []);
  return { kind, set: readHeaderList(body.get('set')), add: readHeaderList(body.get('add')), remove };
}

function readHeaderList(list: Field): Header[] {
  return limited(list).flatMap((item) => {
    const name = readHeaderName(item.get('name'));
    const field = item.get('value');
    const { value } = field;
    const isValue = typeof value === 'string' && isHeaderValue(value);
    if (!isValue) field.refuse('a value of a header');
    return name !== undefined && isValue ? [{ name, value }] : [];
  });
}

function limited(list: Field): Field[] {
  const items = list.items('a list of headers');
  if (items.length > HEADERS_MAX) list.refuse(`at most ${HEADERS_MAX} headers`);
  return items;
}

function readHeaderName(field: Field): string | undefined {
  const name = field.requiredText('the name of a header');
  if (name === '') return undefined;
  return isHeaderName(name) ? name.toLowerCase() : field.refuse('the name of a header');
}

function readRedirect(body: Field, isPrefixMatch: boolean): RedirectFilter {
  const status = body.get('statusCode');
  if (status.isSet && !STATUSES.includes(status.value as number)) status.refuse(`one of ${STATUSES.join(', ')}`);
  return {
    kind: 'redirect',
    scheme: body.get('scheme').oneOf(['http', 'https']),
    host: readHost(body),
    path: readPathModifier(body.get('path'), isPrefixMatch),
    port: body.get('port').integer(1, 65535),
    status: (status.value as number | undefined) ?? STATUS_DEFAULT,
  };
}

function readHost(body: Field): string | undefined {
  const field = body.get('hostname');
  return field.isSet ? readHostname(field, false) : undefined;
}

/** The Gateway API asks for no slash at the beginning of what a path is replaced with. */
function readRewrittenPath(path: Field, isPrefixMatch: boolean): PathModifier | undefined {
  const field = path.get('replaceFullPath');
  if (typeof field.value !== 'string' || field.value.startsWith('/')) return readPathModifier(path, isPrefixMatch);
  if (!path.object() || path.get('type').value !== 'ReplaceFullPath') return readPathModifier(path, isPrefixMatch);
  return { kind: 'full', value: `/${field.value}` };
}

function readPathModifier(path: Field, isPrefixMatch: boolean): PathModifier | undefined {
  if (!path.object()) return undefined;
  const typeField = path.get('type');
  const type = typeField.oneOf(['ReplaceFullPath', 'ReplacePrefixMatch']);
  if (!type) return typeField.isSet ? undefined : typeField.refuse('ReplaceFullPath or ReplacePrefixMatch');
  const isFull = type === 'ReplaceFullPath';
  const field = path.get(isFull ? 'replaceFullPath' : 'replacePrefixMatch');
  if (!isFull && !isPrefixMatch) typeField.refuse('ReplaceFullPath where a match of the rule is not by PathPrefix');
  // A prefix replaced by nothing and one replaced by a slash leave the same path.
  const value = !isFull && field.value === '' ? '/' : field.value;
  if (typeof value === 'string' && value.startsWith('/') && value.length <= PATH_CHARACTERS_MAX) {
    return { kind: isFull ? 'full' : 'prefix', value };
  }
  return field.refuse(`an absolute path of at most ${PATH_CHARACTERS_MAX} characters`);
}

function readMirror(body: Field, ref: ObjectRef): MirrorFilter | undefined {
  const backend = body.get('backendRef');
  const target = readTarget(backend, ref, { group: '', kind: 'Service' });
  if (target && target.group === '' && target.kind === 'Service' && target.port === undefined) {
    if (!backend.get('port').isSet) backend.get('port').refuse('1 to 65535: a backend of kind Service needs one');
  }
  const percent = body.get('percent').integer(0, 100);
  const fraction = body.get('fraction');
  if (percent !== undefined && fraction.isSet) fraction.refuse('a fraction or a percentage, not both');
  if (!fraction.object()) return target && { kind: 'mirror', target, numerator: percent ?? 100, denominator: 100 };
  const denominator = fraction.get('denominator').integer(1, U32_MAX) ?? 100;
  const numerator = fraction.get('numerator').integer(0, denominator, `0 to the denominator, ${denominator}`);
  if (!fraction.get('numerator').isSet) fraction.get('numerator').refuse(`0 to the denominator, ${denominator}`);
  return target && numerator !== undefined ? { kind: 'mirror', target, numerator, denominator } : undefined;
}
