/** Words for the parts of policies, the same on the client's and the server's side of an explanation. */

import { formatIp, type IpNetwork } from '@tulle/api/ip-address.ts';
import type { ObjectRef } from '@tulle/api/object-ref.ts';
import type { HttpFilter } from '@tulle/api/routes/http-filter.ts';
import type { GrpcMatch, HttpMatch, ValueMatch } from '@tulle/api/routes/http-match.ts';
import type { Origin } from './explanation.ts';

export function objectText({ kind, namespace, name }: Pick<ObjectRef, 'kind' | 'namespace' | 'name'>): string {
  return namespace ? `${kind} ${namespace}/${name}` : `${kind} ${name}`;
}

/** Of an object, or of a default that no object describes. */
export function originOf(source: ObjectRef | string, field?: string): Origin {
  if (typeof source === 'string') return { object: source === 'default' ? source : `default ${source}` };
  return { object: objectText(source), ...(field ? { field } : {}) };
}

export function networkText({ address, prefixLength }: IpNetwork): string {
  return `${formatIp(address)}/${prefixLength}`;
}

export function durationText(ms: number): string {
  if (ms % 60_000 === 0 && ms > 0) return `${ms / 60_000}m`;
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

export function matchText(match: HttpMatch | GrpcMatch): string {
  const parts: string[] = [];
  if ('path' in match) {
    if (match.method) parts.push(match.method);
    const { kind, value } = match.path;
    parts.push(kind === 'exact' ? `path ${value}` : kind === 'prefix' ? `paths below ${value}` : `paths like ${value}`);
    parts.push(...match.queryParams.map((one) => `query ${valueText(one)}`));
  } else parts.push(`${match.service ?? 'any service'}, ${match.method ?? 'any method'}`);
  parts.push(...match.headers.map((one) => `header ${valueText(one)}`));
  return parts.join(', ');
}

const valueText = ({ kind, name, value }: ValueMatch) => `${name}${kind === 'exact' ? '=' : '~'}${value}`;

export function filterText(filter: HttpFilter): string {
  switch (filter.kind) {
    case 'request-headers':
    case 'response-headers': {
      const of = filter.kind === 'request-headers' ? 'request' : 'response';
      const set = filter.set.map(({ name, value }) => `set ${name}: ${value}`);
      const add = filter.add.map(({ name, value }) => `add ${name}: ${value}`);
      const remove = filter.remove.map((name) => `remove ${name}`);
      return `${of} headers: ${[...set, ...add, ...remove].join(', ')}`;
    }
    case 'redirect':
    case 'rewrite': {
      const { path, host } = filter;
      const parts = [
        ...(filter.kind === 'redirect' && filter.scheme ? [filter.scheme] : []),
        ...(host ? [`host ${host}`] : []),
        ...(filter.kind === 'redirect' && filter.port ? [`port ${filter.port}`] : []),
        ...(path ? [path.kind === 'full' ? `path ${path.value}` : `prefix ${path.value}`] : []),
      ];
      return filter.kind === 'redirect'
        ? `answered with ${filter.status}, elsewhere: ${parts.join(', ')}`
        : `rewritten: ${parts.join(', ')} (Tulle's proxy only)`;
    }
    case 'mirror':
      return `copied to ${filter.target.namespace}/${filter.target.name}`;
    case 'unsupported':
      return `${filter.type}, which nobody here carries out`;
  }
}

export const percentText = (share: number): string => `${Math.round(share * 1000) / 10} %`;
