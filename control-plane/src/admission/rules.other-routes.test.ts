import { describe } from 'node:test';
import { GATEWAY, refTo, rulesOf } from './testing-rules.ts';

const toService = { group: 'core', kind: 'Service', name: 'web', port: 80 };
const toServer = refTo('Server');
const backend = { name: 'web', port: 80 };
const route = (rule: object = {}, parent: object = toService) => ({
  parentRefs: [parent],
  rules: [{ backendRefs: [backend], ...rule }],
});
const egressPort = /^spec\.parentRefs\[0\]\.port: found nothing/;
const backendPort = /^spec\.rules\[0\]\.backendRefs\[0\]\.port: found nothing/;

describe('GRPCRoute', () => {
  const { accepts, refuses, warns } = rulesOf(GATEWAY, 'GRPCRoute', 'v1');
  const ofServer = (rule: object) => route({ backendRefs: [], ...rule }, toServer);
  const matching = (match: object) => ofServer({ matches: [match] });
  const filtering = (...filters: object[]) => ofServer({ filters });
  const method = { type: 'Exact', service: 'io.linkerd.Testing', method: 'Test' };
  const header = { name: 'x-test', value: 'testing.linkerd.io' };
  const headers = { add: [{ name: 'x-a', value: 'v' }], set: [{ name: 'x-b', value: 'v' }], remove: ['x-c'] };
  const requestHeaders = { type: 'RequestHeaderModifier', requestHeaderModifier: headers };
  const responseHeaders = { type: 'ResponseHeaderModifier', responseHeaderModifier: headers };

  accepts('a Service', route());
  accepts('a Server and nothing more', { parentRefs: [toServer] });
  accepts('an EgressNetwork with a port', route({ matches: [{ method }] }, { ...refTo('EgressNetwork'), port: 555 }));
  accepts('a method', matching({ method }));
  accepts('a service', matching({ method: { service: 'io.linkerd.Testing' } }));
  accepts('a header', matching({ headers: [header] }));
  accepts('a header by expression', matching({ headers: [{ ...header, type: 'RegularExpression' }] }));
  accepts('a method and a header', matching({ method, headers: [header] }));
  accepts('headers of requests', filtering(requestHeaders));
  accepts('headers of responses', filtering(responseHeaders));
  accepts('headers of both', filtering(requestHeaders, responseHeaders));
  accepts(
    'a mirror',
    filtering({ type: 'RequestMirror', requestMirror: { backendRef: { ...refTo('Server'), namespace: 'app' } } }),
  );
  accepts('retries', route(), { 'retry.linkerd.io/grpc': 'unavailable,internal' });
  warns(
    'a filter that makes requests fail',
    filtering({ type: 'ExtensionRef', extensionRef: refTo('Server') }),
    /^requests of spec\.rules\[0\] will fail: .*type: found "ExtensionRef"/,
  );

  refuses('an EgressNetwork without a port', route({ matches: [{ method }] }, refTo('EgressNetwork')), egressPort);
  refuses(
    'an expression for a method',
    matching({ method: { ...method, type: 'RegularExpression' } }),
    /^spec\.rules\[0\]\.matches\[0\]\.method\.type: found "RegularExpression", allowed is Exact/,
  );
  refuses('a method of nothing', matching({ method: { type: 'Exact' } }), /matches\[0\]\.method: found/);
  refuses(
    'a header that is no expression',
    matching({ headers: [{ type: 'RegularExpression', name: 'a', value: '(' }] }),
    /headers\[0\]\.value: found "\("/,
  );
  refuses(
    'a filter with a bad header',
    filtering({ type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'x a', value: 'v' }] } }),
    /filters\[0\]\.requestHeaderModifier\.set\[0\]\.name: found "x a"/,
  );
  refuses('a Service without a port', route({ backendRefs: [{ name: 'web' }] }), backendPort);
  for (const [key, value] of [
    ['retry.linkerd.io/grpc', 'often'],
    ['retry.linkerd.io/http', '5xx'],
    ['timeout.linkerd.io/request', 'soon'],
    ['balancer.linkerd.io/failure-accrual', 'sometimes'],
  ] as const) {
    refuses(`${key}: ${value}`, route(), /^metadata\.annotations\[.*\]: found/, { [key]: value });
  }
});

for (const kind of ['TLSRoute', 'TCPRoute']) {
  describe(kind, () => {
    const { accepts, refuses } = rulesOf(GATEWAY, kind, 'v1alpha2');
    const rules = (...all: object[]) => ({ parentRefs: [toService], rules: all });
    const alien = { backendRefs: [{ group: 'policy.example.io', kind: 'EgressNetwork', name: 'all' }] };

    accepts('one rule', route());
    accepts('an EgressNetwork with a port', route(alien, { ...refTo('EgressNetwork'), port: 555 }));
    accepts("another controller's rules", { parentRefs: [{ name: 'gateway' }], rules: [{}, {}] });

    refuses('an EgressNetwork without a port', route(alien, refTo('EgressNetwork')), egressPort);
    refuses('two rules', rules(alien, alien), /^spec\.rules: .*exactly one rule/);
    refuses('no rule', rules(), /^spec\.rules: .*exactly one rule/);
    refuses('a Service without a port', route({ backendRefs: [{ name: 'web' }] }), backendPort);
  });
}
