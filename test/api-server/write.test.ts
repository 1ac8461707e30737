import assert from 'node:assert/strict';
import test from 'node:test';
import {
  CONFIG_MAPS,
  type ConfigMap,
  DEPLOYMENTS,
  type Deployment,
  NAMESPACES,
  SERVICES,
  type Service,
} from '@tulle/api';
import { collectionPath, objectPath } from '@tulle/client';
import { failure, openApi } from '../support/api-server.ts';

const { client, namespace } = await openApi();
const create = (name: string, data: Record<string, string> = {}) =>
  client.create<ConfigMap>(CONFIG_MAPS, { metadata: { name }, data }, { namespace });

function deployment(name: string, changes: object = {}) {
  const labels = { app: name };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } };
  return { metadata: { name }, spec: { replicas: 0, selector: { matchLabels: labels }, template, ...changes } };
}

test('a new object gets its identity from the server', async () => {
  const { metadata } = await create('identity');
  assert.match(metadata.uid ?? '', /^[0-9a-f-]{36}$/);
  assert.match(metadata.creationTimestamp ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.ok(metadata.resourceVersion);
  assert.equal(metadata.namespace, namespace);
  const generated = await client.create<ConfigMap>(CONFIG_MAPS, { metadata: { generateName: 'made-' } }, { namespace });
  assert.match(generated.metadata.name, /^made-[a-z0-9]{5}$/);
});

test('what cannot be created says why', async () => {
  await create('taken');
  const taken = await failure(create('taken'));
  assert.deepEqual([taken.code, taken.reason, taken.details?.name], [409, 'AlreadyExists', 'taken']);
  assert.equal(taken.message, 'configmaps "taken" already exists');
  const named = await failure(create('Not_A_Name'));
  assert.deepEqual([named.code, named.reason, named.details?.causes?.[0]?.field], [422, 'Invalid', 'metadata.name']);
  const elsewhere = await failure(
    client.create(CONFIG_MAPS, { metadata: { name: 'x', namespace: 'default' } }, { namespace }),
  );
  assert.equal(elsewhere.code, 400);
  const nowhere = await failure(
    client.create(CONFIG_MAPS, { metadata: { name: 'x' } }, { namespace: 'no-such-namespace' }),
  );
  assert.deepEqual([nowhere.code, nowhere.message], [404, 'namespaces "no-such-namespace" not found']);
  const versioned = await failure(
    client.create(CONFIG_MAPS, { metadata: { name: 'x', resourceVersion: '5' } }, { namespace }),
  );
  assert.deepEqual([versioned.code, versioned.reason], [500, undefined]);
});

test('an update of an older version is a conflict, one without a version is not', async () => {
  const first = await create('versions', { a: '1' });
  const second = await client.update<ConfigMap>(CONFIG_MAPS, { ...first, data: { a: '2' } });
  const status = await failure(client.update(CONFIG_MAPS, { ...first, data: { a: '3' } }));
  assert.deepEqual([status.code, status.reason], [409, 'Conflict']);
  assert.match(status.message ?? '', /the object has been modified/);
  const { resourceVersion: _, ...metadata } = second.metadata;
  const third = await client.update<ConfigMap>(CONFIG_MAPS, { ...second, metadata, data: { a: '3' } });
  assert.deepEqual(third.data, { a: '3' });
  const other = { ...third, metadata: { ...third.metadata, uid: '00000000-0000-0000-0000-000000000000' } };
  assert.equal((await failure(client.update(CONFIG_MAPS, other))).code, 409);
});

test('an update that changes nothing makes no new version', async () => {
  const first = await create('same', { a: '1' });
  const again = await client.update<ConfigMap>(CONFIG_MAPS, first);
  assert.equal(again.metadata.resourceVersion, first.metadata.resourceVersion);
});

test('generation counts changes of the spec alone', async () => {
  const made = await client.create<Deployment>(DEPLOYMENTS, deployment('generation'), { namespace });
  assert.equal(made.metadata.generation, 1);
  const patch = (change: object, subresource?: string) =>
    client.patch<Deployment>(DEPLOYMENTS, 'generation', namespace, change, 'merge', subresource ? { subresource } : {});
  assert.equal((await patch({ metadata: { labels: { a: 'b' } } })).metadata.generation, 1);
  assert.equal((await patch({ status: { collisionCount: 1 } }, 'status')).metadata.generation, 1);
  assert.equal((await patch({ spec: { paused: true } })).metadata.generation, 2);
});

test('the object and its status are written apart', async () => {
  await client.create(DEPLOYMENTS, deployment('apart', { paused: true }), { namespace });
  const ignored = await client.patch<Deployment>(
    DEPLOYMENTS,
    'apart',
    namespace,
    { status: { collisionCount: 7 } },
    'merge',
  );
  assert.notEqual(ignored.status?.collisionCount, 7);
  const change = { spec: { paused: false }, status: { collisionCount: 7 } };
  const written = await client.patch<Deployment>(DEPLOYMENTS, 'apart', namespace, change, 'merge', {
    subresource: 'status',
  });
  assert.equal(written.status?.collisionCount, 7);
  assert.equal(written.spec?.paused, true);
});

test('defaults are filled in, and invalid values refused by their path', async () => {
  const made = await client.create<Deployment>(
    DEPLOYMENTS,
    deployment('defaults', { replicas: undefined, paused: true }),
    { namespace },
  );
  assert.equal(made.spec?.replicas, 1);
  assert.equal(made.spec?.progressDeadlineSeconds, 600);
  assert.deepEqual(made.spec?.strategy, {
    type: 'RollingUpdate',
    rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' },
  });
  const template = { metadata: { labels: { app: 'other' } }, spec: { containers: [] } };
  const status = await failure(
    client.create(DEPLOYMENTS, deployment('invalid', { template, replicas: -1 }), { namespace }),
  );
  assert.equal(status.code, 422);
  const fields = status.details?.causes?.map(({ field }) => field) ?? [];
  for (const field of ['spec.replicas', 'spec.template.metadata.labels', 'spec.template.spec.containers']) {
    assert.ok(fields.includes(field), `${field} is not in ${fields}`);
  }
});

test('a dry run says what would be, and does nothing', async () => {
  const made = await client.create<ConfigMap>(CONFIG_MAPS, { metadata: { name: 'dry' } }, { namespace, dryRun: true });
  assert.ok(made.metadata.uid);
  assert.equal((await failure(client.get(CONFIG_MAPS, 'dry', namespace))).code, 404);
});

test('unknown fields are refused, warned of or ignored, as asked', async () => {
  const path = collectionPath(CONFIG_MAPS, namespace);
  const send = (name: string, fieldValidation: string) =>
    client.request('POST', path, {
      query: { fieldValidation },
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, dataa: { a: '1' } },
    });
  const status = await failure(send('strict', 'Strict'));
  assert.equal(status.code, 400);
  assert.match(status.message ?? '', /unknown field "dataa"/);
  const warned = await send('warned', 'Warn');
  assert.match(String(warned.headers.warning), /unknown field \\?"dataa\\?"/);
  assert.equal((await warned.json<{ dataa?: object }>()).dataa, undefined);
  const ignored = await send('ignored', 'Ignore');
  assert.equal(ignored.headers.warning, undefined);
  await ignored.text();
});

