import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { openJournal } from './journal.ts';
import { Store } from './store.ts';
import type { StoredObject } from './stored-object.ts';

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'journal-'));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

function open(dir: string, logBytesMax?: number) {
  const journal = openJournal(dir, logBytesMax === undefined ? {} : { logBytesMax });
  const store = new Store({ journal, revision: journal.revision, entries: journal.entries });
  journal.attach(store);
  return { store, close: () => journal.close() };
}

function object(name: string, value: number): StoredObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, uid: name, resourceVersion: '', creationTimestamp: '' },
    data: { value: String(value) },
  };
}

const content = (store: Store) =>
  store
    .list('configmaps')
    .map(({ object: { metadata, data } }) => [metadata.name, metadata.resourceVersion, data.value]);

type Step = { name: string; value: number } | { name: string; value: undefined } | 'reopen';

function run(dir: string, steps: readonly Step[], logBytesMax: number): void {
  let current = open(dir, logBytesMax);
  for (const step of steps) {
    if (step === 'reopen') {
      const before = content(current.store);
      const { revision } = current.store;
      current.close();
      current = open(dir, logBytesMax);
      assert.deepEqual(content(current.store), before);
      assert.equal(current.store.revision, revision);
      continue;
    }
    const present = current.store.get('configmaps', step.name);
    if (step.value !== undefined) current.store.put('configmaps', object(step.name, step.value), present);
    else if (present !== undefined) current.store.delete('configmaps', present);
  }
  current.close();
}

test('a state folder gives back what was written, folded into snapshots or not', (t) => {
  const name = fc.constantFrom('a', 'b', 'c');
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ name, value: fc.nat(9) }),
    fc.record({ name, value: fc.constant(undefined) }),
    fc.constant('reopen' as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), fc.constantFrom(0, 300, 1e6), (steps, logBytesMax) => {
      run(folder(t), [...steps, 'reopen'], logBytesMax);
    }),
    { numRuns: 40, seed: 1 },
  );
});

test('a torn tail is cut off and the rest is kept', (t) => {
  const dir = folder(t);
  const { store, close } = open(dir);
  store.put('configmaps', object('a', 1), undefined);
  const { size } = statSync(join(dir, 'log'));
  store.put('configmaps', object('b', 2), undefined);
  close();
  truncateSync(join(dir, 'log'), statSync(join(dir, 'log')).size - 7);
  const again = open(dir);
  assert.deepEqual(content(again.store), [['a', '2', '1']]);
  assert.equal(statSync(join(dir, 'log')).size, size);
  again.store.put('configmaps', object('c', 3), undefined);
  again.close();
  const last = open(dir);
  assert.deepEqual(
    content(last.store).map(([name]) => name),
    ['a', 'c'],
  );
  last.close();
});

test('a line whose checksum is wrong ends the log there', (t) => {
  const dir = folder(t);
  const { store, close } = open(dir);
  store.put('configmaps', object('a', 1), undefined);
  close();
  appendFileSync(join(dir, 'log'), '00000000 {"r":9,"c":"configmaps","k":"x"}\n');
  const again = open(dir);
  assert.equal(again.store.revision, 2);
  again.close();
});

test('a damaged snapshot is refused, not taken for an empty cluster', (t) => {
  const dir = folder(t);
  run(
    dir,
    [
      { name: 'a', value: 1 },
      { name: 'a', value: 2 },
      { name: 'a', value: 3 },
    ],
    0,
  );
  const snapshot = join(dir, 'snapshot');
  writeFileSync(snapshot, readFileSync(snapshot, 'utf8').replace('"a"', '"b"'));
  assert.throws(() => openJournal(dir), { code: 'DATA_LOSS' });
});
