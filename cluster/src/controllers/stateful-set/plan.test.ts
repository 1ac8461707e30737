import assert from 'node:assert/strict';
import test from 'node:test';
import type { Pod, StatefulSet } from '@tulle/api';
import { type Plan, POD_NAME, planStatefulSet } from './plan.ts';

function pod(ordinal: number, revision = 'r1', isReady = true, isTerminating = false): Pod {
  const name = `db-${ordinal}`;
  return {
    metadata: {
      name,
      uid: name,
      labels: { 'controller-revision-hash': revision, [POD_NAME]: name },
      ...(isTerminating ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }] },
  };
}

function plan(spec: object, pods: Pod[], updateRevision = 'r1', status: object = {}): Plan {
  const set = {
    metadata: { name: 'db', namespace: 'ns', generation: 1 },
    spec: { replicas: 3, updateStrategy: { type: 'RollingUpdate' }, ...spec },
    status: { currentReplicas: pods.length, ...status },
  } as StatefulSet;
  return planStatefulSet({ set, pods, currentRevision: 'r1', updateRevision, nowMs: 0 });
}

const names = (pods: Pod[]) => pods.map(({ metadata }) => metadata.name);
const ordinals = (made: Plan) => made.create.map(({ ordinal }) => ordinal);

test('makes one pod at a time, the next when the one before is ready', () => {
  assert.deepEqual(ordinals(plan({}, [])), [0]);
  assert.deepEqual(ordinals(plan({}, [pod(0, 'r1', false)])), []);
  assert.deepEqual(ordinals(plan({}, [pod(0)])), [1]);
});

test('makes all at once when the policy is Parallel', () => {
  assert.deepEqual(ordinals(plan({ podManagementPolicy: 'Parallel' }, [pod(1)])), [0, 2]);
});

test('counts from the start ordinal', () => {
  assert.deepEqual(ordinals(plan({ ordinals: { start: 5 } }, [pod(5)])), [6]);
});

test('removes surplus pods from the highest down, one at a time', () => {
  assert.deepEqual(names(plan({ replicas: 1 }, [pod(0), pod(1), pod(2)]).delete), ['db-2']);
  assert.deepEqual(names(plan({ replicas: 1 }, [pod(0), pod(1), pod(2, 'r1', true, true)]).delete), []);
});

test('updates from the highest down and waits for each to be ready', () => {
  const old = [pod(0), pod(1), pod(2)];
  assert.deepEqual(names(plan({}, old, 'r2').delete), ['db-2']);
  assert.deepEqual(names(plan({}, [pod(0), pod(1), pod(2, 'r2', false)], 'r2').delete), []);
  assert.deepEqual(names(plan({}, [pod(0), pod(1), pod(2, 'r2')], 'r2').delete), ['db-1']);
});

test('leaves pods below the partition, and makes them anew as they were', () => {
  const spec = { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } } };
  assert.deepEqual(names(plan(spec, [pod(0), pod(1), pod(2, 'r2')], 'r2').delete), []);
  assert.deepEqual(plan(spec, [pod(0), pod(2, 'r2')], 'r2').create, [{ ordinal: 1, revision: 'r1' }]);
});

test('OnDelete replaces nothing by itself', () => {
  assert.deepEqual(plan({ updateStrategy: { type: 'OnDelete' } }, [pod(0), pod(1), pod(2)], 'r2').delete, []);
});

test('a finished pod is removed to be made again', () => {
  const failed = { ...pod(1), status: { phase: 'Failed' } };
  assert.deepEqual(names(plan({}, [pod(0), failed, pod(2)]).delete), ['db-1']);
});

test('the update is over when all are of the new revision and ready', () => {
  const { status } = plan({}, [pod(0, 'r2'), pod(1, 'r2'), pod(2, 'r2')], 'r2');
  assert.equal(status.currentRevision, 'r2');
  assert.equal(status.currentReplicas, 3);
  assert.equal(plan({}, [pod(0), pod(1, 'r2'), pod(2, 'r2')], 'r2').status.currentRevision, 'r1');
});
