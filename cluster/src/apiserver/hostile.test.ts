/** Whatever a client sends, the answer is a Status of the 4xx kind (or a success), and the server goes on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS } from '@tulle/api';
import fc from 'fast-check';
import { builtinResources } from '../resources/builtin.ts';
import { apiVersionOf, type Resource } from '../resources/resource.ts';
import type { Schema } from '../schema/schema.ts';
import { startTestServer, type TestServer } from './testing/test-server.ts';

async function codeOf({ admin }: TestServer, ...request: Parameters<TestServer['admin']['request']>): Promise<number> {
  try {
    const answer = await admin.request(...request);
    await answer.text();
    return answer.status;
  } catch (error) {
    const { status } = error as { status?: { code: number } };
    if (status === undefined) throw error;
    return status.code;
  }
}

const wrong: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, true, -1, 1e99, '', 'x', [], {}, [null], [[]], { a: null }, '\u0000', '../..', '-'.repeat(300)),
);

/** A value that has the shape of the schema here and there, and something else elsewhere. */
function nearly(schema: Schema, depth = 0): fc.Arbitrary<unknown> {
  if (depth > 5) return wrong;
  const { properties, items, additionalProperties } = schema;
  let right: fc.Arbitrary<unknown> = fc.constantFrom('a', 'http', '25%', 1, 80, true);
  if (properties !== undefined) {
    const fields = Object.keys(properties);
    right = fc
      .uniqueArray(fc.constantFrom(...fields, 'unknown'), { maxLength: 4 })
      .chain((chosen) =>
        fc.tuple(
          ...chosen.map((field) => nearly(properties[field] ?? {}, depth + 1).map((value) => [field, value] as const)),
        ),
      )
      .map((entries) => Object.fromEntries(entries));
  } else if (items !== undefined) right = fc.array(nearly(items, depth + 1), { maxLength: 2 });
  else if (typeof additionalProperties === 'object')
    right = fc.dictionary(fc.constantFrom('a', 'b/c', '__proto__', ''), nearly(additionalProperties, depth + 1));
  return fc.oneof({ arbitrary: right, weight: 9 }, { arbitrary: wrong, weight: 1 });
}

function collectionPath(resource: Resource): string {
  const root = resource.group === '' ? '/api/v1' : `/apis/${apiVersionOf(resource)}`;
  return `${root}/${resource.namespaced ? 'namespaces/default/' : ''}${resource.plural}`;
}

test('objects that are nearly of the kind are never an internal error', async (t) => {
  const fixture = await startTestServer(t);
  const writable = builtinResources.filter((resource) => resource.verbs.includes('create'));
  const body = fc.constantFrom(...writable).chain((resource) =>
    nearly(resource.schema).map((object) => ({
      resource,
      object:
        typeof object === 'object' && object !== null && !Array.isArray(object)
          ? { ...object, kind: resource.kind, apiVersion: apiVersionOf(resource) }
          : object,
    })),
  );
  await fc.assert(
    fc.asyncProperty(body, fc.boolean(), async ({ resource, object }, isApply) => {
      const named =
        typeof object === 'object' &&
        object !== null &&
        'metadata' in object &&
        typeof object.metadata === 'object' &&
        object.metadata !== null &&
        !Array.isArray(object.metadata);
      // A version on something new is answered by 500, as Kubernetes does.
      const sent = named
        ? { ...object, metadata: { ...(object.metadata as object), name: 'fuzz', resourceVersion: undefined } }
        : object;
      const path = collectionPath(resource);
      const code =
        isApply && resource.verbs.includes('patch')
          ? await codeOf(fixture, 'PATCH', `${path}/fuzz`, {
              body: sent,
              contentType: 'application/apply-patch+yaml',
              query: { fieldManager: 'f', force: 'true' },
            })
          : await codeOf(fixture, 'POST', path, { body: sent });
      assert.ok(code < 500, `${resource.kind}: ${code} for ${JSON.stringify(sent)}`);
      // Webhooks that were made by chance would be called by everything after.
      if (resource.kind.endsWith('WebhookConfiguration') && code < 300) await codeOf(fixture, 'DELETE', `${path}/fuzz`);
    }),
    { numRuns: 400, seed: 5 },
  );
});

