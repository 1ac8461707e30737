import assert from 'node:assert/strict';
import test from 'node:test';
import { CONFIG_MAPS, type ConfigMap, DEPLOYMENTS, type Deployment } from '@tulle/api';
import { objectPath } from '@tulle/client';
import { failure, openApi } from '../support/api-server.ts';

const { client, namespace } = await openApi();
const create = (name: string, data: Record<string, string> = {}) =>
  client.create<ConfigMap>(CONFIG_MAPS, { metadata: { name }, data }, { namespace });

async function createDeployment(name: string): Promise<Deployment> {
  const labels = { app: name };
  const containers = [
    {
      name: 'a',
      image: 'a:1',
      env: [
        { name: 'X', value: '1' },
        { name: 'Y', value: '2' },
      ],
      args: ['one', 'two'],
    },
    { name: 'b', image: 'b:1' },
  ];
  const spec = {
    replicas: 0,
    paused: true,
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers } },
  };
  return client.create<Deployment>(DEPLOYMENTS, { metadata: { name }, spec }, { namespace });
}

const containersOf = (one: Deployment) => one.spec?.template.spec?.containers ?? [];

test('a JSON patch does its operations in order, or nothing', async () => {
  await client.create(
    CONFIG_MAPS,
    { metadata: { name: 'json', annotations: { 'b/c': '2' } }, data: { a: '1' } },
    { namespace },
  );
  const patched = await client.patch<ConfigMap>(
    CONFIG_MAPS,
    'json',
    namespace,
    [
      { op: 'test', path: '/data/a', value: '1' },
      { op: 'move', from: '/data/a', path: '/data/d' },
      { op: 'replace', path: '/metadata/annotations/b~1c', value: '3' },
      { op: 'add', path: '/metadata/labels', value: { x: 'y' } },
    ],
    'json',
  );
  assert.deepEqual(patched.data, { d: '1' });
  assert.equal(patched.metadata.annotations?.['b/c'], '3');
  const failed = await failure(
    client.patch(
      CONFIG_MAPS,
      'json',
      namespace,
      [
        { op: 'remove', path: '/data/d' },
        { op: 'test', path: '/data/d', value: 'x' },
      ],
      'json',
    ),
  );
  assert.equal(failed.code, 422);
  assert.deepEqual((await client.get<ConfigMap>(CONFIG_MAPS, 'json', namespace)).data, { d: '1' });
  assert.equal((await failure(client.patch(CONFIG_MAPS, 'json', namespace, { a: 1 }, 'json'))).code, 400);
});

test('a merge patch replaces lists and removes what is null', async () => {
  await createDeployment('merge');
  const change = {
    metadata: { annotations: { note: 'x' } },
    spec: { template: { spec: { containers: [{ name: 'c', image: 'c:1' }] } } },
  };
  const merged = await client.patch<Deployment>(DEPLOYMENTS, 'merge', namespace, change, 'merge');
  assert.deepEqual(
    containersOf(merged).map(({ name }) => name),
    ['c'],
  );
  const removed = await client.patch<Deployment>(
    DEPLOYMENTS,
    'merge',
    namespace,
    { metadata: { annotations: { note: null } } },
    'merge',
  );
  assert.equal(removed.metadata.annotations?.note, undefined);
});

test('a strategic patch merges lists by their keys', async () => {
  await createDeployment('strategic');
  const patch = (containers: object[]) =>
    client.patch<Deployment>(
      DEPLOYMENTS,
      'strategic',
      namespace,
      { spec: { template: { spec: { containers } } } },
      'strategic',
    );
  const changed = await patch([
    {
      name: 'a',
      image: 'a:2',
      env: [
        { name: 'Y', value: '3' },
        { name: 'Z', value: '4' },
      ],
      args: ['three'],
    },
  ]);
  const [a] = containersOf(changed).filter(({ name }) => name === 'a');
  assert.equal(containersOf(changed).length, 2);
  assert.equal(a?.image, 'a:2');
  assert.deepEqual(a?.args, ['three']);
  assert.deepEqual(Object.fromEntries(a?.env?.map(({ name, value }) => [name, value]) ?? []), {
    X: '1',
    Y: '3',
    Z: '4',
  });
  const fewer = await patch([{ name: 'b', $patch: 'delete' }]);
  assert.deepEqual(
    containersOf(fewer).map(({ name }) => name),
    ['a'],
  );
});

test('a strategic patch of a union keeps the chosen member alone', async () => {
  await createDeployment('union');
  const strategy = { $retainKeys: ['type'], type: 'Recreate' };
  const patched = await client.patch<Deployment>(DEPLOYMENTS, 'union', namespace, { spec: { strategy } }, 'strategic');
  assert.deepEqual(patched.spec?.strategy, { type: 'Recreate' });
});

test('a patch with a version is refused when the object has another', async () => {
  const first = await create('precondition');
  const { resourceVersion } = first.metadata;
  await client.patch(
    CONFIG_MAPS,
    'precondition',
    namespace,
    { metadata: { resourceVersion }, data: { a: '1' } },
    'merge',
  );
  const status = await failure(
    client.patch(CONFIG_MAPS, 'precondition', namespace, { metadata: { resourceVersion }, data: { a: '2' } }, 'merge'),
  );
  assert.deepEqual([status.code, status.reason], [409, 'Conflict']);
});

test('a patch may not change who the object is', async () => {
  await create('identity');
  assert.equal(
    (await failure(client.patch(CONFIG_MAPS, 'identity', namespace, { metadata: { name: 'other' } }, 'merge'))).code,
    400,
  );
  const uid = '00000000-0000-0000-0000-000000000000';
  assert.equal(
    (await failure(client.patch(CONFIG_MAPS, 'identity', namespace, { metadata: { uid } }, 'merge'))).code,
    422,
  );
});

test('what is not there, or not a kind of patch, is answered clearly', async () => {
  assert.equal((await failure(client.patch(CONFIG_MAPS, 'nobody', namespace, {}, 'merge'))).code, 404);
  await create('media');
  const path = objectPath(CONFIG_MAPS, 'media', namespace);
  assert.equal((await failure(client.request('PATCH', path, { body: {}, contentType: 'application/json' }))).code, 415);
});
