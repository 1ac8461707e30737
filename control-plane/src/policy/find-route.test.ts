import assert from 'node:assert/strict';
import test from 'node:test';
import { ANY_GRPC, ANY_HTTP, type HttpMatch } from '@tulle/api/routes/http-match.ts';
import { findGrpcRoute, findHttpRoute, type RequestFacts } from './find-route.ts';

const request = (more: Partial<RequestFacts> = {}): RequestFacts => ({
  method: 'GET',
  path: '/',
  host: 'web.app',
  headers: {},
  ...more,
});
const match = (more: Partial<HttpMatch>): HttpMatch => ({ ...ANY_HTTP, ...more });
const path = (kind: 'exact' | 'prefix' | 'regex', value: string) => match({ path: { kind, value } });
const header = (kind: 'exact' | 'regex', value: string) => ({ kind, name: 'x-a', value });

/** Whether one match takes the request. */
const takes = (one: HttpMatch, of: Partial<RequestFacts>) =>
  findHttpRoute([{ hostnames: [], rules: [{ matches: [one] }] }], request(of)) !== undefined;

test('matches paths, methods, headers and query parameters', () => {
  assert.ok(takes(path('exact', '/a'), { path: '/a?b=c' }));
  assert.ok(!takes(path('exact', '/a'), { path: '/a/' }));
  for (const prefix of ['/a', '/a/']) {
    assert.ok(takes(path('prefix', prefix), { path: '/a' }));
    assert.ok(takes(path('prefix', prefix), { path: '/a/b' }));
    assert.ok(!takes(path('prefix', prefix), { path: '/ab' }));
  }
  assert.ok(takes(path('regex', '/a+'), { path: '/aa' }));
  assert.ok(!takes(path('regex', '/a+'), { path: '/aab' }));
  assert.ok(!takes(match({ method: 'POST' }), {}));
  assert.ok(takes(match({ headers: [header('exact', '1')] }), { headers: { 'x-a': ['0', '1'] } }));
  assert.ok(!takes(match({ headers: [header('exact', '1')] }), { headers: { 'x-a': '11' } }));
  assert.ok(takes(match({ headers: [header('regex', '\\d+')] }), { headers: { 'x-a': '11' } }));
  assert.ok(takes(match({ queryParams: [header('exact', 'a b')] }), { path: '/?x-a=a+b' }));
  assert.ok(!takes(match({ queryParams: [header('exact', '1')] }), { path: '/?x-b=1' }));
});

test('prefers hosts, then paths, methods, headers, parameters, and the earlier of equals', () => {
  const best = (candidates: { hostnames?: string[]; matches?: HttpMatch[] }[], of: Partial<RequestFacts> = {}) => {
    const routes = candidates.map(({ hostnames = [], matches = [ANY_HTTP] }) => ({ hostnames, rules: [{ matches }] }));
    return findHttpRoute(routes, request({ path: '/a/b?x-a=1', host: 'web.app:80', headers: { 'x-a': '1' }, ...of }))
      ?.route;
  };
  assert.equal(best([{ matches: [path('exact', '/a/b')] }, { hostnames: ['*.app'] }, { hostnames: ['web.app'] }]), 2);
  assert.equal(best([{ hostnames: ['*.app'] }, { hostnames: ['*.b.app'] }], { host: 'a.b.app' }), 1);
  assert.equal(best([{ hostnames: ['*.app'] }], { host: 'app' }), undefined);
  assert.equal(best([{ matches: [path('prefix', '/a')] }, { matches: [path('regex', '/a/.')] }]), 1);
  assert.equal(best([{ matches: [path('prefix', '/a/b')] }, { matches: [path('regex', '/a/.')] }]), 0);
  assert.equal(best([{ matches: [path('regex', '/a/.')] }, { matches: [path('exact', '/a/b')] }]), 1);
  assert.equal(best([{ matches: [path('prefix', '/a')] }, { matches: [path('prefix', '/a/b')] }]), 1);
  assert.equal(best([{ matches: [path('prefix', '/a/b')] }, { matches: [path('exact', '/a/b')] }]), 1);
  assert.equal(
    best([{ matches: [match({ headers: [header('exact', '1')] })] }, { matches: [match({ method: 'GET' })] }]),
    1,
  );
  const byQuery = { matches: [match({ queryParams: [header('exact', '1')] })] };
  assert.equal(best([byQuery, { matches: [match({ headers: [header('exact', '1')] })] }]), 1);
  assert.equal(best([{}, byQuery]), 1);
  assert.equal(best([{}, {}]), 0);
  assert.equal(best([{ matches: [] }]), undefined);
});

test('finds calls of gRPC by service and method', () => {
  const routes = [
    ANY_GRPC,
    { service: 'app.Votes', headers: [] },
    { service: 'app.Votes', method: 'Vote', headers: [] },
    { method: 'List', headers: [] },
  ];
  const best = (called: string) => {
    const found = findGrpcRoute(
      [{ hostnames: [], rules: routes.map((each) => ({ matches: [each] })) }],
      request({ path: called }),
    );
    return found?.rule;
  };
  assert.deepEqual(['/app.Votes/Vote', '/app.Votes/List', '/app.Emoji/List', '/app.Emoji/Find', '/'].map(best), [
    2,
    1,
    3,
    0,
    undefined,
  ]);
});