test('patches, paths, queries and bodies of any kind are never an internal error', async (t) => {
  const fixture = await startTestServer(t);
  await fixture.admin.create(CONFIG_MAPS, { metadata: { name: 'x' }, data: { a: '1' } });
  const types = [
    'application/json-patch+json',
    'application/merge-patch+json',
    'application/strategic-merge-patch+json',
    'application/apply-patch+yaml',
  ];
  const operation = fc.record(
    {
      op: fc.constantFrom('add', 'remove', 'replace', 'move', 'copy', 'test', 'x'),
      path: fc.constantFrom('', '/', '/data', '/data/a', '/metadata/name', '/a/-', 'x', '/~2'),
      from: fc.constantFrom('', '/data', '/none'),
      value: wrong,
    },
    { requiredKeys: [], noNullPrototype: true },
  );
  const text = fc.oneof(
    fc.json(),
    fc.array(operation, { maxLength: 3 }).map((patch) => JSON.stringify(patch)),
    fc.string(),
    fc.constantFrom(
      '{',
      'a: &a [*a,*a]',
      '- - -',
      '%YAML 9.9',
      '"\\ud800"',
      '{"data":{"$patch":"delete"}}',
      '{"$patch":"replace"}',
      '{"metadata":{"ownerReferences":[{"$patch":"delete"}]}}',
    ),
  );
  const path = '/api/v1/namespaces/default/configmaps/x';
  await fc.assert(
    fc.asyncProperty(text, fc.constantFrom(...types), async (body, contentType) => {
      assert.ok(
        (await codeOf(fixture, 'PATCH', path, { body, contentType, query: { fieldManager: 'f' } })) < 500,
        body,
      );
    }),
    { numRuns: 300, seed: 6 },
  );
  const options = [
    'labelSelector',
    'fieldSelector',
    'resourceVersion',
    'limit',
    'continue',
    'timeoutSeconds',
    'resourceVersionMatch',
    'dryRun',
    'gracePeriodSeconds',
    'includeObject',
  ];
  const odd = fc.oneof(
    fc.string(),
    fc.constantFrom('-1', '1e9', 'a in (', '!', 'a==b=c', 'NaN', '99999999999999999999', 'None'),
  );
  const query = fc.dictionary(fc.constantFrom(...options), odd, { maxKeys: 3 }).map((entries) => ({ ...entries }));
  await fc.assert(
    fc.asyncProperty(
      query,
      fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH'),
      fc.constantFrom(
        path,
        '/api/v1/configmaps',
        '/apis//v1/x',
        '/api/v1/namespaces/%E0%A4%A/pods',
        '/openapi/v3/x',
        '/api/v1/pods/x/y/z',
      ),
      async (given, method, target) => {
        const code = await codeOf(fixture, method, target, { query: given });
        assert.ok(code < 500 || code === 504, `${method} ${target} ${JSON.stringify(given)}: ${code}`);
      },
    ),
    { numRuns: 200, seed: 7 },
  );
});

test('a protobuf body that is broken anywhere is refused', async (t) => {
  const fixture = await startTestServer(t);
  const contentType = 'application/vnd.kubernetes.protobuf';
  const field = (number: number, bytes: Buffer) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  const meta = Buffer.concat([field(1, Buffer.from('v1')), field(2, Buffer.from('ConfigMap'))]);
  const entry = Buffer.concat([field(1, Buffer.from('k')), field(2, Buffer.from('v'))]);
  const object = Buffer.concat([field(1, field(1, Buffer.from('pb'))), field(2, entry)]);
  const good = Buffer.concat([Buffer.from('k8s\0'), field(1, meta), field(2, object)]);
  const path = '/api/v1/namespaces/default/configmaps';
  assert.equal(await codeOf(fixture, 'POST', path, { body: good, contentType }), 201);
  for (let at = 0; at < good.length; at++) {
    const broken = Buffer.from(good);
    broken[at] = broken[at]! ^ 0xff;
    for (const body of [broken, good.subarray(0, at)]) {
      const code = await codeOf(fixture, 'POST', path, { body, contentType });
      assert.ok(code < 500, `byte ${at}: ${code}`);
    }
  }
});

test('a body past the limit is refused before it is read whole', async (t) => {
  const fixture = await startTestServer(t);
  const body = JSON.stringify({ metadata: { name: 'big' }, data: { a: 'x'.repeat(4 * 1024 * 1024) } });
  assert.equal(await codeOf(fixture, 'POST', '/api/v1/namespaces/default/configmaps', { body }), 413);
  assert.equal(await codeOf(fixture, 'GET', '/healthz'), 200);
});

test('a definition with a hostile schema is refused or served, but breaks nothing', async (t) => {
  const fixture = await startTestServer(t);
  for (const schema of [
    null,
    [],
    'x',
    { type: 'array' },
    { type: 'object', properties: null },
    { type: 'object', properties: { a: { type: 'string', pattern: '(' } } },
    { type: 'object', required: 'a' },
  ]) {
    const name = 'things.example.com';
    const spec = {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'things', kind: 'Thing' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    };
    const code = await codeOf(fixture, 'POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      body: { metadata: { name }, spec },
    });
    assert.ok(code < 500, JSON.stringify(schema));
    if (code < 300) await fixture.admin.delete(CUSTOM_RESOURCE_DEFINITIONS, name);
    assert.equal(await codeOf(fixture, 'GET', '/openapi/v3'), 200);
  }
});
