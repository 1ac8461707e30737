import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import { CUSTOM_RESOURCE_DEFINITIONS, type CustomResourceDefinition, type Kind, type KubeObject } from '@tulle/api';
import { collectionPath } from '@tulle/client';
import { failure, openApi } from '../support/api-server.ts';

const { client, namespace, until, unique } = await openApi();
const group = `${unique('suite')}.example.com`;
const definition = `widgets.${group}`;
const WIDGETS: Kind = { apiVersion: `${group}/v1`, kind: 'Widget', plural: 'widgets', namespaced: true };
after(() => client.delete(CUSTOM_RESOURCE_DEFINITIONS, definition).catch(() => {}));

const schema = {
  type: 'object',
  required: ['spec'],
  properties: {
    spec: {
      type: 'object',
      required: ['size'],
      properties: {
        size: { type: 'integer', minimum: 1, maximum: 10 },
        color: { type: 'string', enum: ['red', 'blue'], default: 'red' },
        name: { type: 'string', pattern: '^[a-z]+$' },
        replicas: { type: 'integer' },
        free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        port: { 'x-kubernetes-int-or-string': true },
        routes: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['path'],
          items: {
            type: 'object',
            required: ['path'],
            properties: { path: { type: 'string' }, to: { type: 'string' } },
          },
        },
      },
    },
    status: { type: 'object', properties: { phase: { type: 'string' }, replicas: { type: 'integer' } } },
  },
};

