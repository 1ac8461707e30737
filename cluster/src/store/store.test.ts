import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HISTORY_EVENTS_MAX, Store, type StoreEvent } from './store.ts';
import type { StoredObject } from './stored-object.ts';

function object(name: string, data = ''): StoredObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'a', uid: name, resourceVersion: '', creationTimestamp: '' },
    data: { data },
  };
}

test('every write gets the next revision, whatever the resource', () => {
  const store = new Store();
  const first = store.put('configmaps', object('x'), undefined);
  const second = store.put('secrets', object('x'), undefined);
  assert.equal(second.revision, first.revision + 1);
  assert.equal(second.object.metadata.resourceVersion, String(second.revision));
});

test('a write that expects an older state is refused and changes nothing', () => {
  const store = new Store();
  const first = store.put('configmaps', object('x'), undefined);
  store.put('configmaps', object('x', 'new'), first);
  const { revision } = store;
  assert.throws(() => store.put('configmaps', object('x', 'stale'), first), { code: 'ABORTED' });
  assert.throws(() => store.put('configmaps', object('x', 'again'), undefined), { code: 'ABORTED' });
  assert.throws(() => store.delete('configmaps', first), { code: 'ABORTED' });
  assert.equal(store.revision, revision);
  assert.equal(store.get('configmaps', 'a/x')?.object.data.data, 'new');
});

test('a subscription sees past changes after its revision first, then new ones, in order', () => {
  const store = new Store();
  const first = store.put('configmaps', object('x'), undefined);
  store.put('configmaps', object('x', '2'), first);
  const seen: string[] = [];
  const stop = store.subscribe('configmaps', first.revision, ({ type, entry }) =>
    seen.push(`${type} ${entry.revision}`),
  );
  store.put('configmaps', object('y'), undefined);
  store.delete('configmaps', store.get('configmaps', 'a/x')!);
  stop();
  store.put('configmaps', object('z'), undefined);
  assert.deepEqual(seen, ['MODIFIED 3', 'ADDED 4', 'DELETED 5']);
});

test('a subscription from before the history is out of range', () => {
  const store = new Store();
  let entry = store.put('configmaps', object('x'), undefined);
  const start = entry.revision;
  for (let i = 0; i < HISTORY_EVENTS_MAX * 2; i++) entry = store.put('configmaps', object('x', String(i)), entry);
  assert.throws(() => store.subscribe('configmaps', start, () => {}), { code: 'OUT_OF_RANGE' });
  const events: StoreEvent[] = [];
  store.subscribe('configmaps', entry.revision - HISTORY_EVENTS_MAX, (event) => events.push(event))();
  assert.equal(events.length, HISTORY_EVENTS_MAX);
});
