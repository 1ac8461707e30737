import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG_MAPS } from '@tulle/api';
import type { Fields } from '../store/stored-object.ts';
import { openWatch, startTestServer } from './testing/test-server.ts';

const path = '/api/v1/namespaces/default/configmaps';

function ownedBy({ metadata }: Fields, more: Fields = {}) {
  return [{ apiVersion: 'v1', kind: 'ConfigMap', name: metadata.name, uid: metadata.uid, ...more }];
}

test('what is owned by two goes with the last of them, and takes along what it owns', async (t) => {
  const { admin } = await startTestServer(t);
  const one = await admin.create<Fields>(CONFIG_MAPS, { metadata: { name: 'one' } });
  const two = await admin.create<Fields>(CONFIG_MAPS, { metadata: { name: 'two' } });
  const child = await admin.create<Fields>(CONFIG_MAPS, {
    metadata: { name: 'child', ownerReferences: [...ownedBy(one), ...ownedBy(two)] },
  });
  const watch = await openWatch(admin, path, { resourceVersion: child.metadata.resourceVersion });
  await admin.create(CONFIG_MAPS, { metadata: { name: 'grandchild', ownerReferences: ownedBy(child) } });
  await admin.delete(CONFIG_MAPS, 'one', 'default');
  const [released] = (await watch.until(({ type }) => type === 'MODIFIED')).slice(-1);
  assert.deepEqual(released!.object.metadata.ownerReferences, ownedBy(two));
  await admin.delete(CONFIG_MAPS, 'two', 'default');
  const gone = await watch.until(({ object }) => object.metadata.name === 'grandchild');
  watch.close();
  assert.deepEqual(
    gone.map(({ type, object }) => `${type} ${object.metadata.name}`),
    ['DELETED two', 'DELETED child', 'DELETED grandchild'],
  );
});

test('an owner in the foreground waits only for those that block it', async (t) => {
  const { admin } = await startTestServer(t);
  const owner = await admin.create<Fields>(CONFIG_MAPS, { metadata: { name: 'owner' } });
  const finalizers = ['example.com/hold'];
  await admin.create(CONFIG_MAPS, {
    metadata: { name: 'blocks', finalizers, ownerReferences: ownedBy(owner, { blockOwnerDeletion: true }) },
  });
  await admin.create(CONFIG_MAPS, { metadata: { name: 'not', finalizers, ownerReferences: ownedBy(owner) } });
  const { resourceVersion } = await admin.list(CONFIG_MAPS, { namespace: 'default' });
  const watch = await openWatch(admin, path, { resourceVersion });
  await admin.delete(CONFIG_MAPS, 'owner', 'default', { propagationPolicy: 'Foreground' });
  await watch.until(
    ({ object }) => object.metadata.name === 'blocks' && object.metadata.deletionTimestamp !== undefined,
  );
  assert.deepEqual((await admin.get<Fields>(CONFIG_MAPS, 'owner', 'default')).metadata.finalizers, [
    'foregroundDeletion',
  ]);
  await admin.patch(CONFIG_MAPS, 'blocks', 'default', { metadata: { finalizers: null } }, 'merge');
  await watch.until(({ type, object }) => type === 'DELETED' && object.metadata.name === 'owner');
  watch.close();
});

test('a server that stops while there is work to collect does not go on with it', async (t) => {
  const { admin, server } = await startTestServer(t);
  const owner = await admin.create<Fields>(CONFIG_MAPS, { metadata: { name: 'owner' } });
  for (let i = 0; i < 50; i++)
    await admin.create(CONFIG_MAPS, { metadata: { name: `c${i}`, ownerReferences: ownedBy(owner) } });
  const { store } = server.context;
  store.delete('configmaps', store.get('configmaps', 'default/owner')!);
  await server[Symbol.asyncDispose]();
  const { revision } = store;
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  assert.equal(store.revision, revision);
});
