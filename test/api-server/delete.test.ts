import assert from 'node:assert/strict';
import test from 'node:test';
import { CONFIG_MAPS, type ConfigMap, type KubeObject, type MeshError, NAMESPACES, SECRETS } from '@tulle/api';
import { collectionPath } from '@tulle/client';
import { failure, openApi, take } from '../support/api-server.ts';

const { client, namespace, until, unique } = await openApi();
const create = (name: string, metadata: object = {}) =>
  client.create<ConfigMap>(CONFIG_MAPS, { metadata: { name, ...metadata } }, { namespace });

function ownedBy(owner: KubeObject, changes: object = {}) {
  const { name, uid } = owner.metadata;
  return { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name, uid, ...changes }] };
}

const has = (all: KubeObject[], name: string) => all.some(({ metadata }) => metadata.name === name);

test('an object with finalizers stays until the last is taken away', async () => {
  const made = await create('held', { finalizers: ['example.com/a', 'example.com/b'] });
  const events = take(
    client.watch<ConfigMap>(CONFIG_MAPS, {
      namespace,
      fieldSelector: 'metadata.name=held',
      resourceVersion: made.metadata.resourceVersion ?? '',
    }),
    3,
  );
  await client.delete(CONFIG_MAPS, 'held', namespace);
  const waiting = await client.get<ConfigMap>(CONFIG_MAPS, 'held', namespace);
  assert.ok(waiting.metadata.deletionTimestamp);
  const added = await failure(
    client.patch(
      CONFIG_MAPS,
      'held',
      namespace,
      { metadata: { finalizers: ['example.com/a', 'example.com/b', 'example.com/c'] } },
      'merge',
    ),
  );
  assert.equal(added.code, 422);
  await client.patch(CONFIG_MAPS, 'held', namespace, { metadata: { finalizers: ['example.com/b'] } }, 'merge');
  await client.patch(CONFIG_MAPS, 'held', namespace, { metadata: { finalizers: null } }, 'merge');
  assert.equal((await failure(client.get(CONFIG_MAPS, 'held', namespace))).code, 404);
  assert.deepEqual(
    (await events).map(({ type }) => type),
    ['MODIFIED', 'MODIFIED', 'DELETED'],
  );
});

test('preconditions must hold', async () => {
  const { metadata } = await create('precondition');
  const uid = '00000000-0000-0000-0000-000000000000';
  await assert.rejects(client.delete(CONFIG_MAPS, 'precondition', namespace, { preconditions: { uid } }), {
    code: 'ABORTED',
  });
  await client.patch(CONFIG_MAPS, 'precondition', namespace, { data: { a: '1' } }, 'merge');
  const { resourceVersion } = metadata;
  await assert.rejects(client.delete(CONFIG_MAPS, 'precondition', namespace, { preconditions: { resourceVersion } }), {
    code: 'ABORTED',
  });
  await client.delete(CONFIG_MAPS, 'precondition', namespace, { preconditions: { uid: metadata.uid ?? '' } });
  await assert.rejects(
    client.delete(CONFIG_MAPS, 'precondition', namespace),
    (error: MeshError) => error.code === 'NOT_FOUND',
  );
});

test('what is owned goes after its owner, and what has another owner stays', async () => {
  const owner = await create('owner');
  const other = await create('other-owner');
  await create('owned', ownedBy(owner));
  await create('owned-twice', {
    ownerReferences: [...ownedBy(owner).ownerReferences, ...ownedBy(other).ownerReferences],
  });
  await client.delete(CONFIG_MAPS, 'owner', namespace, { propagationPolicy: 'Background' });
  await until<ConfigMap>(CONFIG_MAPS, (all) => !has(all, 'owned'));
  const [left] = await until<ConfigMap>(
    CONFIG_MAPS,
    (all) => all.find(({ metadata }) => metadata.name === 'owned-twice')?.metadata.ownerReferences?.length === 1,
  );
  assert.ok(left);
});

test('in the foreground, the owner goes last', async () => {
  const owner = await create('front');
  await create('front-owned', { ...ownedBy(owner, { blockOwnerDeletion: true }), finalizers: ['example.com/hold'] });
  await client.delete(CONFIG_MAPS, 'front', namespace, { propagationPolicy: 'Foreground' });
  const all = await until<ConfigMap>(CONFIG_MAPS, (list) =>
    Boolean(list.find(({ metadata }) => metadata.name === 'front-owned')?.metadata.deletionTimestamp),
  );
  const front = all.find(({ metadata }) => metadata.name === 'front');
  assert.deepEqual(front?.metadata.finalizers, ['foregroundDeletion']);
  await client.patch(CONFIG_MAPS, 'front-owned', namespace, { metadata: { finalizers: null } }, 'merge');
  await until<ConfigMap>(CONFIG_MAPS, (list) => !has(list, 'front') && !has(list, 'front-owned'));
});

test('orphans are let go', async () => {
  const owner = await create('parent');
  await create('orphan', ownedBy(owner));
  await client.delete(CONFIG_MAPS, 'parent', namespace, { propagationPolicy: 'Orphan' });
  const all = await until<ConfigMap>(CONFIG_MAPS, (list) => !has(list, 'parent'));
  const orphan = all.find(({ metadata }) => metadata.name === 'orphan');
  assert.deepEqual(orphan?.metadata.ownerReferences ?? [], []);
});

test('what names an owner that is not there is collected', async () => {
  const ghost = { metadata: { name: 'ghost', uid: '00000000-0000-0000-0000-000000000001' } };
  await create('haunted', ownedBy(ghost));
  await until<ConfigMap>(CONFIG_MAPS, (list) => !has(list, 'haunted'));
});

test('deletes a selection of a collection', async () => {
  for (const name of ['many-1', 'many-2', 'many-3'])
    await create(name, { labels: { many: name === 'many-3' ? 'no' : 'yes' } });
  const path = collectionPath(CONFIG_MAPS, namespace);
  await (await client.request('DELETE', path, { query: { labelSelector: 'many=yes' } })).text();
  const { items } = await client.list<ConfigMap>(CONFIG_MAPS, { namespace, labelSelector: 'many' });
  assert.deepEqual(
    items.map(({ metadata }) => metadata.name),
    ['many-3'],
  );
});

test('a namespace takes nothing new while it goes, and goes with all that it holds', async () => {
  const name = unique('going');
  await client.create(NAMESPACES, { metadata: { name } });
  await client.create(SECRETS, { metadata: { name: 'held', finalizers: ['example.com/hold'] } }, { namespace: name });
  await client.delete(NAMESPACES, name);
  const status = await failure(client.create(CONFIG_MAPS, { metadata: { name: 'late' } }, { namespace: name }));
  assert.deepEqual([status.code, status.reason], [403, 'Forbidden']);
  assert.equal(status.details?.causes?.[0]?.reason, 'NamespaceTerminating');
  await client.patch(SECRETS, 'held', name, { metadata: { finalizers: null } }, 'merge');
  await until(NAMESPACES, (all) => !has(all, name));
});
