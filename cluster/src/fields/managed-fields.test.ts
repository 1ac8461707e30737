import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { builtinType } from '../schema/builtin.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { applyConfiguration, fieldsAfterUpdate } from './managed-fields.ts';

const deployment = builtinType('Deployment');
const writer = (manager: string, subresource = '') => ({ manager, apiVersion: 'apps/v1', subresource, time: 't' });

function apply(live: StoredObject | undefined, manager: string, configuration: Fields, force = false): StoredObject {
  const { object, managedFields } = applyConfiguration(live, configuration, deployment, writer(manager), force);
  return { ...object, metadata: { ...object.metadata, managedFields } } as StoredObject;
}

function update(live: StoredObject, manager: string, changed: Fields): StoredObject {
  const managedFields = fieldsAfterUpdate(live, changed, deployment, writer(manager));
  return { ...changed, metadata: { ...changed.metadata, managedFields } } as StoredObject;
}

const fieldsOf = (object: StoredObject, manager: string) =>
  object.metadata.managedFields?.find((entry) => entry.manager === manager)?.fieldsV1;

const web = (container: Fields, more: Fields = {}): Fields => ({
  metadata: { name: 'web' },
  spec: { template: { spec: { containers: [{ name: 'c', ...container }] } }, ...more },
});

test('an applier owns what it names, list elements by their key', () => {
  const live = apply(undefined, 'one', web({ image: '1', ports: [{ containerPort: 80 }] }, { replicas: 2 }));
  assert.deepEqual(fieldsOf(live, 'one'), {
    'f:spec': {
      'f:replicas': {},
      'f:template': {
        'f:spec': {
          'f:containers': {
            'k:{"name":"c"}': {
              '.': {},
              'f:image': {},
              'f:name': {},
              'f:ports': { 'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} } },
            },
          },
        },
      },
    },
  });
});

test("changing another applier's field is a conflict that names it, unless forced", () => {
  const live = apply(undefined, 'one', web({ image: '1' }));
  const conflict = (error: unknown) => {
    const { status } = error as { status: { code: number; details: { causes: Fields[] } } };
    assert.equal(status.code, 409);
    assert.deepEqual(status.details.causes, [
      {
        reason: 'FieldManagerConflict',
        message: 'conflict with "one"',
        field: '.spec.template.spec.containers[name="c"].image',
      },
    ]);
    return true;
  };
  assert.throws(() => apply(live, 'two', web({ image: '2' })), conflict);
  const forced = apply(live, 'two', web({ image: '2' }), true);
  assert.equal(forced.spec.template.spec.containers[0].image, '2');
  assert.equal(JSON.stringify(fieldsOf(forced, 'one')).includes('f:image'), false);
});

test('two appliers may own the same field with the same value; it stays until both drop it', () => {
  let live = apply(apply(undefined, 'one', web({ image: '1' })), 'two', web({ image: '1', workingDir: '/' }));
  live = apply(live, 'one', { metadata: { name: 'web' } });
  assert.deepEqual(live.spec.template.spec.containers, [{ name: 'c', image: '1', workingDir: '/' }]);
  live = apply(live, 'two', { metadata: { name: 'web' } });
  assert.equal(live.spec, undefined);
});

test('what an applier drops goes, what others put beside it stays', () => {
  let live = apply(undefined, 'one', web({ image: '1', env: [{ name: 'A', value: '1' }] }));
  const changed = structuredClone(live) as Fields;
  changed.spec.template.spec.containers[0].env.push({ name: 'B', value: '2' });
  changed.spec.template.spec.containers.push({ name: 'sidecar', image: 's' });
  live = update(live, 'injector', changed);
  live = apply(live, 'one', web({ image: '1' }));
  assert.deepEqual(live.spec.template.spec.containers, [
    { name: 'c', image: '1', env: [{ name: 'B', value: '2' }] },
    { name: 'sidecar', image: 's' },
  ]);
});

test('an update takes the fields it changes from other managers, and removed fields from all', () => {
  let live = apply(undefined, 'one', web({ image: '1' }, { replicas: 2, paused: true }));
  const { paused: _, ...spec } = live.spec;
  live = update(live, 'scaler', { ...live, spec: { ...spec, replicas: 3 } });
  assert.deepEqual(fieldsOf(live, 'scaler'), { 'f:spec': { 'f:replicas': {} } });
  assert.equal(/replicas|paused/.test(JSON.stringify(fieldsOf(live, 'one'))), false);
});

/** The rules of ownership for a flat map: which value each key has, and which managers own it. */
function modelApply(
  model: Map<string, { value: string; owners: Set<string> }>,
  manager: string,
  named: Map<string, string>,
): 'conflict' | 'applied' {
  for (const [key, value] of named) {
    const present = model.get(key);
    const isOthers = present !== undefined && [...present.owners].some((owner) => owner !== manager);
    if (isOthers && present.value !== value) return 'conflict';
  }
  for (const [key, entry] of model) {
    if (named.has(key) || !entry.owners.delete(manager)) continue;
    if (entry.owners.size === 0) model.delete(key);
  }
  for (const [key, value] of named) {
    const owners = model.get(key)?.owners ?? new Set();
    model.set(key, { value, owners: owners.add(manager) });
  }
  return 'applied';
}

test('any sequence of applies leaves labels as the model of ownership says', () => {
  const step = fc.tuple(
    fc.constantFrom('one', 'two', 'three'),
    fc.uniqueArray(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('x', 'y')), { selector: ([key]) => key }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const model = new Map<string, { value: string; owners: Set<string> }>();
      let live: StoredObject | undefined;
      for (const [manager, pairs] of steps) {
        const configuration = {
          metadata: { name: 'web', ...(pairs.length > 0 ? { labels: Object.fromEntries(pairs) } : {}) },
        };
        let outcome: 'conflict' | 'applied' = 'applied';
        try {
          live = apply(live, manager, configuration);
        } catch (error) {
          assert.equal((error as { code: string }).code, 'ABORTED');
          outcome = 'conflict';
        }
        assert.equal(outcome, modelApply(model, manager, new Map(pairs)));
        const expected = Object.fromEntries([...model].map(([key, { value }]) => [key, value]));
        assert.deepEqual({ ...live?.metadata.labels }, expected);
      }
    }),
    { numRuns: 200, seed: 1 },
  );
});
