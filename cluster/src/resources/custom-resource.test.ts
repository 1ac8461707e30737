import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CUSTOM_RESOURCE_DEFINITIONS, type Kind } from '@tulle/api';
import { failureOf, startTestServer, type TestServer } from '../apiserver/testing/test-server.ts';
import type { Fields } from '../store/stored-object.ts';

const WIDGETS: Kind = { apiVersion: 'example.com/v1', kind: 'Widget', plural: 'widgets', namespaced: true };
const WIDGETS_BETA: Kind = { ...WIDGETS, apiVersion: 'example.com/v1beta1' };

const spec = {
  type: 'object',
  required: ['port'],
  properties: {
    port: { 'x-kubernetes-int-or-string': true },
    mode: { type: 'string', enum: ['fast', 'slow'], default: 'fast' },
    size: { type: 'integer', minimum: 1, maximum: 10 },
    name: { type: 'string', pattern: '^[a-z]+$', maxLength: 5 },
    rules: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['id'],
      items: {
        type: 'object',
        required: ['id'],
        properties: { id: { type: 'string' }, weight: { type: 'integer', default: 1 } },
      },
    },
    open: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    maybe: { type: 'string', nullable: true },
  },
};

const definition = {
  metadata: { name: 'widgets.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'widgets', kind: 'Widget', shortNames: ['wd'] },
    versions: ['v1beta1', 'v1'].map((name) => ({
      name,
      served: true,
      storage: name === 'v1',
      schema: {
        openAPIV3Schema: {
          type: 'object',
          required: ['spec'],
          properties: { spec, status: { type: 'object', properties: { ready: { type: 'boolean' } } } },
        },
      },
      subresources: { status: {} },
      additionalPrinterColumns: [{ name: 'Mode', type: 'string', jsonPath: '.spec.mode' }],
    })),
  },
};

async function define({ admin, server }: TestServer): Promise<void> {
  const established = new Promise<void>((resolve) => {
    server.context.registry.onChange(() => {
      if (server.context.registry.find('example.com', 'v1', 'widgets') !== undefined) resolve();
    });
  });
  await admin.create(CUSTOM_RESOURCE_DEFINITIONS, definition);
  await established;
}

test('a definition is established, served in discovery and OpenAPI, and gone with all its objects when deleted', async (t) => {
  const fixture = await startTestServer(t);
  const { admin, server } = fixture;
  await define(fixture);
  const { status, spec: stored } = await admin.get<Fields>(CUSTOM_RESOURCE_DEFINITIONS, 'widgets.example.com');
  assert.deepEqual(
    status.conditions.map((c: Fields) => `${c.type}=${c.status}`),
    ['NamesAccepted=True', 'Established=True'],
  );
  assert.deepEqual(
    [stored.names.singular, stored.names.listKind, status.storedVersions],
    ['widget', 'WidgetList', ['v1']],
  );
  const json = async (path: string) => (await admin.request('GET', path)).json<Fields>();
  const { resources } = await json('/apis/example.com/v1');
  assert.deepEqual(
    resources.map(({ name }: Fields) => name),
    ['widgets', 'widgets/status'],
  );
  const { components } = await json('/openapi/v3/apis/example.com/v1');
  assert.equal(components.schemas['com.example.v1.Widget'].properties.spec.properties.mode.default, 'fast');
  await admin.create(WIDGETS, { metadata: { name: 'w' }, spec: { port: 1 } });
  await admin.delete(CUSTOM_RESOURCE_DEFINITIONS, 'widgets.example.com');
  assert.equal((await failureOf(admin.list(WIDGETS))).code, 404);
  assert.equal(server.context.store.list('widgets.example.com').length, 0);
});

