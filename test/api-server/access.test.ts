import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  CONFIG_MAPS,
  type KubeObject,
  PODS,
  ROLE_BINDINGS,
  ROLES,
  SELF_SUBJECT_ACCESS_REVIEWS,
  SELF_SUBJECT_REVIEWS,
  SERVICE_ACCOUNTS,
  SUBJECT_ACCESS_REVIEWS,
  TOKEN_REVIEWS,
} from '@tulle/api';
import { createClient, objectPath } from '@tulle/client';
import { failure, openApi } from '../support/api-server.ts';

const { client, namespace, clientWith } = await openApi();

interface TokenStatus {
  token: string;
  expirationTimestamp: string;
}

async function tokenFor(account: string, spec: object = {}): Promise<TokenStatus> {
  const path = objectPath(SERVICE_ACCOUNTS, account, namespace, 'token');
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec };
  return (await (await client.request('POST', path, { body })).json<{ status: TokenStatus }>()).status;
}

async function review(token: string, audiences?: string[]): Promise<KubeObject['status']> {
  const spec = { token, ...(audiences ? { audiences } : {}) };
  return (await client.create(TOKEN_REVIEWS, { metadata: {}, spec })).status;
}

const createAccount = (name: string) => client.create(SERVICE_ACCOUNTS, { metadata: { name } }, { namespace });

test('a token says who has it, to those it is meant for', async () => {
  await createAccount('audience');
  const { token, expirationTimestamp } = await tokenFor('audience', {
    audiences: ['identity.l5d.io'],
    expirationSeconds: 600,
  });
  const leftS = (Date.parse(expirationTimestamp) - Date.now()) / 1000;
  assert.ok(leftS > 500 && leftS < 700, expirationTimestamp);
  const right = await review(token, ['identity.l5d.io', 'other']);
  assert.equal(right.authenticated, true);
  assert.deepEqual(right.audiences, ['identity.l5d.io']);
  assert.equal(right.user.username, `system:serviceaccount:${namespace}:audience`);
  assert.deepEqual(right.user.groups.sort(), [
    'system:authenticated',
    'system:serviceaccounts',
    `system:serviceaccounts:${namespace}`,
  ]);
  const wrong = await review(token, ['other']);
  assert.notEqual(wrong.authenticated, true);
  assert.ok(wrong.error);
  assert.notEqual((await review(`${token}x`, ['identity.l5d.io'])).authenticated, true);
  assert.notEqual((await review('nonsense')).authenticated, true);
  assert.equal((await failure(review(''))).code, 400);
});

/** A real API server answers from a cache for about ten seconds after it has said yes. */
async function untilRefused(token: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  while ((await review(token)).authenticated === true) {
    assert.ok(Date.now() < deadline, 'the token still holds');
    await delay(200);
  }
}

test('a token ends with its account, and with the pod it is bound to', async () => {
  await createAccount('ends');
  const spec = {
    serviceAccountName: 'ends',
    nodeSelector: { nowhere: 'yes' },
    containers: [{ name: 'c', image: 'i' }],
  };
  const pod = await client.create(PODS, { metadata: { name: 'bound' }, spec }, { namespace });
  const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name: 'bound', uid: pod.metadata.uid };
  const bound = await tokenFor('ends', { boundObjectRef });
  const status = await review(bound.token);
  assert.equal(status.authenticated, true);
  assert.deepEqual(status.user.extra['authentication.kubernetes.io/pod-name'], ['bound']);
  await client.delete(PODS, 'bound', namespace, { gracePeriodSeconds: 0 });
  await untilRefused(bound.token);
  const { token } = await tokenFor('ends');
  await client.delete(SERVICE_ACCOUNTS, 'ends', namespace);
  await untilRefused(token);
  assert.equal((await failure(tokenFor('nobody'))).code, 404);
});

test('a token is the identity of a request, and no right by itself', async () => {
  await createAccount('plain');
  const plain = clientWith((await tokenFor('plain')).token);
  const self = await plain.create(SELF_SUBJECT_REVIEWS, { metadata: {} });
  assert.equal(self.status.userInfo.username, `system:serviceaccount:${namespace}:plain`);
  const status = await failure(plain.list(CONFIG_MAPS, { namespace }));
  assert.deepEqual([status.code, status.reason], [403, 'Forbidden']);
  assert.equal(
    status.message,
    `configmaps is forbidden: User "system:serviceaccount:${namespace}:plain" cannot list resource "configmaps" in API group "" in the namespace "${namespace}"`,
  );
  assert.equal((await failure(clientWith('nonsense').list(CONFIG_MAPS, { namespace }))).code, 401);
  const nobody = (await failure(clientWith().list(CONFIG_MAPS, { namespace }))).code;
  assert.ok(nobody === 401 || nobody === 403);
});

test('a role grants what it names, where it is bound, and no more', async () => {
  await createAccount('granted');
  const rules = [
    { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list'] },
    { apiGroups: [''], resources: ['configmaps'], resourceNames: ['mine'], verbs: ['update', 'patch'] },
    { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
  ];
  await client.create(ROLES, { metadata: { name: 'reader' }, rules }, { namespace });
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' };
  const subjects = [{ kind: 'ServiceAccount', name: 'granted', namespace }];
  await client.create(ROLE_BINDINGS, { metadata: { name: 'reader' }, roleRef, subjects }, { namespace });
  const user = `system:serviceaccount:${namespace}:granted`;
  const may = async (resourceAttributes: object) => {
    const spec = { user, resourceAttributes: { namespace, group: '', ...resourceAttributes } };
    return (await client.create(SUBJECT_ACCESS_REVIEWS, { metadata: {}, spec })).status.allowed as boolean;
  };
  // The authorizer of a real server learns of a binding by watching.
  for (let attempt = 0; attempt < 100 && !(await may({ resource: 'configmaps', verb: 'get' })); attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(await may({ resource: 'configmaps', verb: 'list' }), true);
  assert.equal(await may({ resource: 'configmaps', verb: 'delete' }), false);
  assert.equal(await may({ resource: 'configmaps', verb: 'patch', name: 'mine' }), true);
  assert.equal(await may({ resource: 'configmaps', verb: 'patch', name: 'other' }), false);
  assert.equal(await may({ resource: 'pods', subresource: 'log', verb: 'get' }), true);
  assert.equal(await may({ resource: 'pods', verb: 'get' }), false);
  assert.equal(await may({ resource: 'configmaps', verb: 'get', namespace: 'default' }), false);
  const granted = clientWith((await tokenFor('granted')).token);
  await granted.list(CONFIG_MAPS, { namespace });
  assert.equal((await failure(granted.list(CONFIG_MAPS, { namespace: 'default' }))).code, 403);
  const escalation = { metadata: { name: 'more' }, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] };
  assert.equal((await failure(granted.create(ROLES, escalation, { namespace }))).code, 403);
});

test('an administrator may act as somebody else', async () => {
  const as = createClient({ ...client.config, asUser: 'jane', asGroups: ['dev'] });
  const self = await as.create(SELF_SUBJECT_REVIEWS, { metadata: {} });
  assert.equal(self.status.userInfo.username, 'jane');
  assert.deepEqual(self.status.userInfo.groups.sort(), ['dev', 'system:authenticated']);
  const spec = { resourceAttributes: { namespace, verb: 'list', resource: 'pods' } };
  assert.equal((await as.create(SELF_SUBJECT_ACCESS_REVIEWS, { metadata: {}, spec })).status.allowed, false);
  as.close();
  assert.equal((await client.create(SELF_SUBJECT_ACCESS_REVIEWS, { metadata: {}, spec })).status.allowed, true);
});
