import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyJsonPatch } from './json-patch.ts';

test('applies the operations of RFC 6902 in order and leaves the input alone', () => {
  const target = { a: [1, 2], 'x/y': { 'm~n': 1 } };
  const patch = [
    { op: 'test', path: '/a/0', value: 1 },
    { op: 'add', path: '/a/-', value: 3 },
    { op: 'add', path: '/a/0', value: 0 },
    { op: 'replace', path: '/x~1y/m~0n', value: 2 },
    { op: 'copy', from: '/a', path: '/b' },
    { op: 'remove', path: '/a/1' },
    { op: 'move', from: '/x~1y', path: '/c' },
    { op: 'test', path: '/missing', value: null },
  ];
  assert.deepEqual(applyJsonPatch(target, patch), { a: [0, 2, 3], b: [0, 1, 2, 3], c: { 'm~n': 2 } });
  assert.deepEqual(target, { a: [1, 2], 'x/y': { 'm~n': 1 } });
});

test('a failed test, a missing path and a bad index are refused', () => {
  for (const operation of [
    { op: 'test', path: '/a', value: 2 },
    { op: 'remove', path: '/b' },
    { op: 'replace', path: '/b', value: 1 },
    { op: 'add', path: '/b/c', value: 1 },
    { op: 'add', path: '/l/9', value: 1 },
    { op: 'add', path: '/__proto__/polluted', value: 1 },
  ]) {
    assert.throws(
      () => applyJsonPatch({ a: 1, l: [] }, [operation]),
      { code: 'INVALID_ARGUMENT' },
      JSON.stringify(operation),
    );
  }
  assert.throws(() => applyJsonPatch({}, [{ op: 'spin', path: '/a' }]), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => applyJsonPatch({}, { op: 'add' }), { code: 'INVALID_ARGUMENT' });
});
