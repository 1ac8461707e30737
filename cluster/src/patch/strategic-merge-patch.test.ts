import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { builtinType } from '../schema/builtin.ts';
import { applyStrategicMergePatch } from './strategic-merge-patch.ts';

const pod = builtinType('Pod');
const apply = (target: unknown, patch: unknown) => applyStrategicMergePatch(target, patch, pod);

test('merges containers by name, ports by number, and replaces lists without keys', () => {
  const target = {
    spec: { containers: [{ name: 'a', image: '1', args: ['x'], ports: [{ containerPort: 80 }] }, { name: 'b' }] },
  };
  const patch = {
    spec: {
      containers: [
        { name: 'a', args: ['y'], ports: [{ containerPort: 80, name: 'http' }, { containerPort: 81 }] },
        { name: 'c' },
      ],
    },
  };
  assert.deepEqual(apply(target, patch), {
    spec: {
      containers: [
        { name: 'a', image: '1', args: ['y'], ports: [{ containerPort: 80, name: 'http' }, { containerPort: 81 }] },
        { name: 'b' },
        { name: 'c' },
      ],
    },
  });
});

test('follows the directives delete, replace, retainKeys, deleteFromPrimitiveList and setElementOrder', () => {
  assert.deepEqual(
    apply(
      { spec: { containers: [{ name: 'a' }, { name: 'b' }] } },
      { spec: { containers: [{ name: 'a', $patch: 'delete' }] } },
    ),
    {
      spec: { containers: [{ name: 'b' }] },
    },
  );
  assert.deepEqual(
    apply({ spec: { containers: [{ name: 'a' }] } }, { spec: { containers: [{ $patch: 'replace' }, { name: 'z' }] } }),
    {
      spec: { containers: [{ name: 'z' }] },
    },
  );
  assert.deepEqual(
    apply(
      { spec: { volumes: [{ name: 'v', emptyDir: {} }] } },
      { spec: { volumes: [{ name: 'v', $retainKeys: ['name', 'hostPath'], hostPath: { path: '/' } }] } },
    ),
    { spec: { volumes: [{ name: 'v', hostPath: { path: '/' } }] } },
  );
  assert.deepEqual(
    apply({ metadata: { finalizers: ['a', 'b'] } }, { metadata: { '$deleteFromPrimitiveList/finalizers': ['a'] } }),
    {
      metadata: { finalizers: ['b'] },
    },
  );
  assert.deepEqual(
    apply(
      { spec: { containers: [{ name: 'a' }, { name: 'b' }] } },
      {
        spec: {
          '$setElementOrder/containers': [{ name: 'c' }, { name: 'a' }, { name: 'b' }],
          containers: [{ name: 'c' }],
        },
      },
    ),
    { spec: { containers: [{ name: 'c' }, { name: 'a' }, { name: 'b' }] } },
  );
});

test('an element without its key, or an unknown directive, is refused', () => {
  assert.throws(() => apply({}, { spec: { containers: [{ image: 'x' }] } }), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => apply({}, { spec: { $patch: 'explode' } }), { code: 'INVALID_ARGUMENT' });
});

test('a list with keys behaves like a map from key to element', () => {
  const names = fc.constantFrom('a', 'b', 'c', 'd');
  const element = fc.record({ name: names, image: fc.constantFrom('1', '2') }, { noNullPrototype: true });
  const present = fc.uniqueArray(element, { selector: ({ name }) => name });
  const change = fc.uniqueArray(
    fc.oneof(element, fc.record({ name: names, $patch: fc.constant('delete') }, { noNullPrototype: true })),
    { selector: ({ name }) => name },
  );
  fc.assert(
    fc.property(present, change, (containers, patch) => {
      const model = new Map(containers.map((container) => [container.name, container]));
      for (const item of patch) {
        if ('$patch' in item) model.delete(item.name);
        else model.set(item.name, item);
      }
      const result = apply({ spec: { containers } }, { spec: { containers: patch } }) as {
        spec: { containers: { name: string }[] };
      };
      assert.deepEqual(new Map(result.spec.containers.map((container) => [container.name, container])), model);
      assert.equal(result.spec.containers.length, model.size);
    }),
    { numRuns: 200, seed: 1 },
  );
});
