import assert from 'node:assert/strict';
import test from 'node:test';
import { CONFIG_MAPS, type ConfigMap, DEPLOYMENTS, type Deployment, type Service } from '@tulle/api';
import { failure, openApi } from '../support/api-server.ts';

const { client, namespace } = await openApi();

function configMap(name: string, data: Record<string, string>) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data };
}

function service(name: string, ports: object[]) {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec: { selector: { app: 'x' }, ports } };
}

const managers = (object: ConfigMap) =>
  object.metadata.managedFields?.map(({ manager, operation }) => `${manager} ${operation}`).sort();

test('applying creates, and applying again changes and removes what the manager no longer says', async () => {
  const first = await client.apply<ConfigMap>(configMap('own', { a: '1', b: '2' }), { fieldManager: 'one' });
  assert.deepEqual(managers(first), ['one Apply']);
  assert.deepEqual(first.metadata.managedFields?.[0]?.fieldsV1, { 'f:data': { 'f:a': {}, 'f:b': {} } });
  const second = await client.apply<ConfigMap>(configMap('own', { a: '3' }), { fieldManager: 'one' });
  assert.deepEqual(second.data, { a: '3' });
  assert.equal(second.metadata.uid, first.metadata.uid);
  const same = await client.apply<ConfigMap>(configMap('own', { a: '3' }), { fieldManager: 'one' });
  assert.equal(same.metadata.resourceVersion, second.metadata.resourceVersion);
});

test('a field of another manager is a conflict, that names it, until forced', async () => {
  await client.apply(configMap('conflict', { a: '1', b: '1' }), { fieldManager: 'one' });
  const status = await failure(client.apply(configMap('conflict', { a: '2' }), { fieldManager: 'two' }));
  assert.deepEqual([status.code, status.reason], [409, 'Conflict']);
  assert.deepEqual(
    status.details?.causes?.map(({ reason, field }) => [reason, field]),
    [['FieldManagerConflict', '.data.a']],
  );
  assert.match(status.details?.causes?.[0]?.message ?? '', /conflict with "one"/);
  const forced = await client.apply<ConfigMap>(configMap('conflict', { a: '2' }), { fieldManager: 'two', force: true });
  assert.deepEqual(forced.data, { a: '2', b: '1' });
  // The first no longer owns it: leaving it out takes nothing away.
  const left = await client.apply<ConfigMap>(configMap('conflict', { b: '1' }), { fieldManager: 'one' });
  assert.deepEqual(left.data, { a: '2', b: '1' });
});

test('managers that say the same share the field', async () => {
  await client.apply(configMap('shared', { a: '1' }), { fieldManager: 'one' });
  await client.apply(configMap('shared', { a: '1', b: '2' }), { fieldManager: 'two' });
  const without = await client.apply<ConfigMap>(configMap('shared', {}), { fieldManager: 'one' });
  assert.deepEqual(without.data, { a: '1', b: '2' });
  const gone = await client.apply<ConfigMap>(configMap('shared', { b: '2' }), { fieldManager: 'two' });
  assert.deepEqual(gone.data, { b: '2' });
});

test('an update takes over the fields that it changes', async () => {
  const made = await client.apply<ConfigMap>(configMap('updated', { a: '1', b: '1' }), { fieldManager: 'one' });
  const changed = await client.update<ConfigMap>(CONFIG_MAPS, { ...made, data: { a: '2', b: '1' } });
  assert.equal(managers(changed)?.length, 2);
  const status = await failure(client.apply(configMap('updated', { a: '1', b: '1' }), { fieldManager: 'one' }));
  assert.deepEqual(
    status.details?.causes?.map(({ field }) => field),
    ['.data.a'],
  );
});

test('lists with keys are merged element by element', async () => {
  await client.apply(service('ports', [{ name: 'http', port: 80 }]), { fieldManager: 'one' });
  const both = await client.apply<Service>(service('ports', [{ name: 'admin', port: 4191 }]), { fieldManager: 'two' });
  assert.deepEqual(
    both.spec?.ports?.map(({ name }) => name),
    ['http', 'admin'],
  );
  const one = await client.apply<Service>(service('ports', [{ name: 'web', port: 8080 }]), { fieldManager: 'one' });
  assert.deepEqual(one.spec?.ports?.map(({ name }) => name).sort(), ['admin', 'web']);
});

test('defaults of what was applied belong to nobody', async () => {
  const labels = { app: 'defaults' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } };
  const spec = { replicas: 0, paused: true, selector: { matchLabels: labels }, template };
  const object = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'defaults', namespace }, spec };
  const made = await client.apply<Deployment>(object, { fieldManager: 'one' });
  assert.equal(made.spec?.revisionHistoryLimit, 10);
  const owned = made.metadata.managedFields?.find(({ manager }) => manager === 'one')?.fieldsV1 as { 'f:spec': object };
  assert.deepEqual(Object.keys(owned['f:spec']).sort(), ['f:paused', 'f:replicas', 'f:selector', 'f:template']);
  const other = { ...object, spec: { ...spec, replicas: 0, revisionHistoryLimit: 3 } };
  const changed = await client.apply<Deployment>(other, { fieldManager: 'two' });
  assert.equal(changed.spec?.revisionHistoryLimit, 3);
});

test('the status has owners of its own', async () => {
  const labels = { app: 'status' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } };
  const spec = { replicas: 0, paused: true, selector: { matchLabels: labels }, template };
  const base = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'status', namespace } };
  await client.apply({ ...base, spec }, { fieldManager: 'one' });
  const applied = await client.patch<Deployment>(
    DEPLOYMENTS,
    'status',
    namespace,
    { ...base, status: { collisionCount: 4 } },
    'apply',
    {
      subresource: 'status',
      fieldManager: 'two',
    },
  );
  assert.equal(applied.status?.collisionCount, 4);
  const entry = applied.metadata.managedFields?.find(({ manager }) => manager === 'two');
  assert.equal((entry as { subresource?: string }).subresource, 'status');
});

test('an apply without a manager, or with managedFields, is refused', async () => {
  const object = configMap('refused', { a: '1' });
  const unnamed = await failure(client.patch(CONFIG_MAPS, 'refused', namespace, object, 'apply'));
  assert.equal(unnamed.code, 422);
  assert.match(unnamed.message ?? '', /fieldManager.*required/i);
  const managed = {
    ...object,
    metadata: { ...object.metadata, managedFields: [{ manager: 'x', operation: 'Apply' }] },
  };
  assert.equal((await failure(client.apply(managed, { fieldManager: 'one' }))).code, 400);
});