function crd() {
  const version = {
    name: 'v1',
    served: true,
    storage: true,
    schema: { openAPIV3Schema: schema },
    subresources: {
      status: {},
      scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' },
    },
    additionalPrinterColumns: [
      { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
      { name: 'Phase', type: 'string', jsonPath: '.status.phase' },
    ],
  };
  const names = { plural: 'widgets', singular: 'widget', kind: 'Widget', shortNames: ['wg'] };
  return {
    metadata: { name: definition },
    spec: { group, scope: 'Namespaced', names, versions: [version, { ...version, name: 'v1beta1', storage: false }] },
  };
}

const create = (name: string, spec: object) =>
  client.create<KubeObject>(WIDGETS, { metadata: { name }, spec }, { namespace });

/** Established is said before the first request is served: a real server needs a moment more. */
async function untilServed(): Promise<void> {
  await until<CustomResourceDefinition>(CUSTOM_RESOURCE_DEFINITIONS, (all) =>
    Boolean(
      all
        .find(({ metadata }) => metadata.name === definition)
        ?.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True'),
    ),
  );
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      await client.list(WIDGETS, { namespace });
      await client.kindFor(WIDGETS.apiVersion, 'Widget');
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

test('a kind is served when its definition is established', async () => {
  await client.create(CUSTOM_RESOURCE_DEFINITIONS, crd());
  await untilServed();
  const made = await client.get<CustomResourceDefinition>(CUSTOM_RESOURCE_DEFINITIONS, definition);
  assert.deepEqual(made.status?.acceptedNames, {
    plural: 'widgets',
    singular: 'widget',
    kind: 'Widget',
    listKind: 'WidgetList',
    shortNames: ['wg'],
  });
  assert.deepEqual(made.status?.storedVersions, ['v1']);
  const found = await client.kindFor(WIDGETS.apiVersion, 'Widget');
  assert.deepEqual([found.plural, found.namespaced], ['widgets', true]);
  assert.ok(found.verbs.includes('watch'));
});

test('objects are defaulted, pruned and checked by the schema', async () => {
  const made = await create('good', { size: 3, unknown: true, free: { any: ['thing'] }, port: 'http' });
  assert.deepEqual(made.spec, { size: 3, color: 'red', free: { any: ['thing'] }, port: 'http' });
  assert.equal(made.metadata.generation, 1);
  const status = await failure(create('bad', { size: 11, color: 'green', name: 'X', port: true }));
  assert.deepEqual([status.code, status.reason], [422, 'Invalid']);
  const fields = status.details?.causes?.map(({ field }) => field).sort();
  assert.deepEqual(fields, ['spec.color', 'spec.name', 'spec.port', 'spec.size']);
  const [missing] = (await failure(create('missing', {}))).details?.causes ?? [];
  assert.deepEqual([missing?.reason, missing?.field], ['FieldValueRequired', 'spec.size']);
  const query = { fieldValidation: 'Strict' };
  const body = {
    apiVersion: WIDGETS.apiVersion,
    kind: 'Widget',
    metadata: { name: 'strict' },
    spec: { size: 1, sise: 2 },
  };
  const strict = await failure(client.request('POST', collectionPath(WIDGETS, namespace), { query, body }));
  assert.match(strict.message ?? '', /unknown field "spec.sise"/);
});

test('the status is written apart, and the scale maps to the paths', async () => {
  await create('status', { size: 1, replicas: 2 });
  const both = { spec: { size: 9 }, status: { phase: 'Ready', replicas: 2 } };
  const written = await client.patch<KubeObject>(WIDGETS, 'status', namespace, both, 'merge', {
    subresource: 'status',
  });
  assert.deepEqual([written.spec.size, written.status.phase, written.metadata.generation], [1, 'Ready', 1]);
  const changed = await client.patch<KubeObject>(
    WIDGETS,
    'status',
    namespace,
    { spec: { size: 2 }, status: { phase: 'Lost' } },
    'merge',
  );
  assert.deepEqual([changed.spec.size, changed.status.phase, changed.metadata.generation], [2, 'Ready', 2]);
  const scaled = await client.patch<KubeObject>(WIDGETS, 'status', namespace, { spec: { replicas: 5 } }, 'merge', {
    subresource: 'scale',
  });
  assert.deepEqual([scaled.kind, scaled.spec.replicas, scaled.status.replicas], ['Scale', 5, 2]);
});

test('every version shows the same objects', async () => {
  await create('versions', { size: 4 });
  const beta = { ...WIDGETS, apiVersion: `${group}/v1beta1` };
  const other = await client.get<KubeObject>(beta, 'versions', namespace);
  assert.deepEqual([other.apiVersion, other.spec.size], [beta.apiVersion, 4]);
});

test('applies with the merge of lists that the schema says', async () => {
  const object = (routes: object[]) => ({
    apiVersion: WIDGETS.apiVersion,
    kind: 'Widget',
    metadata: { name: 'applied', namespace },
    spec: { size: 1, routes },
  });
  await client.apply(object([{ path: '/a', to: 'x' }]), { fieldManager: 'one' });
  const both = await client.apply<KubeObject>(object([{ path: '/b', to: 'y' }]), { fieldManager: 'two' });
  assert.deepEqual(both.spec.routes, [
    { path: '/a', to: 'x' },
    { path: '/b', to: 'y' },
  ]);
  const strategic = await failure(client.patch(WIDGETS, 'applied', namespace, { spec: { size: 2 } }, 'strategic'));
  assert.equal(strategic.code, 415);
});

test('a table has the columns of the definition', async () => {
  await create('table', { size: 7 });
  const headers = { accept: 'application/json;as=Table;g=meta.k8s.io;v=v1' };
  const path = `${collectionPath(WIDGETS, namespace)}/table`;
  const table = await (await client.request('GET', path, { headers })).json<{
    kind: string;
    columnDefinitions: Array<{ name: string }>;
    rows: Array<{ cells: unknown[] }>;
  }>();
  assert.equal(table.kind, 'Table');
  assert.deepEqual(
    table.columnDefinitions.map(({ name }) => name),
    ['Name', 'Size', 'Phase'],
  );
  assert.deepEqual(table.rows[0]?.cells.slice(0, 2), ['table', 7]);
});

test('a definition whose schema is not structural is refused', async () => {
  const bad = crd();
  bad.metadata.name = `gadgets.${group}`;
  bad.spec.names = { plural: 'gadgets', singular: 'gadget', kind: 'Gadget', shortNames: [] };
  bad.spec.versions = bad.spec.versions
    .slice(0, 1)
    .map((version) => ({ ...version, schema: { openAPIV3Schema: { properties: {} } as never } }));
  assert.equal((await failure(client.create(CUSTOM_RESOURCE_DEFINITIONS, bad))).code, 422);
  const misnamed = { ...crd(), metadata: { name: `others.${group}` } };
  assert.equal((await failure(client.create(CUSTOM_RESOURCE_DEFINITIONS, misnamed))).code, 422);
});

test('the objects go with their definition', async () => {
  await create('last', { size: 1 });
  const { resourceVersion } = await client.list(WIDGETS, { namespace });
  const query = { watch: 'true', fieldSelector: 'metadata.name=last', resourceVersion, timeoutSeconds: '20' };
  const watch = await client.request('GET', collectionPath(WIDGETS, namespace), { query, streaming: true });
  await client.delete(CUSTOM_RESOURCE_DEFINITIONS, definition);
  let seen = '';
  for await (const chunk of watch.body) {
    seen += Buffer.from(chunk).toString();
    if (seen.includes('"DELETED"')) break;
  }
  assert.match(seen, /"DELETED"/);
  await until<CustomResourceDefinition>(
    CUSTOM_RESOURCE_DEFINITIONS,
    (all) => !all.some(({ metadata }) => metadata.name === definition),
  );
});
