import assert from 'node:assert/strict';
import test from 'node:test';
import { node } from '../testing/objects.ts';
import { ClusterState } from '../workloads/cluster-state.ts';
import { onlyChanges, watchView } from './watch-view.ts';

function start() {
  const state = new ClusterState();
  state.markSynced();
  const stopping = new AbortController();
  const read = onlyChanges(() => state.index.zone('node-1') ?? 'none', Object.is);
  const view = watchView(state, ['node/node-1'], stopping.signal, read);
  return { state, stopping, view };
}

const setZone = (state: ClusterState, zone: string) => state.apply('Node', 'set', node('node-1', zone));

test('answers at once, then only what is new', async () => {
  const { state, view } = start();
  assert.equal((await view.next()).value, 'none');
  setZone(state, 'a');
  assert.equal((await view.next()).value, 'a');
  const next = view.next();
  state.apply('Node', 'set', node('node-2', 'x'));
  setZone(state, 'b');
  setZone(state, 'a');
  setZone(state, 'c');
  assert.equal((await next).value, 'c');
});

test('leaves nothing behind when its reader goes away or the signal is aborted', async () => {
  const left = start();
  await left.view.next();
  assert.equal(left.state.subscriptions.size, 1);
  await left.view.return(undefined);
  assert.equal(left.state.subscriptions.size, 0);

  const aborted = start();
  await aborted.view.next();
  const next = aborted.view.next();
  aborted.stopping.abort(new Error('stopping'));
  await assert.rejects(next, /stopping/);
  assert.equal(aborted.state.subscriptions.size, 0);
});
