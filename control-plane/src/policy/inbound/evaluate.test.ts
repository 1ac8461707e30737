import assert from 'node:assert/strict';
import test from 'node:test';
import {
  AUTHORIZATION_POLICIES,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  HTTP_ROUTES,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  NETWORK_AUTHENTICATIONS,
  SERVER_AUTHORIZATIONS,
} from '@tulle/api';
import { pod } from '../../testing/objects.ts';
import { InboundWorld, policy, server } from '../../testing/policies.ts';
import { evaluateInbound, type InboundAttempt, type InboundClient } from './evaluate.ts';

const WEB = pod('web', {
  labels: { app: 'web' },
  containers: [{ name: 'app', livenessProbe: { httpGet: { path: '/live', port: 8080 } } }],
});
const BOT = 'bot.app.serviceaccount.identity.linkerd.cluster.local';
const OF_SERVER = { group: 'policy.linkerd.io', kind: 'Server', name: 'http' };
const PLAIN: InboundClient = { ip: '10.0.0.9', isTls: false };
const MESHED: InboundClient = { ip: '10.0.0.9', isTls: true, id: BOT };
const get = (path: string, method = 'GET') => ({ method, path, host: 'web.app', headers: {} });

const policyFor = (name: string, targetRef: object, ...required: object[]) =>
  policy(AUTHORIZATION_POLICIES, name, { targetRef, requiredAuthenticationRefs: required });

function decision(
  objects: KubeObject[],
  client: InboundClient,
  attempt: Omit<InboundAttempt, 'client'> = { request: get('/') },
) {
  const found = evaluateInbound(new InboundWorld([WEB, ...objects]).server('web')!, { client, ...attempt });
  const nameOf = (source: typeof found.server | undefined) => (typeof source === 'object' ? source.name : source);
  return [found.verdict, nameOf(found.route?.source), nameOf(found.authorization)].join(' ').trim();
}

test('decides by the default where no Server does', () => {
  assert.equal(decision([], PLAIN), 'allow default all-unauthenticated');
  assert.equal(decision([], PLAIN, {}), 'allow  all-unauthenticated');
});

test('denies at a Server whom nothing allows, but for probes and the pod itself', () => {
  assert.equal(decision([server('http')], MESHED), 'deny default');
  assert.equal(decision([server('http')], MESHED, { request: get('/live') }), 'allow probe probe');
  assert.equal(decision([server('http')], MESHED, { request: get('/live', 'POST') }), 'deny default');
  assert.equal(decision([server('http')], { ip: '127.0.0.1', isTls: false }), 'allow default localhost');
  assert.equal(decision([server('http')], { ip: '::1', isTls: false }, {}), 'allow  localhost');
  assert.equal(decision([server('http', { proxyProtocol: 'opaque' })], PLAIN, { request: get('/live') }), 'deny');
});

test('asks address and identity together, and any of several authorizations', () => {
  const group = 'policy.linkerd.io';
  const network = policy(NETWORK_AUTHENTICATIONS, 'ten', {
    networks: [{ cidr: '10.0.0.0/8', except: ['10.9.0.0/16'] }],
  });
  const mesh = policy(MESH_TLS_AUTHENTICATIONS, 'bots', { identityRefs: [{ kind: 'ServiceAccount', name: 'bot' }] });
  const both = policyFor(
    'both',
    OF_SERVER,
    { group, kind: 'NetworkAuthentication', name: 'ten' },
    { group, kind: 'MeshTLSAuthentication', name: 'bots' },
  );
  const objects = [server('http'), network, mesh, both];
  assert.equal(decision(objects, MESHED), 'allow default both');
  assert.equal(decision(objects, PLAIN), 'deny default');
  assert.equal(decision(objects, { ...MESHED, ip: '10.9.1.1' }), 'deny default');
  assert.equal(decision(objects, { ...MESHED, ip: '192.0.2.1' }), 'deny default');
  assert.equal(decision(objects, { ...MESHED, ip: 'nonsense' }), 'deny default');
  assert.equal(decision(objects, { ...MESHED, id: 'web' }), 'deny default');
  const spiffe = { ...MESHED, id: 'spiffe://td/bot' };
  const all = policy(MESH_TLS_AUTHENTICATIONS, 'all', { identities: ['*'] });
  const any = policyFor('any', OF_SERVER, { group, kind: 'MeshTLSAuthentication', name: 'all' });
  assert.equal(decision([...objects, all, any], { ...MESHED, id: 'web' }), 'allow default any');
  assert.equal(decision([...objects, all, any], spiffe), 'deny default');
  assert.equal(decision([...objects, all, any], { ip: '10.0.0.9', isTls: true }), 'deny default');
  const tls = policy(SERVER_AUTHORIZATIONS, 'tls', {
    server: { name: 'http' },
    client: { meshTLS: { unauthenticatedTLS: true } },
  });
  assert.equal(decision([...objects, tls], { ip: '10.0.0.9', isTls: true }), 'allow default tls');
});