test('objects are pruned, defaulted and validated by the schema', async (t) => {
  const fixture = await startTestServer(t);
  const { admin } = fixture;
  await define(fixture);
  const made = await admin.create<Fields>(WIDGETS, {
    metadata: { name: 'w' },
    spec: {
      port: 'http',
      unknown: 1,
      rules: [{ id: 'a' }],
      open: { any: { thing: 1 } },
      maybe: null,
      mode: null,
      size: null,
    },
  });
  assert.deepEqual(made.spec, {
    port: 'http',
    mode: 'fast',
    rules: [{ id: 'a', weight: 1 }],
    open: { any: { thing: 1 } },
    maybe: null,
  });
  const bad = { port: true, mode: 'idle', size: 11, name: 'Long-name', rules: [{ id: 'a' }, { id: 'a' }, {}] };
  const { code, details } = await failureOf(admin.create(WIDGETS, { metadata: { name: 'bad' }, spec: bad }));
  assert.equal(code, 422);
  assert.deepEqual([...new Set(details.causes.map(({ field }: Fields) => field))].sort(), [
    'spec.mode',
    'spec.name',
    'spec.port',
    'spec.rules[1]',
    'spec.rules[2].id',
    'spec.size',
  ]);
  const strict = admin.request('POST', '/apis/example.com/v1/namespaces/default/widgets', {
    query: { fieldValidation: 'Strict' },
    body: { metadata: { name: 'x' }, spec: { port: 1, typo: 2 } },
  });
  assert.match((await failureOf(strict)).message, /strict decoding error: unknown field "spec.typo"/);
});

test('every served version shows the same object; status is written apart', async (t) => {
  const fixture = await startTestServer(t);
  const { admin } = fixture;
  await define(fixture);
  await admin.create(WIDGETS_BETA, { metadata: { name: 'w' }, spec: { port: 1 } });
  const v1 = await admin.get<Fields>(WIDGETS, 'w', 'default');
  assert.equal(v1.apiVersion, 'example.com/v1');
  const written = await admin.updateStatus<Fields>(WIDGETS, {
    ...v1,
    spec: { port: 2 },
    status: { ready: true, dropped: 1 },
  });
  assert.deepEqual([written.spec.port, written.status, written.metadata.generation], [1, { ready: true }, 1]);
  const beta = await admin.get<Fields>(WIDGETS_BETA, 'w', 'default');
  assert.deepEqual([beta.apiVersion, beta.status], ['example.com/v1beta1', { ready: true }]);
  const changed = await admin.update<Fields>(WIDGETS, { ...written, spec: { port: 3 }, status: { ready: false } });
  assert.deepEqual([changed.status.ready, changed.metadata.generation], [true, 2]);
});

test('objects follow their definition when it changes: new defaults appear, fields that are gone do not', async (t) => {
  const fixture = await startTestServer(t);
  const { admin, server } = fixture;
  await define(fixture);
  await admin.create(WIDGETS_BETA, { metadata: { name: 'w' }, spec: { port: 1, name: 'abc' } });
  assert.equal((await admin.get<Fields>(WIDGETS, 'w', 'default')).spec.name, 'abc');
  const changed = await admin.get<Fields>(CUSTOM_RESOURCE_DEFINITIONS, 'widgets.example.com');
  for (const version of changed.spec.versions) {
    const { properties } = version.schema.openAPIV3Schema.properties.spec;
    delete properties.name;
    if (version.name === 'v1') properties.color = { type: 'string', default: 'red' };
  }
  const again = new Promise<void>((resolve) => server.context.registry.onChange(resolve));
  await admin.update(CUSTOM_RESOURCE_DEFINITIONS, changed as never);
  await again;
  const v1 = await admin.get<Fields>(WIDGETS, 'w', 'default');
  assert.deepEqual(v1.spec, { port: 1, mode: 'fast', color: 'red' });
  const beta = await admin.get<Fields>(WIDGETS_BETA, 'w', 'default');
  assert.deepEqual(beta.spec, { port: 1, mode: 'fast' });
});

test('a definition that is no structural schema is refused with the place of the fault', async (t) => {
  const { admin } = await startTestServer(t);
  const broken = structuredClone(definition) as Fields;
  broken.spec.versions[0].schema.openAPIV3Schema.properties.spec = { properties: { a: {} } };
  broken.spec.versions[1].storage = false;
  const { details } = await failureOf(admin.create(CUSTOM_RESOURCE_DEFINITIONS, broken));
  const at = 'spec.versions[0].schema.openAPIV3Schema.properties[spec]';
  assert.deepEqual(
    details.causes.map(({ field }: Fields) => field),
    ['spec.versions', `${at}.type`, `${at}.properties[a].type`],
  );
});
