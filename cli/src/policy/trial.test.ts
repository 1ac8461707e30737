import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Kind, type KubeObject, MeshError, SERVER_AUTHORIZATIONS, SERVERS } from '@tulle/api';
import { parseConfig } from '@tulle/control-plane/config.ts';
import { ClusterState } from '@tulle/control-plane/workloads/cluster-state.ts';
import { type Document, parseAllDocuments } from 'yaml';
import { viewOf } from './cluster-view.ts';
import type { SeenCaller } from './seen-traffic.ts';
import { compareWithCluster, readPolicies } from './test.ts';
import { tryPolicies } from './trial.ts';
import { trialTable } from './trial-table.ts';

const ID = 'serviceaccount.identity.linkerd.cluster.local';

function view(...stored: [Kind, KubeObject][]) {
  const state = new ClusterState();
  const made = viewOf(state, parseConfig([], {}));
  const pod = (name: string, ip: string): KubeObject => ({
    metadata: { name, namespace: 'shop', labels: { app: name } },
    spec: { serviceAccountName: name, containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 8080 }] }] },
    status: { podIPs: [{ ip }] },
  });
  state.apply('Namespace', 'set', { metadata: { name: 'shop' } });
  for (const [name, ip] of [
    ['web', '10.1.0.1'],
    ['bot', '10.1.0.2'],
  ] as const)
    state.apply('Pod', 'set', pod(name, ip));
  for (const [kind, object] of stored) made.inbound.policies.apply(kind, 'set', object);
  return made;
}

const documents = (text: string) => parseAllDocuments(text) as Document[];
const policies = (text: string) => readPolicies(documents(text), 'shop');
const SERVER = `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: web-http }
spec: { podSelector: { matchLabels: { app: web } }, port: http }
`;
const authorization = (client: string) => `---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: { name: callers }
spec: { server: { name: web-http }, client: ${client} }
`;
const caller = (name: string | undefined, more: Partial<SeenCaller> = {}): SeenCaller => ({
  namespace: 'shop',
  pod: 'web',
  port: 8080,
  unit: 'requests',
  ...(name ? { clientId: `${name}.shop.${ID}` } : {}),
  isTls: name !== undefined,
  allowed: 5,
  denied: 0,
  ...more,
});
const outcome = (rows: ReturnType<typeof tryPolicies>) => rows.map(({ change, by }) => `${change} by ${by}`);

test('a Server that nobody is authorized for refuses those who passed', () => {
  assert.deepEqual(outcome(tryPolicies(view(), [caller('bot'), caller(undefined)], policies(SERVER))), [
    'refused by Server web-http',
    'refused by Server web-http',
  ]);
});

test('those who are authorized pass, by identity and by the network of their pods', () => {
  const rows = (client: string) =>
    outcome(
      tryPolicies(view(), [caller('bot'), caller('mob'), caller(undefined)], policies(SERVER + authorization(client))),
    );
  assert.deepEqual(rows('{ meshTLS: { serviceAccounts: [{ name: bot }] } }'), [
    'none by ServerAuthorization callers',
    'refused by Server web-http',
    'refused by Server web-http',
  ]);
  assert.equal(
    rows('{ unauthenticated: true, networks: [{ cidr: 10.1.0.2/32 }] }')[0],
    'none by ServerAuthorization callers',
  );
  assert.equal(rows('{ unauthenticated: true, networks: [{ cidr: 10.9.0.0/16 }] }')[0], 'refused by Server web-http');
});

test('who has no identity has no address that is known either: it depends', () => {
  const network = authorization('{ unauthenticated: true, networks: [{ cidr: 10.1.0.2/32 }] }');
  assert.deepEqual(outcome(tryPolicies(view(), [caller(undefined)], policies(SERVER + network))), [
    'depends by Server web-http',
  ]);
});

test('those who were refused may pass, and what passes stays', () => {
  const [server] = policies(SERVER);
  const closed = view([SERVERS, server!]);
  const denied = { allowed: 0, denied: 3 };
  const rows = tryPolicies(
    closed,
    [caller('bot', denied), caller('mob', denied)],
    policies(authorization('{ meshTLS: { serviceAccounts: [{ name: bot }] } }')),
  );
  assert.deepEqual(outcome(rows), ['allowed by ServerAuthorization callers', 'none by Server web-http']);
});

