import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG_MAPS, DEPLOYMENTS } from '@tulle/api';
import fc from 'fast-check';
import type { Fields } from '../store/stored-object.ts';
import { failureOf, startTestServer } from './testing/test-server.ts';

type Data = Record<string, string>;
type Patch = { type: 'merge' | 'strategic' | 'json'; changes: [key: string, value: string | null][] };

/** What a patch does to a flat map; undefined where it is refused as a whole. */
function patchModel(data: Data, { type, changes }: Patch): Data | undefined {
  const out = { ...data };
  for (const [key, value] of changes) {
    if (value !== null) out[key] = value;
    else if (type === 'json' && out[key] === undefined) return undefined;
    else delete out[key];
  }
  return out;
}

function bodyOf({ type, changes }: Patch): unknown {
  if (type !== 'json') return { data: Object.fromEntries(changes) };
  return changes.map(([key, value]) =>
    value === null ? { op: 'remove', path: `/data/${key}` } : { op: 'add', path: `/data/${key}`, value },
  );
}

test('any sequence of patches leaves what the model says, and a version per real change', async (t) => {
  const { admin } = await startTestServer(t);
  const change = fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom(null, '1', '2'));
  const patch: fc.Arbitrary<Patch> = fc.record({
    type: fc.constantFrom('merge', 'strategic', 'json'),
    changes: fc.uniqueArray(change, { maxLength: 3, selector: ([key]) => key }),
  });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(patch, { maxLength: 10 }), async (patches) => {
      const name = `map-${run++}`;
      let data: Data = { keep: 'x' };
      let { metadata } = await admin.create<Fields>(CONFIG_MAPS, { metadata: { name }, data });
      for (const each of patches) {
        const expected = patchModel(data, each);
        const answer = admin.patch<Fields>(CONFIG_MAPS, name, 'default', bodyOf(each), each.type);
        if (expected === undefined) {
          assert.equal((await failureOf(answer)).code, 422);
          continue;
        }
        const object = await answer;
        assert.deepEqual(object.data, expected);
        const hasChanged =
          JSON.stringify(Object.entries(expected).sort()) !== JSON.stringify(Object.entries(data).sort());
        if (hasChanged) assert.ok(Number(object.metadata.resourceVersion) > Number(metadata.resourceVersion));
        else assert.equal(object.metadata.resourceVersion, metadata.resourceVersion);
        ({ metadata } = object);
        data = expected;
      }
    }),
    { numRuns: 25, seed: 3 },
  );
});

const deployment = {
  metadata: { name: 'web' },
  spec: {
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        containers: [
          { name: 'c', image: 'a:1' },
          { name: 'd', image: 'a:1' },
        ],
      },
    },
  },
};

test('a strategic merge patch merges containers by name, a merge patch replaces the list', async (t) => {
  const { admin } = await startTestServer(t);
  await admin.create(DEPLOYMENTS, deployment);
  const change = { spec: { template: { spec: { containers: [{ name: 'd', image: 'a:2' }] } } } };
  const images = ({ spec }: Fields) =>
    spec.template.spec.containers.map((container: Fields) => `${container.name}=${container.image}`);
  assert.deepEqual(images(await admin.patch(DEPLOYMENTS, 'web', 'default', change, 'strategic')), ['c=a:1', 'd=a:2']);
  assert.deepEqual(images(await admin.patch(DEPLOYMENTS, 'web', 'default', change, 'merge')), ['d=a:2']);
});

test('a patch that names an older version is a conflict, one that names none is tried again', async (t) => {
  const { admin } = await startTestServer(t);
  const { metadata } = await admin.create<Fields>(CONFIG_MAPS, { metadata: { name: 'x' } });
  const all = Array.from({ length: 20 }, (_, i) =>
    admin.patch(CONFIG_MAPS, 'x', 'default', { data: { [`k${i}`]: '1' } }, 'merge'),
  );
  await Promise.all(all);
  const { data } = await admin.get<Fields>(CONFIG_MAPS, 'x', 'default');
  assert.equal(Object.keys(data).length, 20);
  const stale = { metadata: { resourceVersion: metadata.resourceVersion }, data: { late: '1' } };
  assert.equal((await failureOf(admin.patch(CONFIG_MAPS, 'x', 'default', stale, 'merge'))).reason, 'Conflict');
});

test('apply creates, changes, conflicts and removes by ownership', async (t) => {
  const { admin } = await startTestServer(t);
  const applied = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    ...deployment,
    metadata: { name: 'web', namespace: 'default' },
  };
  const first = await admin.apply<Fields>(applied, { fieldManager: 'one' });
  assert.equal(first.metadata.generation, 1);
  const again = await admin.apply<Fields>(applied, { fieldManager: 'one' });
  assert.equal(again.metadata.resourceVersion, first.metadata.resourceVersion);
  const two = structuredClone(applied) as Fields;
  two.spec.template.spec.containers = [{ name: 'c', image: 'a:2' }];
  const conflict = await failureOf(admin.apply(two, { fieldManager: 'two' }));
  assert.deepEqual(
    conflict.details.causes.map(({ field }: Fields) => field),
    ['.spec.template.spec.containers[name="c"].image'],
  );
  await admin.apply(two, { fieldManager: 'two', force: true });
  const without = structuredClone(applied) as Fields;
  without.spec.template.spec.containers = [{ name: 'c' }];
  const { spec } = await admin.apply<Fields>(without, { fieldManager: 'one' });
  assert.deepEqual(
    spec.template.spec.containers.map(({ name, image }: Fields) => [name, image]),
    [['c', 'a:2']],
  );
});

test('defaults belong to the creator and what is filled in later to nobody, so an apply of the same changes nothing', async (t) => {
  const { admin } = await startTestServer(t);
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { ports: [{ port: 80 }] },
  };
  const { spec, metadata } = await admin.apply<Fields>(service, { fieldManager: 'one' });
  assert.match(spec.clusterIP, /^10\.96\./);
  assert.equal(/clusterIP|targetPort/.test(JSON.stringify(metadata.managedFields)), false);
  const again = await admin.apply<Fields>(service, { fieldManager: 'one' });
  assert.deepEqual(again.spec, spec);
  assert.equal(again.metadata.resourceVersion, metadata.resourceVersion);
});
