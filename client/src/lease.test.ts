import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { type LeaseOptions, runLease } from './lease.ts';
import { sendJson, sendStatus, startScriptedServer } from './testing/scripted-server.ts';

/** A server that holds one Lease and checks its resourceVersion. */
async function startLeaseServer(t: TestContext) {
  const state: {
    lease?: { metadata: { resourceVersion: string }; spec: { holderIdentity: string } };
    isAway: boolean;
  } = { isAway: false };
  const scripted = await startScriptedServer(t, ({ method, body }, response) => {
    if (state.isAway) return sendStatus(response, 503, 'ServiceUnavailable');
    if (method === 'GET') {
      return state.lease ? sendJson(response, state.lease) : sendStatus(response, 404, 'NotFound');
    }
    const written = JSON.parse(body);
    if (method === 'POST' && state.lease) return sendStatus(response, 409, 'AlreadyExists');
    if (method === 'PUT' && written.metadata.resourceVersion !== state.lease?.metadata.resourceVersion) {
      return sendStatus(response, 409, 'Conflict');
    }
    const resourceVersion = String(Number(state.lease?.metadata.resourceVersion ?? 0) + 1);
    const lease = { ...written, metadata: { ...written.metadata, resourceVersion } };
    state.lease = lease;
    sendJson(response, lease);
  });
  return { ...scripted, state };
}

function candidate(t: TestContext, client: Parameters<typeof runLease>[0], holder: string, times = FAST) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const changes: boolean[] = [];
  const waiting: Array<{ isLeader: boolean; resolve: () => void }> = [];
  const ended = runLease(client, { namespace: 'ns', name: 'l', holder, ...times }, stop.signal, (isLeader) => {
    changes.push(isLeader);
    for (const one of waiting) if (one.isLeader === isLeader) one.resolve();
  });
  const becomes = (isLeader: boolean) =>
    new Promise<void>((resolve) => {
      if (changes.at(-1) === isLeader) resolve();
      waiting.push({ isLeader, resolve });
    });
  return { stop, changes, becomes, ended };
}

const FAST = { durationS: 30, renewS: 20, retryS: 0.01 };

test('the first leads, gives the lease back when it stops, and the second follows', async (t) => {
  const { client, state } = await startLeaseServer(t);
  const one = candidate(t, client, 'one');
  await one.becomes(true);
  const two = candidate(t, client, 'two');
  one.stop.abort();
  await one.ended;
  await two.becomes(true);
  assert.deepEqual(one.changes, [true, false]);
  assert.deepEqual(two.changes, [true]);
  assert.equal(state.lease?.spec.holderIdentity, 'two');
});

test('a lease that is not renewed is taken after its duration', async (t) => {
  const { client, state } = await startLeaseServer(t);
  state.lease = { metadata: { resourceVersion: '1' }, spec: { holderIdentity: 'dead' } };
  const one = candidate(t, client, 'one', { durationS: 0.05, renewS: 0.04, retryS: 0.01 });
  await one.becomes(true);
  assert.equal(state.lease.spec.holderIdentity, 'one');
});

test('a leader that cannot renew steps down', async (t) => {
  const { client, state } = await startLeaseServer(t);
  const one = candidate(t, client, 'one', { durationS: 30, renewS: 0.05, retryS: 0.01 });
  await one.becomes(true);
  state.isAway = true;
  await one.becomes(false);
});

test('times that would let two lead are refused', async (t) => {
  const { client } = await startLeaseServer(t);
  const options: LeaseOptions = { namespace: 'n', name: 'l', holder: 'h', durationS: 10, renewS: 10, retryS: 2 };
  await assert.rejects(
    runLease(client, options, AbortSignal.abort(), () => {}),
    { code: 'INVALID_ARGUMENT' },
  );
});
