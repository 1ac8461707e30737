import assert from 'node:assert/strict';
import { request as httpsRequest } from 'node:https';
import { test } from 'node:test';
import {
  CLUSTER_ROLE_BINDINGS,
  CONFIG_MAPS,
  PODS,
  ROLE_BINDINGS,
  ROLES,
  SELF_SUBJECT_REVIEWS,
  SERVICE_ACCOUNTS,
  SUBJECT_ACCESS_REVIEWS,
  TOKEN_REVIEWS,
} from '@tulle/api';
import { failureOf, startTestServer, type TestServer } from '../apiserver/testing/test-server.ts';
import { openPki } from '../authentication/pki.ts';
import type { Fields } from '../store/stored-object.ts';

async function tokenFor({ admin }: TestServer, account: string, spec: Fields = {}): Promise<string> {
  const path = `/api/v1/namespaces/default/serviceaccounts/${account}/token`;
  const answer = await admin.request('POST', path, { body: { spec } });
  return (await answer.json<Fields>()).status.token;
}

async function withAccount(fixture: TestServer, name = 'robot'): Promise<void> {
  await fixture.admin.create(SERVICE_ACCOUNTS, { metadata: { name } });
}

test('a service account may do what its role says, in its namespace, by name where names are given', async (t) => {
  const fixture = await startTestServer(t);
  const { admin } = fixture;
  await withAccount(fixture);
  await admin.create(ROLES, {
    metadata: { name: 'reader' },
    rules: [
      { apiGroups: [''], resources: ['configmaps'], verbs: ['get'], resourceNames: ['mine'] },
      { apiGroups: [''], resources: ['pods', 'pods/log'], verbs: ['*'] },
    ],
  });
  await admin.create(ROLE_BINDINGS, {
    metadata: { name: 'reader' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
    subjects: [{ kind: 'ServiceAccount', name: 'robot', namespace: 'default' }],
  });
  await admin.create(CONFIG_MAPS, { metadata: { name: 'mine' } });
  const robot = fixture.clientWith(await tokenFor(fixture, 'robot'));
  await robot.get(CONFIG_MAPS, 'mine', 'default');
  await robot.list(PODS, { namespace: 'default' });
  const forbidden = await failureOf(robot.get(CONFIG_MAPS, 'other', 'default'));
  assert.equal(forbidden.code, 403);
  assert.equal(
    forbidden.message,
    'configmaps "other" is forbidden: User "system:serviceaccount:default:robot" cannot get resource "configmaps" in API group "" in the namespace "default"',
  );
  assert.equal((await failureOf(robot.list(PODS, { namespace: 'kube-system' }))).code, 403);
  assert.equal((await failureOf(robot.list(PODS))).code, 403);
  assert.equal((await failureOf(robot.list(CONFIG_MAPS, { namespace: 'default' }))).code, 403);
});

test('without credentials only health and version are answered; bad credentials are 401', async (t) => {
  const fixture = await startTestServer(t);
  const nobody = fixture.clientWith(undefined);
  for (const path of ['/healthz', '/livez', '/readyz', '/version']) await nobody.request('GET', path);
  const refused = await failureOf(nobody.request('GET', '/api'));
  assert.deepEqual([refused.code, refused.message], [403, 'forbidden: User "system:anonymous" cannot get path "/api"']);
  assert.equal((await failureOf(fixture.clientWith('a.b.c').request('GET', '/version'))).code, 401);
  const token = await (async () => {
    await withAccount(fixture);
    return tokenFor(fixture, 'robot');
  })();
  const [head, body, signature] = token.split('.') as [string, string, string];
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString());
  const forged = Buffer.from(JSON.stringify({ ...claims, sub: 'system:serviceaccount:kube-system:default' })).toString(
    'base64url',
  );
  const unsigned = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
  for (const bad of [`${head}.${forged}.${signature}`, `${unsigned}.${body}.`]) {
    assert.equal((await failureOf(fixture.clientWith(bad).request('GET', '/version'))).code, 401);
  }
});

