import assert from 'node:assert/strict';
import test from 'node:test';
import { CONFIG_MAPS, DEPLOYMENTS, PODS } from '@tulle/api';
import { collectionPath, objectPath } from '@tulle/client';
import { openApi } from '../support/api-server.ts';

const { client, namespace } = await openApi();
const read = async <T>(path: string, accept = 'application/json') =>
  (await client.request('GET', path, { headers: { accept } })).json<T>();

test('says what it is and what it serves', async () => {
  const version = await read<{ major: string; gitVersion: string }>('/version');
  assert.equal(version.major, '1');
  assert.match(version.gitVersion, /^v1\.\d+/);
  const kinds = await client.kinds();
  for (const wanted of [PODS, CONFIG_MAPS, DEPLOYMENTS]) {
    const found = kinds.find(({ apiVersion, kind }) => apiVersion === wanted.apiVersion && kind === wanted.kind);
    assert.equal(found?.plural, wanted.plural);
    for (const verb of ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']) {
      assert.ok(found?.verbs.includes(verb), `${wanted.plural} has no ${verb}`);
    }
  }
  const health = await client.request('GET', '/readyz', { headers: { accept: '*/*' } });
  assert.equal(await health.text(), 'ok');
});

test('discovery comes in one document too', async () => {
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  const list = await read<{
    kind: string;
    items: Array<{
      metadata: { name: string };
      versions: Array<{ version: string; resources: Array<{ resource: string }> }>;
    }>;
  }>('/apis', accept);
  assert.equal(list.kind, 'APIGroupDiscoveryList');
  const apps = list.items.find(({ metadata }) => metadata.name === 'apps');
  assert.ok(apps?.versions[0]?.resources.some(({ resource }) => resource === 'deployments'));
});

test('describes its kinds in OpenAPI', async () => {
  const index = await read<{ paths: Record<string, { serverRelativeURL: string }> }>('/openapi/v3');
  const { serverRelativeURL } = index.paths['apis/apps/v1'] ?? { serverRelativeURL: '' };
  interface Schema {
    properties?: Record<string, Schema>;
    allOf?: Schema[];
    $ref?: string;
    'x-kubernetes-group-version-kind'?: Array<{ kind: string }>;
  }
  const { components } = await read<{ components: { schemas: Record<string, Schema> } }>(serverRelativeURL);
  const deployment = Object.values(components.schemas).find((schema) =>
    schema['x-kubernetes-group-version-kind']?.some(({ kind }) => kind === 'Deployment'),
  );
  const resolve = (schema: Schema | undefined): Schema | undefined => {
    const reference = schema?.$ref ?? schema?.allOf?.[0]?.$ref;
    return reference ? components.schemas[reference.split('/').at(-1) ?? ''] : schema;
  };
  const spec = resolve(resolve(deployment)?.properties?.spec);
  assert.ok(spec?.properties?.replicas && spec.properties.template);
});

test('shows objects as tables, and as their metadata alone', async () => {
  const spec = { nodeSelector: { nowhere: 'yes' }, containers: [{ name: 'c', image: 'i' }] };
  await client.create(PODS, { metadata: { name: 'shown', labels: { a: 'b' } }, spec }, { namespace });
  interface Table {
    kind: string;
    columnDefinitions: Array<{ name: string }>;
    rows: Array<{ cells: unknown[]; object: { kind: string; metadata: { name: string } } }>;
  }
  const table = await read<Table>(
    collectionPath(PODS, namespace),
    'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
  );
  assert.equal(table.kind, 'Table');
  assert.deepEqual(
    table.columnDefinitions.slice(0, 5).map(({ name }) => name),
    ['Name', 'Ready', 'Status', 'Restarts', 'Age'],
  );
  assert.deepEqual(table.rows[0]?.cells.slice(0, 3), ['shown', '0/1', 'Pending']);
  assert.deepEqual(
    [table.rows[0]?.object.kind, table.rows[0]?.object.metadata.name],
    ['PartialObjectMetadata', 'shown'],
  );
  const partial = await read<{ kind: string; metadata: { labels: object }; spec?: object }>(
    objectPath(PODS, 'shown', namespace),
    'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
  );
  assert.deepEqual(
    [partial.kind, partial.metadata.labels, partial.spec],
    ['PartialObjectMetadata', { a: 'b' }, undefined],
  );
});