test('joins the authorizations of route, Server and namespace, and finds no route where none matches', () => {
  const route = (name: string, value: string) =>
    policy(HTTP_ROUTES, name, { parentRefs: [OF_SERVER], rules: [{ matches: [{ path: { value } }] }] });
  const ofRoute = policyFor('route', { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'a' });
  const objects = [server('http'), route('a', '/a'), route('b', '/b'), ofRoute];
  assert.equal(decision(objects, PLAIN, { request: get('/a/x') }), 'allow a route');
  assert.equal(decision(objects, PLAIN, { request: get('/b') }), 'deny b');
  assert.equal(decision(objects, PLAIN, { request: get('/live') }), 'not-found');
  const ofNamespace = policyFor('namespace', { kind: 'Namespace', name: 'app' });
  assert.equal(decision([...objects, ofNamespace], PLAIN, { request: get('/b') }), 'allow b namespace');
  const known = { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'a' };
  assert.equal(decision(objects, PLAIN, { route: known }), 'allow a route');
  assert.equal(decision(objects, PLAIN, { route: { ...known, name: 'gone' } }), 'not-found');
  const bad = policy(HTTP_ROUTES, 'bad', { parentRefs: [OF_SERVER], rules: [{ filters: [{ type: 'Other' }] }] });
  assert.equal(decision([server('http', { accessPolicy: 'audit' }), bad], PLAIN), 'failed bad audit');
});

test('holds rates against the limits of all clients, of one, and of one that is named', () => {
  const limit = (requestsPerSecond: number) => ({ requestsPerSecond });
  const limits = policy(HTTP_LOCAL_RATE_LIMIT_POLICIES, 'limits', {
    targetRef: OF_SERVER,
    total: limit(100),
    identity: limit(10),
    overrides: [{ ...limit(20), clientRefs: [{ kind: 'ServiceAccount', name: 'bot' }] }],
  });
  const objects = [server('http', { accessPolicy: 'all-unauthenticated' }), limits];
  const verdict = (client: InboundClient, total: number, own: number) =>
    decision(objects, client, { request: get('/'), rates: { total, client: own } }).split(' ')[0];
  assert.equal(verdict(PLAIN, 100, 10), 'allow');
  assert.equal(verdict(PLAIN, 101, 10), 'limited');
  assert.equal(verdict(PLAIN, 100, 11), 'limited');
  assert.equal(verdict(MESHED, 100, 20), 'allow');
  assert.equal(verdict(MESHED, 100, 21), 'limited');
});

test('says why each authorization that was asked does not fit', () => {
  const web = policy(SERVER_AUTHORIZATIONS, 'web', {
    server: { name: 'http' },
    client: { meshTLS: null, serviceAccounts: [{ name: 'web' }] },
  });
  const found = (client: InboundClient) =>
    evaluateInbound(new InboundWorld([WEB, server('http'), web]).server('web')!, { client, request: get('/') })
      .passedOver;
  assert.deepEqual(
    found(MESHED).map(({ reason }) => reason),
    [`${BOT} is none of its identities`],
  );
  assert.deepEqual(
    found(PLAIN).map(({ reason }) => reason),
    ['the client is not meshed'],
  );
  assert.deepEqual(
    found({ ...MESHED, ip: '192.0.2.1' }).map(({ reason }) => reason),
    ['192.0.2.1 is in none of its networks'],
  );
});