test('what is not served is answered clearly', async () => {
  const code = async (method: string, path: string, options = {}) =>
    (await failure(client.request(method, path, options))).code;
  assert.equal(await code('GET', `/api/v1/namespaces/${namespace}/nothings`), 404);
  assert.equal(await code('GET', '/apis/no.such.group/v1/things'), 404);
  assert.equal(await code('POST', objectPath(CONFIG_MAPS, 'x', namespace), { body: {} }), 405);
  const path = collectionPath(CONFIG_MAPS, namespace);
  assert.equal(await code('POST', path, { body: 'x', contentType: 'text/plain' }), 415);
  assert.equal(await code('POST', path, { body: '{"a":' }), 400);
  assert.equal(await code('POST', path, { body: { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'x' } } }), 400);
  assert.equal(await code('GET', path, { headers: { accept: 'image/png' } }), 406);
  assert.equal(await code('GET', path, { query: { resourceVersionMatch: 'Exact' } }), 422);
  const body = { metadata: { name: 'options' } };
  assert.equal(await code('POST', path, { body, query: { dryRun: 'yes' } }), 422);
  assert.equal(await code('POST', path, { body, query: { fieldValidation: 'Perhaps' } }), 422);
});

test('the scale sub-resource reads and writes the number of replicas', async () => {
  await client.create(DEPLOYMENTS, deployment('scaled'), { namespace });
  const path = objectPath(DEPLOYMENTS, 'scaled', namespace, 'scale');
  const scale = await (await client.request('GET', path)).json<{
    kind: string;
    spec: { replicas?: number };
    status: { selector: string };
  }>();
  assert.deepEqual([scale.kind, scale.spec.replicas ?? 0, scale.status.selector], ['Scale', 0, 'app=scaled']);
  await client.patch(DEPLOYMENTS, 'scaled', namespace, { spec: { replicas: 0, paused: true } }, 'merge');
  const body = { ...scale, spec: { replicas: 2 } };
  await (await client.request('PUT', path, { body: { ...body, metadata: { name: 'scaled', namespace } } })).text();
  assert.equal((await client.get<Deployment>(DEPLOYMENTS, 'scaled', namespace)).spec?.replicas, 2);
});

test('a Service gets its cluster address and keeps it', async () => {
  const ports = [{ port: 80 }];
  const made = await client.create<Service>(
    SERVICES,
    { metadata: { name: 'addressed' }, spec: { ports } },
    { namespace },
  );
  assert.match(made.spec?.clusterIP ?? '', /^[0-9a-f.:]+$/);
  assert.deepEqual(made.spec?.clusterIPs?.[0], made.spec?.clusterIP);
  assert.deepEqual(
    [made.spec?.type, made.spec?.ports?.[0]?.targetPort, made.spec?.ports?.[0]?.protocol],
    ['ClusterIP', 80, 'TCP'],
  );
  const change = { spec: { clusterIP: '10.96.7.7', clusterIPs: ['10.96.7.7'] } };
  assert.equal((await failure(client.patch(SERVICES, 'addressed', namespace, change, 'merge'))).code, 422);
  const headless = await client.create<Service>(
    SERVICES,
    { metadata: { name: 'headless' }, spec: { clusterIP: 'None', ports } },
    { namespace },
  );
  assert.deepEqual(headless.spec?.clusterIPs, ['None']);
});

test('a namespace is active when it is made and has a label with its name', async () => {
  const made = await client.get(NAMESPACES, namespace);
  assert.equal(made.status.phase, 'Active');
  assert.equal(made.metadata.labels?.['kubernetes.io/metadata.name'], namespace);
});
