import { describe } from 'node:test';
import { GATEWAY, POLICY, type Rules, refTo, rulesOf } from './testing-rules.ts';

const toService = { group: 'core', kind: 'Service', name: 'web', port: 80 };
const toServer = refTo('Server');
const backend = { name: 'web', port: 80 };
const route = (rule: object = {}, parent: object = toService) => ({
  parentRefs: [parent],
  rules: [{ backendRefs: [backend], ...rule }],
});
const matching = (match: object, parent: object = toService) => route({ matches: [match] }, parent);
const filtering = (type: string, filter: object, rule: object = {}) => {
  const field = type.startsWith('URL') ? `url${type.slice(3)}` : type[0]!.toLowerCase() + type.slice(1);
  return route({ backendRefs: [], filters: [{ type, [field]: filter }], ...rule });
};
const redirect = (path: object, match?: object) =>
  filtering('RequestRedirect', { path }, match ? { matches: [match] } : {});
const exact = (value: string) => ({ path: { type: 'Exact', value } });
const timeouts = (request?: string, backendRequest?: string) => route({ timeouts: { request, backendRequest } });

/** What is the same for HTTPRoutes of both groups. */
function common({ accepts, refuses }: Rules): void {
  accepts('a Service', route());
  accepts('a Service in our words', route({}, { group: '', kind: 'Service', name: 'web' }));
  accepts('a Server', matching(exact('/foo'), toServer));
  accepts('an EgressNetwork with a port', matching(exact('/foo'), { ...refTo('EgressNetwork'), port: 555 }));
  accepts('no rules', { parentRefs: [toServer] });
  accepts('what clients of other languages leave empty', {
    parentRefs: [toServer],
    hostnames: null,
    rules: [{ matches: [{ ...exact('/'), headers: null, method: null }], filters: null, backendRefs: null }],
  });
  accepts(
    'every kind of match',
    matching({
      path: { type: 'RegularExpression', value: '/a.*' },
      headers: [{ type: 'RegularExpression', name: 'x-a', value: '.*' }],
      queryParams: [{ name: 'q', value: '1' }],
      method: 'GET',
    }),
  );
  accepts('headers', filtering('RequestHeaderModifier', { set: [{ name: 'x-a', value: 'v' }], remove: ['x-b'] }));
  accepts(
    'a redirect',
    filtering('RequestRedirect', {
      scheme: 'https',
      port: 443,
      path: { type: 'ReplaceFullPath', replaceFullPath: '/x' },
      statusCode: 301,
    }),
  );
  accepts('a redirect of a prefix', redirect({ type: 'ReplacePrefixMatch', replacePrefixMatch: '/b' }));
  accepts('timeouts', timeouts('10s', '1s'));
  accepts('timeouts that are the same', timeouts('1s', '1000ms'));
  accepts('a timeout with a fraction', timeouts('1.5s'));
  accepts('a request timeout of none', timeouts('0s', '1s'));
  accepts(
    'a backend of another kind',
    route({ backendRefs: [{ group: 'alien.example.com', kind: 'ExoService', name: 'x' }] }),
  );

  refuses(
    'an EgressNetwork without a port',
    route({}, refTo('EgressNetwork')),
    /^spec\.parentRefs\[0\]\.port: found nothing/,
  );
  const path = /^spec\.rules\[0\]\.matches\[0\]\.path\.value: found/;
  refuses('a path that is no expression', matching({ path: { type: 'RegularExpression', value: '/(' } }), path);
  refuses('a relative path', matching(exact('foo/bar'), toServer), path);
  refuses('a relative prefix', matching({ path: { type: 'PathPrefix', value: 'api' } }), path);
  refuses(
    'a header that is no expression',
    matching({ headers: [{ type: 'RegularExpression', name: 'a', value: '(' }] }),
    /^spec\.rules\[0\]\.matches\[0\]\.headers\[0\]\.value: found "\("/,
  );
  refuses(
    'a parameter that is no expression',
    matching({ queryParams: [{ type: 'RegularExpression', name: 'a', value: '(' }] }),
    /queryParams\[0\]\.value: found "\("/,
  );
  refuses(
    'a header with a blank in its name',
    matching({ headers: [{ name: 'a b', value: 'x' }] }),
    /headers\[0\]\.name/,
  );
  for (const [type, field] of [
    ['RequestHeaderModifier', 'requestHeaderModifier'],
    ['ResponseHeaderModifier', 'responseHeaderModifier'],
  ] as const) {
    refuses(
      `${type} of a bad header`,
      filtering(type, { set: [{ name: 'x a', value: 'v' }] }),
      new RegExp(`^spec\\.rules\\[0\\]\\.filters\\[0\\]\\.${field}\\.set\\[0\\]\\.name: found "x a"`),
    );
  }
  refuses(
    'a filter that there is not',
    filtering('ExtensionRef', { group: 'x', kind: 'y', name: 'z' }),
    /^spec\.rules\[0\]\.filters\[0\]\.type: found "ExtensionRef"/,
  );
  refuses('a redirect with another status', filtering('RequestRedirect', { statusCode: 200 }), /statusCode: found 200/);
  refuses(
    'a relative redirect',
    redirect({ type: 'ReplaceFullPath', replaceFullPath: 'foo/bar' }, exact('/foo')),
    /requestRedirect\.path\.replaceFullPath: found "foo\/bar"/,
  );
  refuses(
    'a redirect of a prefix for an exact path',
    redirect({ type: 'ReplacePrefixMatch', replacePrefixMatch: '/b' }, exact('/a')),
    /requestRedirect\.path\.type: found "ReplacePrefixMatch"/,
  );
  refuses('a negative timeout', timeouts('-1s'), /^spec\.rules\[0\]\.timeouts\.request: found "-1s"/);
  refuses('a negative timeout of each try', timeouts('1s', '-1s'), /timeouts\.backendRequest: found "-1s"/);
  refuses('a longer timeout of each try', timeouts('1s', '2s'), /timeouts\.backendRequest: found "2s"/);
}

