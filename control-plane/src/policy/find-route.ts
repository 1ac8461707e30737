/**
 * How a request finds its route, as proxies do it, for explanations and tests of policies. Precedence is the Gateway
 * API's: exact host before longer suffix before none; then more of the path, an exact one before others; then a method;
 * then more headers; then more query parameters; then the earlier one. Expressions take the whole path.
 */
import type { GrpcMatch, HttpMatch, PathMatch, ValueMatch } from '@tulle/api/routes/http-match.ts';
import { parseRegex } from '@tulle/api/routes/regex.ts';

export interface RequestFacts {
  method: string;
  /** With the query, if any. */
  path: string;
  /** With or without a port. */
  host: string;
  /** Names in lower case. */
  headers: Readonly<Record<string, string | readonly string[]>>;
}

export interface FindableRoute<M> {
  readonly hostnames: readonly string[];
  readonly rules: readonly { readonly matches: readonly M[] }[];
}

export interface FoundRoute {
  route: number;
  rule: number;
  match: number;
}

/** Compared from the first number on; more is better. */
type Rank = readonly number[];

export function findHttpRoute(
  routes: readonly FindableRoute<HttpMatch>[],
  request: RequestFacts,
): FoundRoute | undefined {
  return findHttpRoutes(routes, request)[0];
}

export function findGrpcRoute(
  routes: readonly FindableRoute<GrpcMatch>[],
  request: RequestFacts,
): FoundRoute | undefined {
  return findGrpcRoutes(routes, request)[0];
}

/** Every rule that takes the request, the one that gets it first. */
export function findHttpRoutes(
  routes: readonly FindableRoute<HttpMatch>[],
  request: RequestFacts,
): readonly FoundRoute[] {
  return find(routes, request, rankHttp);
}

/** As `findHttpRoutes`. */
export function findGrpcRoutes(
  routes: readonly FindableRoute<GrpcMatch>[],
  request: RequestFacts,
): readonly FoundRoute[] {
  return find(routes, request, rankGrpc);
}

/** The same of routes that are told apart by host names alone. */
export function findByHost<R extends { readonly hostnames: readonly string[] }>(
  routes: readonly R[],
  host: string,
): readonly R[] {
  const ranked = routes.flatMap((route) => {
    const rank = rankHost(route.hostnames, hostOf(host));
    return rank ? [{ rank, route }] : [];
  });
  return ranked.sort((a, b) => compareRanks(b.rank, a.rank)).map(({ route }) => route);
}

function find<M>(
  routes: readonly FindableRoute<M>[],
  request: RequestFacts,
  rankOf: (match: M, request: RequestFacts) => Rank | undefined,
): readonly FoundRoute[] {
  const all: { rank: Rank; found: FoundRoute }[] = [];
  for (const [route, { hostnames, rules }] of routes.entries()) {
    const host = rankHost(hostnames, hostOf(request.host));
    if (!host) continue;
    for (const [rule, { matches }] of rules.entries()) {
      let best: { rank: Rank; found: FoundRoute } | undefined;
      for (const [match, each] of matches.entries()) {
        const rest = rankOf(each, request);
        if (!rest) continue;
        const rank = [...host, ...rest];
        if (!best || isBetter(rank, best.rank)) best = { rank, found: { route, rule, match } };
      }
      if (best) all.push(best);
    }
  }
  // Equally good ones stay in their order.
  return all.sort((a, b) => compareRanks(b.rank, a.rank)).map(({ found }) => found);
}

function isBetter(a: Rank, b: Rank): boolean {
  return compareRanks(a, b) > 0;
}

function compareRanks(a: Rank, b: Rank): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : a[at]! - b[at]!;
}

function hostOf(authority: string): string {
  const host = authority.replace(/:\d*$/, '').toLowerCase();
  return host.endsWith('.') ? host.slice(0, -1) : host;
}

const ANY = [0, 0];

function rankHost(hostnames: readonly string[], host: string): Rank | undefined {
  if (hostnames.length === 0) return ANY;
  let best: Rank | undefined;
  for (const hostname of hostnames) {
    const isWildcard = hostname.startsWith('*.');
    // A wildcard stands for at least one label.
    const isMatch = isWildcard ? host.endsWith(hostname.slice(1)) && host.length >= hostname.length : host === hostname;
    const rank = isWildcard ? [1, hostname.split('.').length] : [2, 0];
    if (isMatch && (!best || isBetter(rank, best))) best = rank;
  }
  return best;
}

function rankHttp(match: HttpMatch, { method, path, headers }: RequestFacts): Rank | undefined {
  const [bare, query = ''] = split(path, '?');
  const rank = rankPath(match.path, bare);
  if (!rank || (match.method !== undefined && match.method !== method)) return undefined;
  if (!match.headers.every((header) => meetsHeader(header, headers))) return undefined;
  const parameters = new URLSearchParams(query);
  const isMet = match.queryParams.every((each) => parameters.getAll(each.name).some((value) => meets(each, value)));
  if (!isMet) return undefined;
  return [...rank, match.method === undefined ? 0 : 1, match.headers.length, match.queryParams.length];
}

function rankPath({ kind, value }: PathMatch, path: string): Rank | undefined {
  if (kind === 'exact') return path === value ? [value.length, 1] : undefined;
  if (kind === 'regex') return parseRegex(value)?.test(path) ? [path.length, 0] : undefined;
  // Whole elements of the path only.
  const bare = value.replace(/\/+$/, '');
  const isMatch = bare === '' || path === bare || path.startsWith(`${bare}/`);
  return isMatch ? [Math.max(bare.length, 1), 0] : undefined;
}

function rankGrpc(match: GrpcMatch, { path, headers }: RequestFacts): Rank | undefined {
  const [, service, method] = /^\/([^/]*)\/(.*)$/.exec(split(path, '?')[0]) ?? [];
  if (service === undefined || method === undefined) return undefined;
  if (match.service !== undefined && match.service !== service) return undefined;
  if (match.method !== undefined && match.method !== method) return undefined;
  if (!match.headers.every((header) => meetsHeader(header, headers))) return undefined;
  return [match.service?.length ?? 0, match.method?.length ?? 0, match.headers.length];
}

function meetsHeader(match: ValueMatch, headers: RequestFacts['headers']): boolean {
  const value = Object.hasOwn(headers, match.name) ? headers[match.name] : undefined;
  if (value === undefined) return false;
  return (typeof value === 'string' ? [value] : value).some((each) => meets(match, each));
}

function meets({ kind, value }: ValueMatch, found: string): boolean {
  return kind === 'exact' ? found === value : (parseRegex(value)?.test(found) ?? false);
}

function split(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
