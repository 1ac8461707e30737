import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { createWorkQueue } from './work-queue.ts';

function start(t: TestContext, sync: (key: string) => Promise<void>, workers = 2) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const errors: string[] = [];
  const onError = (key: string) => errors.push(key);
  const queue = createWorkQueue({ sync, onError, signal: stop.signal, workers, backoff: { minMs: 1, maxMs: 4 } });
  return { queue, errors, stop };
}

test('works once on a key that was added many times, and again when it was added meanwhile', async (t) => {
  const runs: string[] = [];
  const { queue } = start(t, async (key) => {
    runs.push(key);
    if (runs.length === 1) queue.add(key);
  });
  for (let index = 0; index < 5; index++) queue.add('a');
  await queue.idle();
  assert.deepEqual(runs, ['a', 'a']);
});

test('never works on one key twice at a time, and on no more keys than it has workers', async (t) => {
  const active = new Set<string>();
  let most = 0;
  const { queue } = start(t, async (key) => {
    assert.ok(!active.has(key));
    active.add(key);
    most = Math.max(most, active.size);
    await new Promise(setImmediate);
    active.delete(key);
  });
  for (const key of ['a', 'b', 'c', 'd', 'a', 'b']) queue.add(key);
  await queue.idle();
  assert.equal(most, 2);
});

test('tries again what failed', async (t) => {
  let attempts = 0;
  const done = Promise.withResolvers<void>();
  const { queue, errors } = start(t, async () => {
    if (++attempts < 4) throw new Error('not yet');
    done.resolve();
  });
  queue.add('a');
  await done.promise;
  assert.deepEqual(errors, ['a', 'a', 'a']);
});

test('of two times the earlier counts, and stopping forgets them', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let runs = 0;
  const { queue, stop } = start(t, async () => {
    runs++;
  });
  queue.addAfter('a', 100);
  queue.addAfter('a', 5_000);
  queue.addAfter('a', 50);
  t.mock.timers.tick(50);
  t.mock.timers.tick(1);
  await queue.idle();
  assert.equal(runs, 1);
  queue.addAfter('b', 10);
  stop.abort();
  t.mock.timers.tick(100);
  await queue.idle();
  assert.equal(runs, 1);
});