function annotations({ accepts, refuses }: Rules): void {
  accepts('retries', route(), {
    'retry.linkerd.io/http': '5xx,gateway-error,429,500-504',
    'retry.linkerd.io/limit': '2',
    'retry.linkerd.io/timeout': '300ms',
  });
  accepts('timeouts as annotations', route(), {
    'timeout.linkerd.io/request': '1m',
    'timeout.linkerd.io/response': '1s',
    'timeout.linkerd.io/idle': '1h',
  });
  accepts('failure accrual', route(), { 'balancer.linkerd.io/failure-accrual': 'consecutive' });
  accepts('annotations that do not count for a Server', route({ backendRefs: [] }, toServer), {
    'retry.linkerd.io/http': 'often',
    'balancer.linkerd.io/failure-accrual': 'sometimes',
  });
  const bad: [key: string, value: string][] = [
    ['retry.linkerd.io/http', '600'],
    ['retry.linkerd.io/grpc', 'internal'],
    ['retry.linkerd.io/limit', '-1'],
    ['retry.linkerd.io/timeout', '1.5s'],
    ['timeout.linkerd.io/request', 'soon'],
    ['timeout.linkerd.io/response', '-1s'],
    ['timeout.linkerd.io/idle', '1'],
    ['balancer.linkerd.io/failure-accrual', 'sometimes'],
  ];
  const problem = (key: string) => new RegExp(`^metadata\\.annotations\\[${key.replaceAll('.', '\\.')}\\]: found`);
  for (const [key, value] of bad) {
    refuses(`${key}: ${value}`, route(), problem(key), { [key]: value });
    refuses(`${key}: ${value} of an EgressNetwork`, route({}, { ...refTo('EgressNetwork'), port: 80 }), problem(key), {
      [key]: value,
    });
  }
  const failures = 'balancer.linkerd.io/failure-accrual-consecutive-max-failures';
  refuses(`${failures}: x`, route(), problem(failures), {
    'balancer.linkerd.io/failure-accrual': 'consecutive',
    [failures]: 'x',
  });
}

describe('HTTPRoute of our group', () => {
  const rules = rulesOf(POLICY, 'HTTPRoute', 'v1beta3');
  common(rules);
  annotations(rules);
  rules.accepts('a Service as backend without a port', route({ backendRefs: [{ name: 'web' }] }));
  rules.refuses(
    'a URLRewrite',
    filtering('URLRewrite', { hostname: 'a.example' }),
    /filters\[0\]\.type: found "URLRewrite"/,
  );
  rules.refuses(
    'another shape',
    { parentRefs: [toService], rules: 'all' },
    /^spec\.rules: found "all", allowed is a list/,
  );
  rules.refuses('no spec', undefined, /^spec: found nothing/);
});

describe('HTTPRoute of the Gateway API', () => {
  const rules = rulesOf(GATEWAY, 'HTTPRoute', 'v1');
  const { accepts, refuses, warns } = rules;
  common(rules);
  annotations(rules);
  accepts('a rewrite', filtering('URLRewrite', { path: { type: 'ReplaceFullPath', replaceFullPath: '/' } }));
  accepts(
    'a rewrite to a relative path',
    filtering('URLRewrite', { hostname: 'foo', path: { type: 'ReplaceFullPath', replaceFullPath: 'baz' } }),
  );
  accepts('a mirror', filtering('RequestMirror', { backendRef: backend, percent: 100 }));
  accepts('session persistence', route({ sessionPersistence: { type: 'Cookie', sessionName: 's' } }));
  accepts("another controller's route, whatever it asks for", {
    parentRefs: [{ name: 'gateway' }],
    rules: [{ filters: [{ type: 'ExtensionRef' }], backendRefs: [{ name: 'x' }] }],
  });
  warns(
    'a filter that makes requests of a Server fail',
    { ...filtering('ExtensionRef', { group: '', kind: 'Service', name: 'foo' }), parentRefs: [toServer] },
    /^requests of spec\.rules\[0\] will fail: spec\.rules\[0\]\.filters\[0\]\.type: found "ExtensionRef"/,
  );
  accepts("another controller's shape of a later version", {
    parentRefs: [{ name: 'gateway' }],
    rules: [{ matches: { all: true } }],
  });
  accepts('a parent that is nothing', { parentRefs: [null], rules: [] });
  for (const parentRefs of ['all', [toService, 'all'], [{ ...toService, port: 'all' }]]) {
    warns(
      `parents such as ${JSON.stringify(parentRefs)}`,
      { parentRefs, rules: [] },
      /^the mesh cannot read this route.*: spec\.parentRefs.*: found .*"all"/,
    );
  }
  warns(
    'a shape of a later version',
    { parentRefs: [toService], rules: [{ matches: { all: true } }] },
    /spec\.rules\[0\]\.matches: found \{"all":true\}, known is a list/,
  );
  const port = /^spec\.rules\[0\]\.backendRefs\[0\]\.port: found nothing/;
  for (const parent of [toService, toServer]) {
    refuses(`a Service without a port, for a ${parent.kind}`, route({ backendRefs: [{ name: 'web' }] }, parent), port);
    refuses(
      `a Service of the group core without a port, for a ${parent.kind}`,
      route({ backendRefs: [{ group: 'core', kind: 'Service', name: 'web' }] }, parent),
      port,
    );
  }
});