test('a client certificate of another authority is no credential', async (t) => {
  const fixture = await startTestServer(t);
  const { certPem, keyPem } = await (await openPki(undefined)).issueClient('evil', ['system:masters']);
  const { caPem } = fixture.server.pki;
  const code = await new Promise((resolve, reject) => {
    const request = httpsRequest(
      `${fixture.url}/api`,
      { ca: caPem, cert: certPem, key: keyPem, agent: false },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    request.on('error', reject);
    request.end();
  });
  assert.equal(code, 401);
});

test('tokens are for their audiences, expire, and end with what they are bound to', async (t) => {
  let nowMs = Date.parse('2030-01-01T00:00:00Z');
  const fixture = await startTestServer(t, { now: () => nowMs });
  const { admin } = fixture;
  await withAccount(fixture, 'default');
  const pod = await admin.create<Fields>(PODS, {
    metadata: { name: 'p' },
    spec: { containers: [{ name: 'c', image: 'x' }] },
  });
  const review = async (token: string, audiences?: string[]) =>
    (await admin.create<Fields>(TOKEN_REVIEWS, { spec: { token, ...(audiences ? { audiences } : {}) } })).status;
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'p', uid: pod.metadata.uid };
  const token = await tokenFor(fixture, 'default', {
    audiences: ['identity.example'],
    expirationSeconds: 600,
    boundObjectRef,
  });
  const good = await review(token, ['identity.example', 'other']);
  assert.deepEqual(
    [good.authenticated, good.audiences, good.user.username],
    [true, ['identity.example'], 'system:serviceaccount:default:default'],
  );
  assert.deepEqual(good.user.extra['authentication.kubernetes.io/pod-name'], ['p']);
  assert.equal((await review(token)).authenticated, undefined);
  assert.match((await review(token, ['other'])).error, /audiences/);
  assert.equal((await failureOf(fixture.clientWith(token).request('GET', '/version'))).code, 401);
  nowMs += 599_000;
  assert.equal((await review(token, ['identity.example'])).authenticated, true);
  nowMs += 2_000;
  assert.match((await review(token, ['identity.example'])).error, /expired/);
  const second = await tokenFor(fixture, 'default', { boundObjectRef });
  assert.equal((await review(second)).authenticated, true);
  await admin.delete(PODS, 'p', 'default');
  assert.match((await review(second)).error, /deleted/);
  const third = await tokenFor(fixture, 'default');
  await admin.delete(SERVICE_ACCOUNTS, 'default', 'default');
  assert.match((await review(third)).error, /deleted/);
});

test('a token request is refused for a short life, another account, or an object that is not there', async (t) => {
  const fixture = await startTestServer(t);
  await withAccount(fixture, 'default');
  await withAccount(fixture);
  await fixture.admin.create(PODS, { metadata: { name: 'p' }, spec: { containers: [{ name: 'c', image: 'x' }] } });
  const codeOf = async (spec: Fields) => (await failureOf(tokenFor(fixture, 'robot', spec))).code;
  assert.equal(await codeOf({ expirationSeconds: 60 }), 422);
  assert.equal(await codeOf({ boundObjectRef: { kind: 'Pod', name: 'p' } }), 403);
  assert.equal(await codeOf({ boundObjectRef: { kind: 'Pod', name: 'none' } }), 404);
  assert.equal(await codeOf({ boundObjectRef: { kind: 'Secret', name: 'none' } }), 404);
});

test('impersonation needs the right to it and then counts in full', async (t) => {
  const fixture = await startTestServer(t);
  await withAccount(fixture);
  const { admin } = fixture;
  const as = (headers: Record<string, string>) =>
    admin.request('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', { body: {}, headers });
  const who = (await (await as({ 'impersonate-user': 'bob', 'impersonate-group': 'devs' })).json<Fields>()).status
    .userInfo;
  assert.deepEqual(who, { username: 'bob', groups: ['devs', 'system:authenticated'] });
  const account = (await (await as({ 'impersonate-user': 'system:serviceaccount:default:robot' })).json<Fields>())
    .status.userInfo;
  assert.deepEqual(account.groups, [
    'system:serviceaccounts',
    'system:serviceaccounts:default',
    'system:authenticated',
  ]);
  const robot = fixture.clientWith(await tokenFor(fixture, 'robot'));
  const refused = await failureOf(robot.request('GET', '/version', { headers: { 'impersonate-user': 'admin' } }));
  assert.equal(refused.code, 403);
  assert.equal(
    (await failureOf(admin.request('GET', '/version', { headers: { 'impersonate-group': 'x' } }))).code,
    400,
  );
});

test('access reviews answer as requests would be', async (t) => {
  const fixture = await startTestServer(t);
  const { admin } = fixture;
  await admin.create(CLUSTER_ROLE_BINDINGS, {
    metadata: { name: 'viewers' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
    subjects: [{ kind: 'Group', name: 'viewers' }],
  });
  const allowed = async (user: string, groups: string[], resourceAttributes: Fields) =>
    (await admin.create<Fields>(SUBJECT_ACCESS_REVIEWS, { spec: { user, groups, resourceAttributes } })).status.allowed;
  assert.equal(await allowed('eve', ['viewers'], { verb: 'list', resource: 'pods' }), true);
  assert.equal(await allowed('eve', ['viewers'], { verb: 'list', resource: 'secrets' }), false);
  assert.equal(await allowed('eve', [], { verb: 'list', resource: 'pods' }), false);
  assert.equal(
    await allowed('eve', ['system:masters'], { verb: 'delete', group: 'apps', resource: 'deployments' }),
    true,
  );
  const { status } = await admin.create<Fields>(SELF_SUBJECT_REVIEWS, {});
  assert.deepEqual(status.userInfo, { username: 'admin', groups: ['system:masters', 'system:authenticated'] });
});