test('what is taken away is tried too, whether it lets in or closes', () => {
  const both = policies(SERVER + authorization('{ meshTLS: { serviceAccounts: [{ name: bot }] } }'));
  const closed = () => view([SERVERS, both[0]!], [SERVER_AUTHORIZATIONS, both[1]!]);
  const without = (text: string) =>
    tryPolicies(closed(), [caller('bot')], readPolicies(documents(text), 'shop', 'delete'), 'delete');
  assert.deepEqual(outcome(without(authorization('{}'))), ['refused by Server web-http']);
  assert.deepEqual(outcome(without(SERVER.replace('port: http', 'port: 0'))), ['none by default all-unauthenticated']);
});

test('requests that metrics do not tell apart depend on their route', () => {
  const routes = `${SERVER}---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: { name: api }
spec:
  parentRefs: [{ group: policy.linkerd.io, kind: Server, name: web-http }]
  rules: [{ matches: [{ path: { value: /api } }] }]
---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: { name: other }
spec:
  parentRefs: [{ group: policy.linkerd.io, kind: Server, name: web-http }]
  rules: [{ matches: [{ path: { value: /other } }] }]
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: { name: api }
spec: { targetRef: { group: policy.linkerd.io, kind: HTTPRoute, name: api }, requiredAuthenticationRefs: [] }
`;
  const known = { group: 'policy.linkerd.io', kind: 'HTTPRoute', name: 'api' };
  const rows = tryPolicies(view(), [caller('bot'), caller('bot', { route: known })], policies(routes));
  assert.deepEqual(
    rows.map(({ change }) => change),
    ['depends', 'none'],
  );
});

test('says what the API server would refuse, and that a file has nothing to try', () => {
  assert.throws(() => policies(SERVER.replace('port: http', 'port: 0')), /Server shop\/web-http: spec\.port: found 0/);
  assert.throws(() => policies('kind: Server\napiVersion: policy.linkerd.io/v1beta3\n'), /Server: found no name/);
  const map = policies('kind: ConfigMap\napiVersion: v1\nmetadata: { name: a }\n');
  assert.throws(() => tryPolicies(view(), [], map), /want resources of kind Server/);
});

test('what is changed keeps its age, and what is not there is said', async () => {
  const creationTimestamp = '2026-01-01T00:00:00Z';
  const get = async (_kind: Kind, name: string) => {
    if (name === 'web-http') return { metadata: { name, creationTimestamp } };
    throw new MeshError('NOT_FOUND', 'not found');
  };
  const map = 'kind: ConfigMap\napiVersion: v1\nmetadata: { name: map }\n';
  const copied = SERVER.replace('web-http }', "new, creationTimestamp: '2020-01-01T00:00:00Z' }");
  const { aged, notes } = await compareWithCluster(
    { get } as never,
    policies(`${SERVER}---${copied}---\n${map}`),
    'delete',
  );
  assert.deepEqual(
    aged.map(({ metadata }) => metadata.creationTimestamp),
    [creationTimestamp, undefined, undefined],
  );
  assert.deepEqual(notes, [
    'there is no namespace shop',
    'not tried: ConfigMap shop/map decides on no caller',
    'Server shop/new is not in the cluster',
  ]);
});

test('says what admission would warn of', async () => {
  const get = async () => ({ metadata: {} });
  const { notes } = await compareWithCluster({ get } as never, policies(authorization('{ meshTLS: null }')), 'set');
  assert.match(notes.join(), /^ServerAuthorization shop\/callers: this ServerAuthorization authorizes nobody/);
});

test('the table puts what would be refused first, and fits a narrow terminal', () => {
  const text = SERVER + authorization('{ meshTLS: { serviceAccounts: [{ name: bot }] } }');
  const rows = tryPolicies(
    view(),
    [caller('bot'), caller('mob'), caller(undefined, { unit: 'connections' })],
    policies(text),
  );
  assert.equal(
    trialTable(rows.map((row) => ({ ...row, workload: 'deployment/web' }))),
    `shop deployment/web, port 8080
  × refused   sa/mob                   5 requests
    Server web-http: no authorization fits the client
  × refused   without an identity   5 connections
    Server web-http: no authorization fits the client (or the kubelet's TCP probes, which still connect)
  √ passes    sa/bot                   5 requests
    ServerAuthorization callers

2 of 3 callers that pass now would be refused.
Who has been silent for ten minutes is not known.
`,
  );
});
