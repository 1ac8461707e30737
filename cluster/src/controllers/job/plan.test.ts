import assert from 'node:assert/strict';
import test from 'node:test';
import type { Job, Pod } from '@tulle/api';
import { COMPLETION_INDEX, formatIndexes, parseIndexes } from './indexes.ts';
import { planJob } from './plan.ts';

const NOW = Date.parse('2026-01-01T00:10:00Z');

function job(spec: object = {}, status: object = {}): Job {
  return {
    metadata: { name: 'j', uid: 'j' },
    spec: { template: {}, completions: 1, parallelism: 1, ...spec },
    status,
  } as Job;
}

function pod(
  name: string,
  phase: string,
  changes: { index?: number; finishedAt?: string; isTerminating?: boolean } = {},
): Pod {
  const { index, finishedAt = '2026-01-01T00:00:00Z', isTerminating } = changes;
  return {
    metadata: {
      name,
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...(index === undefined ? {} : { annotations: { [COMPLETION_INDEX]: String(index) } }),
      ...(isTerminating ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    status: {
      phase,
      containerStatuses: [{ name: 'c', restartCount: 0, state: { terminated: { exitCode: 1, finishedAt } } }],
    },
  } as Pod;
}

const types = (planned: ReturnType<typeof planJob>) => planned.status.conditions?.map(({ type }) => type);

test('makes as many pods as may run at once and are still needed', () => {
  assert.equal(planJob(job({ completions: 5, parallelism: 3 }), [], NOW).create.length, 3);
  const two = [pod('a', 'Succeeded'), pod('b', 'Succeeded'), pod('c', 'Succeeded'), pod('d', 'Running')];
  assert.equal(planJob(job({ completions: 5, parallelism: 3 }), two, NOW).create.length, 1);
});

test('is complete when enough have succeeded', () => {
  const planned = planJob(job(), [pod('a', 'Succeeded')], NOW);
  assert.deepEqual(types(planned), ['SuccessCriteriaMet', 'Complete']);
  assert.equal(planned.status.succeeded, 1);
  assert.equal(planned.status.completionTime, '2026-01-01T00:10:00Z');
});

test('waits after a failure, longer after each', () => {
  const once = [pod('a', 'Failed', { finishedAt: '2026-01-01T00:09:55Z' })];
  assert.equal(planJob(job(), once, NOW).nextMs, 5_000);
  const twice = [...once, pod('b', 'Failed')];
  assert.equal(planJob(job(), twice, NOW).nextMs, 15_000);
  assert.equal(planJob(job(), once, NOW + 5_000).create.length, 1);
});

test('fails past the back-off limit, after its running pods are gone', () => {
  const failed = [pod('a', 'Failed'), pod('b', 'Failed')];
  const first = planJob(
    job({ backoffLimit: 1, parallelism: 2, completions: 2 }),
    [...failed, pod('c', 'Running')],
    NOW,
  );
  assert.deepEqual(
    first.delete.map(({ metadata }) => metadata.name),
    ['c'],
  );
  assert.deepEqual(types(first), ['FailureTarget']);
  const planned = planJob(job({ backoffLimit: 1 }), failed, NOW);
  assert.deepEqual(types(planned), ['FailureTarget', 'Failed']);
  assert.equal(planned.status.conditions?.[1]?.reason, 'BackoffLimitExceeded');
});

test('fails at its deadline, and looks again just then', () => {
  const running = [pod('a', 'Running')];
  const started = { startTime: '2026-01-01T00:09:00Z' };
  assert.equal(planJob(job({ activeDeadlineSeconds: 90 }, started), running, NOW).nextMs, 30_000);
  assert.deepEqual(types(planJob(job({ activeDeadlineSeconds: 60 }, started), [], NOW)), ['FailureTarget', 'Failed']);
});

test('keeps what it has counted when finished pods are removed', () => {
  const planned = planJob(job({ completions: 2 }, { succeeded: 1 }), [pod('b', 'Succeeded', {})], NOW);
  assert.equal(planned.status.succeeded, 1);
  assert.equal(planJob(job({}, { succeeded: 1 }), [], NOW).status.completionTime, '2026-01-01T00:10:00Z');
});

test('a suspended Job has no pods and goes on from there', () => {
  const planned = planJob(job({ suspend: true }), [pod('a', 'Running')], NOW);
  assert.equal(planned.delete.length, 1);
  assert.deepEqual(types(planned), ['Suspended']);
  const resumed = planJob(job({}, planned.status), [], NOW);
  assert.equal(resumed.create.length, 1);
  assert.equal(resumed.status.conditions?.[0]?.status, 'False');
});

test('an indexed Job makes the indexes that are missing', () => {
  const spec = { completionMode: 'Indexed', completions: 4, parallelism: 4 };
  const pods = [pod('a', 'Succeeded', { index: 0 }), pod('b', 'Running', { index: 2 })];
  const planned = planJob(job(spec), pods, NOW);
  assert.deepEqual(planned.create, [1, 3]);
  assert.equal(planned.status.completedIndexes, '0');
});

test('indexes are written as ranges and read back', () => {
  assert.equal(formatIndexes(new Set([5, 0, 1, 2, 8, 7])), '0-2,5,7,8');
  assert.deepEqual([...parseIndexes('0-2,5')], [0, 1, 2, 5]);
  assert.equal(formatIndexes(parseIndexes(undefined)), '');
});
