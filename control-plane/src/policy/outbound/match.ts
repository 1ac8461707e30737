/** Which rule takes a request, by the Gateway API's precedence: as proxies find it, for explanations. */
import type { GrpcMatch, HttpMatch, PathMatch, ValueMatch } from '@tulle/api/routes/http-match.ts';
import { parseRegex } from '@tulle/api/routes/regex.ts';
import type { PolicyRoute } from './outbound-policy.ts';

export interface RequestHead {
  method: string;
  /** With its query. */
  path: string;
  /** With or without a port. */
  host?: string;
  /** By names in lower case. */
  headers: Readonly<Record<string, string>>;
}

export interface Found<R, M> {
  route: PolicyRoute<R>;
  rule: R;
  match: M;
}

/** How good a match is: compared part by part, the higher wins. */
type Rank = readonly number[];

/** Everything that takes the request, the best first; of equally good ones the first in order. */
export function findRules<R extends { matches: readonly M[] }, M>(
  routes: readonly PolicyRoute<R>[],
  host: string | undefined,
  rankOf: (match: M) => Rank | undefined,
): Found<R, M>[] {
  const found: { rank: Rank; place: Found<R, M> }[] = [];
  for (const route of routes) {
    const ofHost = rankHost(route.hostnames, host);
    if (ofHost === undefined) continue;
    for (const rule of route.rules) {
      const ranked = rule.matches.flatMap((match) => {
        const rank = rankOf(match);
        return rank ? [{ rank: [ofHost, ...rank], place: { route, rule, match } }] : [];
      });
      const [best] = ranked.sort((a, b) => compareRanks(b.rank, a.rank));
      if (best) found.push(best);
    }
  }
  return found.sort((a, b) => compareRanks(b.rank, a.rank)).map(({ place }) => place);
}

/** Exact before the longest suffix before every host. Undefined where none fits. */
export function rankHost(hostnames: readonly string[], host: string | undefined): number | undefined {
  if (hostnames.length === 0) return 0;
  const name = host?.replace(/:\d+$/, '').replace(/\.$/, '').toLowerCase();
  if (name === undefined) return undefined;
  const ranks = hostnames.flatMap((hostname) => {
    if (hostname === name) return [Number.MAX_SAFE_INTEGER];
    return hostname.startsWith('*.') && name.endsWith(hostname.slice(1)) ? [hostname.length] : [];
  });
  return ranks.length === 0 ? undefined : Math.max(...ranks);
}

export function rankHttp({ method, path, headers }: RequestHead): (match: HttpMatch) => Rank | undefined {
  const url = new URL(path, 'http://any');
  return (match) => {
    const ofPath = rankPath(match.path, url.pathname);
    if (!ofPath || (match.method !== undefined && match.method !== method)) return undefined;
    const hasAll =
      match.headers.every((one) => fits(one, headers[one.name])) &&
      match.queryParams.every((one) => fits(one, url.searchParams.get(one.name) ?? undefined));
    if (!hasAll) return undefined;
    return [...ofPath, match.method === undefined ? 0 : 1, match.headers.length, match.queryParams.length];
  };
}

/** Service and method of a call are its path: `/app.Votes/Cast`. */
export function rankGrpc({ path, headers }: RequestHead): (match: GrpcMatch) => Rank | undefined {
  const [, service = '', method = ''] = new URL(path, 'http://any').pathname.split('/');
  return (match) => {
    if (match.service !== undefined && match.service !== service) return undefined;
    if (match.method !== undefined && match.method !== method) return undefined;
    if (!match.headers.every((one) => fits(one, headers[one.name]))) return undefined;
    return [match.service?.length ?? 0, match.method?.length ?? 0, match.headers.length];
  };
}

/** Exact before the longest prefix before expressions. */
function rankPath({ kind, value }: PathMatch, path: string): Rank | undefined {
  switch (kind) {
    case 'exact':
      return path === value ? [2, value.length] : undefined;
    case 'prefix': {
      // By whole elements of the path.
      const prefix = value.replace(/\/$/, '');
      return path === prefix || path.startsWith(`${prefix}/`) ? [1, value.length] : undefined;
    }
    case 'regex':
      return parseRegex(value)?.test(path) ? [0, value.length] : undefined;
  }
}

function fits({ kind, value }: ValueMatch, found: string | undefined): boolean {
  if (found === undefined) return false;
  return kind === 'exact' ? found === value : (parseRegex(value)?.test(found) ?? false);
}

function compareRanks(a: Rank, b: Rank): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
