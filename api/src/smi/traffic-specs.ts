/** HTTPRouteGroup and TCPRoute of the Service Mesh Interface: what TrafficTargets say that may be said. */
import { type Field, readObject } from '../field.ts';
import { HTTP_ROUTE_GROUPS, SMI_TCP_ROUTES } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import { type HttpMatch, isHeaderName, type ValueMatch } from '../routes/http-match.ts';
import { parseRegex } from '../routes/regex.ts';

export interface HttpRouteGroup {
  readonly ref: ObjectRef;
  readonly matches: readonly NamedMatch[];
}

export interface NamedMatch {
  readonly name: string;
  /** Any of them. */
  readonly matches: readonly HttpMatch[];
  /** Whether it takes every request. */
  readonly isEverything: boolean;
}

export interface SmiTcpRoute {
  readonly ref: ObjectRef;
  /** Empty: every port. */
  readonly ports: readonly number[];
}

/** What takes every path: no expression, or one that says so. */
const EVERY_PATH = new Set(['', '.*', '/.*']);

/** Before v1alpha3 the matches stand at the top. @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseHttpRouteGroup(object: KubeObject): HttpRouteGroup {
  return readObject(object, (root) => {
    const body = root.get('spec').isSet ? root.get('spec') : root;
    const matches = body.get('matches').items('a list of matches').map(readMatch);
    return { ref: objectRef(object, HTTP_ROUTE_GROUPS), matches };
  });
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseSmiTcpRoute(object: KubeObject): SmiTcpRoute {
  return readObject(object, (root) => {
    const ports = root.get('spec').get('matches').get('ports').items('a list of ports');
    return { ref: objectRef(object, SMI_TCP_ROUTES), ports: ports.flatMap((item) => item.integer(1, 65535) ?? []) };
  });
}

function readMatch(field: Field): NamedMatch {
  const name = field.get('name').requiredText('the name of a match');
  const path = readRegex(field.get('pathRegex'));
  const headers = readHeaders(field.get('headers'));
  const methods = field
    .get('methods')
    .items('a list of methods')
    .flatMap((item) => item.requiredText('a method or *') || []);
  const isEveryMethod = methods.length === 0 || methods.includes('*');
  const match: HttpMatch = { path: { kind: 'regex', value: path || '.*' }, headers, queryParams: [] };
  return {
    name,
    matches: isEveryMethod ? [match] : methods.map((method) => ({ ...match, method })),
    isEverything: isEveryMethod && headers.length === 0 && EVERY_PATH.has(path),
  };
}

/** A map of names and expressions, or a list of such maps: all of them must hold. */
function readHeaders(field: Field): ValueMatch[] {
  const maps = Array.isArray(field.value) ? field.items() : [field];
  return maps.flatMap((map) =>
    map.keys().flatMap((key): ValueMatch[] => {
      if (!isHeaderName(key)) return map.get(key).refuse('a field whose name is that of a header') ?? [];
      return [{ kind: 'regex', name: key.toLowerCase(), value: readRegex(map.get(key)) }];
    }),
  );
}

/** Empty where it is not set. */
function readRegex(field: Field): string {
  const { value } = field;
  if (value === undefined || value === null || value === '') return '';
  if (typeof value === 'string' && parseRegex(value)) return value;
  return field.refuse('a regular expression') ?? '';
}
