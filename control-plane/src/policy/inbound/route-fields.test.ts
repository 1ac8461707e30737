/** Each field of a route of a Server, and what it becomes on the wire; no field is left out. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { create, toJson } from '@bufbuild/protobuf';
import { GRPC_ROUTES, type KubeObject, POLICY_HTTP_ROUTES } from '@tulle/api';
import { ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { REFUSED, type Row, testFields } from '../../testing/field-table.ts';
import { pod } from '../../testing/objects.ts';
import { InboundWorld, policy, server } from '../../testing/policies.ts';
import { toServer } from './translator.ts';

type Json = any;

const WEB = pod('web', { labels: { app: 'web' } });
const ON_SERVER = { group: 'policy.linkerd.io', kind: 'Server', name: 'http' };
const NOT_ATTACHED = 'not attached';

function wire(proxyProtocol: string, route: KubeObject): Json {
  const found = new InboundWorld([WEB, server('http', { proxyProtocol }), route]).server('web')!;
  return toJson(ServerSchema, create(ServerSchema, toServer(found)));
}

function toldOf([{ metadata, ...route }]: Json[]): unknown {
  return metadata.resource?.name === 'r' ? route : NOT_ATTACHED;
}

const PARENTS = { parentRefs: [ON_SERVER] };
const bytes = (text: string) => Buffer.from(text).toString('base64');
const HEADERS = { set: [{ name: 'A', value: '1' }], add: [{ name: 'B', value: '2' }], remove: ['C'] };
const WIRE_HEADERS = {
  set: { headers: [{ name: 'a', value: bytes('1') }] },
  add: { headers: [{ name: 'b', value: bytes('2') }] },
  remove: ['c'],
};
const MODIFIER = { type: 'RequestHeaderModifier', requestHeaderModifier: HEADERS };
const RESPONSES = { type: 'ResponseHeaderModifier', responseHeaderModifier: HEADERS };

const toldOfHttpRoute = (spec: object) => {
  const route = policy(POLICY_HTTP_ROUTES, 'r', { ...PARENTS, rules: [{}], ...spec });
  return toldOf(wire('HTTP/1', route).protocol.http1.routes);
};
const PLAIN = { rules: [{ matches: [{ path: { prefix: '/' } }] }] };
const matching = (match: object): object => ({ rules: [{ matches: [match] }] });
const filtering = (...filters: object[]) => ({ rules: [{ filters }] });
const filtered = (...filters: object[]) => ({ rules: [{ ...PLAIN.rules[0], filters }] });
const redirect = (requestRedirect: object) => filtering({ type: 'RequestRedirect', requestRedirect });
const redirected = (fields: object) => filtered({ redirect: { status: 302, ...fields } });
const header = (type: string, name = 'X', value = '1') => matching({ headers: [{ type, name, value }] });
const query = (type: string) => matching({ queryParams: [{ type, name: 'q', value: '1' }] });
const attached = (parent: object) => ({ parentRefs: [{ ...ON_SERVER, ...parent }] });
const HTTP_ROUTE_ROWS: readonly Row[] = [
  [
    'hostnames[]',
    { hostnames: ['a.b', '*.c.d'] },
    { hosts: [{ exact: 'a.b' }, { suffix: { reverseLabels: ['d', 'c'] } }], ...PLAIN },
  ],
  ['parentRefs[].group', attached({ group: 'gateway.networking.k8s.io' }), NOT_ATTACHED],
  ['parentRefs[].kind', attached({ kind: 'Gateway' }), NOT_ATTACHED],
  ['parentRefs[].name', attached({ name: 'other' }), NOT_ATTACHED],
  ['parentRefs[].namespace', attached({ namespace: 'app' }), PLAIN],
  ['parentRefs[].port', attached({ port: 8080 }), NOT_ATTACHED],
  ['parentRefs[].sectionName', attached({ sectionName: 'x' }), NOT_ATTACHED],
  [
    'rules[].matches[].path.type',
    matching({ path: { type: 'Exact', value: '/a' } }),
    matching({ path: { exact: '/a' } }),
  ],
  [
    'rules[].matches[].path.type',
    matching({ path: { type: 'RegularExpression', value: '/a+' } }),
    matching({ path: { regex: '/a+' } }),
  ],
  ['rules[].matches[].path.value', matching({ path: { value: '/a' } }), matching({ path: { prefix: '/a' } })],
  [
    'rules[].matches[].headers[].type',
    header('RegularExpression'),
    matching({ path: { prefix: '/' }, headers: [{ name: 'x', regex: '1' }] }),
  ],
  [
    'rules[].matches[].headers[].name',
    header('Exact', 'Y'),
    matching({ path: { prefix: '/' }, headers: [{ name: 'y', exact: bytes('1') }] }),
  ],
  [
    'rules[].matches[].headers[].value',
    header('Exact', 'x', '2'),
    matching({ path: { prefix: '/' }, headers: [{ name: 'x', exact: bytes('2') }] }),
  ],
  [
    'rules[].matches[].queryParams[].type',
    query('RegularExpression'),
    matching({ path: { prefix: '/' }, queryParams: [{ name: 'q', regex: '1' }] }),
  ],
  [
    'rules[].matches[].queryParams[].name',
    query('Exact'),
    matching({ path: { prefix: '/' }, queryParams: [{ name: 'q', exact: '1' }] }),
  ],
  [
    'rules[].matches[].queryParams[].value',
    query('Exact'),
    matching({ path: { prefix: '/' }, queryParams: [{ name: 'q', exact: '1' }] }),
  ],
  [
    'rules[].matches[].method',
    matching({ method: 'PUT' }),
    matching({ path: { prefix: '/' }, method: { registered: 'PUT' } }),
  ],
  [
    'rules[].filters[].type',
    filtering({ type: 'ExtensionRef', extensionRef: { group: 'x', kind: 'X', name: 'x' } }),
    REFUSED,
  ],
  ...['set[].name', 'set[].value', 'add[].name', 'add[].value', 'remove[]'].map(
    (field): Row => [
      `rules[].filters[].requestHeaderModifier.${field}`,
      filtering(MODIFIER),
      filtered({ requestHeaderModifier: WIRE_HEADERS }),
    ],
  ),
  [
    'rules[].filters[].requestRedirect.scheme',
    redirect({ scheme: 'https' }),
    redirected({ scheme: { registered: 'HTTPS' } }),
  ],
  ['rules[].filters[].requestRedirect.hostname', redirect({ hostname: 'x.y' }), redirected({ host: 'x.y' })],
  [
    'rules[].filters[].requestRedirect.path.type',
    redirect({ path: { type: 'ReplaceFullPath', replaceFullPath: '/x' } }),
    redirected({ path: { full: '/x' } }),
  ],
  [
    'rules[].filters[].requestRedirect.path.replaceFullPath',
    redirect({ path: { type: 'ReplaceFullPath', replaceFullPath: '/y' } }),
    redirected({ path: { full: '/y' } }),
  ],
  [
    'rules[].filters[].requestRedirect.path.replacePrefixMatch',
    redirect({ path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/x' } }),
    redirected({ path: { prefix: '/x' } }),
  ],
  ['rules[].filters[].requestRedirect.port', redirect({ port: 8443 }), redirected({ port: 8443 })],
  ['rules[].filters[].requestRedirect.statusCode', redirect({ statusCode: 301 }), redirected({ status: 301 })],
];

const toldOfGrpcRoute = (spec: object) => {
  const route = policy(GRPC_ROUTES, 'r', { ...PARENTS, rules: [{}], ...spec });
  return toldOf(wire('gRPC', route).protocol.grpc.routes);
};
const ANY_CALL = { rules: [{ matches: [{}] }] };
const call = (method: object) => matching({ method });
const GRPC_ROUTE_ROWS: readonly Row[] = [
  ['hostnames[]', { hostnames: ['a.b'] }, { hosts: [{ exact: 'a.b' }], ...ANY_CALL }],
  ['parentRefs[].group', attached({ group: 'gateway.networking.k8s.io' }), NOT_ATTACHED],
  ['parentRefs[].kind', attached({ kind: 'Gateway' }), NOT_ATTACHED],
  ['parentRefs[].name', attached({ name: 'other' }), NOT_ATTACHED],
  ['parentRefs[].namespace', attached({ namespace: 'app' }), ANY_CALL],
  ['parentRefs[].port', attached({ port: 8080 }), NOT_ATTACHED],
  ['parentRefs[].sectionName', attached({ sectionName: 'x' }), NOT_ATTACHED],
  [
    'rules[].matches[].method.type',
    call({ type: 'Exact', service: 'a.B', method: 'C' }),
    matching({ rpc: { service: 'a.B', method: 'C' } }),
  ],
  ['rules[].matches[].method.type', call({ type: 'RegularExpression', service: 'a.B' }), REFUSED],
  ['rules[].matches[].method.service', call({ service: 'a.B' }), matching({ rpc: { service: 'a.B' } })],
  ['rules[].matches[].method.method', call({ method: 'C' }), matching({ rpc: { method: 'C' } })],
  ['rules[].matches[].headers[].type', header('RegularExpression'), matching({ headers: [{ name: 'x', regex: '1' }] })],
  ['rules[].matches[].headers[].name', header('Exact', 'Y'), matching({ headers: [{ name: 'y', exact: bytes('1') }] })],
  [
    'rules[].matches[].headers[].value',
    header('Exact', 'x', '2'),
    matching({ headers: [{ name: 'x', exact: bytes('2') }] }),
  ],
  ['rules[].filters[].type', filtering({ type: 'RequestRedirect', requestRedirect: {} }), REFUSED],
  ...['set[].name', 'set[].value', 'add[].name', 'add[].value', 'remove[]'].map(
    (field): Row => [
      `rules[].filters[].requestHeaderModifier.${field}`,
      filtering(MODIFIER),
      { rules: [{ matches: [{}], filters: [{ requestHeaderModifier: WIRE_HEADERS }] }] },
    ],
  ),
  ...['set[].name', 'set[].value', 'add[].name', 'add[].value', 'remove[]'].map(
    (field): Row => [`rules[].filters[].responseHeaderModifier.${field}`, filtering(RESPONSES), ANY_CALL],
  ),
  ...['group', 'kind', 'name'].map(
    (field): Row => [
      `rules[].filters[].extensionRef.${field}`,
      filtering({ type: 'ExtensionRef', extensionRef: { group: 'x', kind: 'X', name: 'x' } }),
      REFUSED,
    ],
  ),
];

/** Of routes: what is done to requests that leave, and nothing to those that arrive. */
const OUTBOUND =
  /^(rules\[\]\.(backendRefs|timeouts|sessionPersistence|name|filters\[\]\.requestMirror)\b|useDefaultGateways)/;

testFields('http-route', HTTP_ROUTE_ROWS, toldOfHttpRoute, (field) => OUTBOUND.test(field));
testFields('gateway-grpc-route', GRPC_ROUTE_ROWS, toldOfGrpcRoute, (field) => OUTBOUND.test(field));

test('a route for requests that leave is told to Servers without what is done to those', () => {
  const backendRefs = [{ name: 'web', port: 80, weight: 1, filters: [MODIFIER] }];
  const mirror = { type: 'RequestMirror', requestMirror: { backendRef: { name: 'web', port: 80 } } };
  const leaving = { backendRefs, timeouts: { request: '1s', backendRequest: '1s' } };
  assert.deepEqual(toldOfHttpRoute({ rules: [leaving] }), PLAIN);
  assert.deepEqual(toldOfHttpRoute({ rules: [{ filters: [RESPONSES] }] }), PLAIN);
  const grpc = { name: 'x', backendRefs, filters: [mirror], sessionPersistence: { sessionName: 's', type: 'Cookie' } };
  assert.deepEqual(toldOfGrpcRoute({ rules: [grpc] }), ANY_CALL);
});
