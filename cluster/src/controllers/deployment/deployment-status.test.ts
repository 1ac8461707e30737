import assert from 'node:assert/strict';
import test from 'node:test';
import type { Deployment, ReplicaSet } from '@tulle/api';
import { type DeploymentStatus, deadlineInMs, deploymentStatus } from './deployment-status.ts';
import { boundsOf } from './rolling-update.ts';

const START = Date.parse('2026-01-01T00:00:00Z');

function deployment(status: DeploymentStatus): Deployment {
  return {
    metadata: { name: 'web', generation: 2 },
    spec: { replicas: 2, progressDeadlineSeconds: 60, selector: {}, template: {} },
    status,
  };
}

function replicaSet(name: string, replicas: number, available: number): ReplicaSet {
  const counts = { replicas, readyReplicas: available, availableReplicas: available };
  return { metadata: { name }, spec: { replicas, selector: {} }, status: counts };
}

const bounds = boundsOf(2, '25%', '25%');
const progressing = (status: DeploymentStatus) => status.conditions?.find(({ type }) => type === 'Progressing');

test('a rollout without progress exceeds its deadline, and progress sets the deadline anew', () => {
  const created = { status: 'True', reason: 'NewReplicaSetCreated', message: '' } as const;
  const old = replicaSet('old', 2, 2);
  const first = deploymentStatus(deployment({}), replicaSet('new', 1, 0), [old], bounds, created, START);
  assert.equal(deadlineInMs(deployment(first), first, START), 60_000);

  const later = deploymentStatus(deployment(first), replicaSet('new', 1, 1), [old], bounds, undefined, START + 50_000);
  assert.equal(progressing(later)?.reason, 'ReplicaSetUpdated');
  assert.equal(deadlineInMs(deployment(later), later, START + 50_000), 60_000);

  const waiting = deploymentStatus(
    deployment(later),
    replicaSet('new', 1, 1),
    [old],
    bounds,
    undefined,
    START + 109_000,
  );
  assert.equal(progressing(waiting)?.reason, 'ReplicaSetUpdated');
  const late = deploymentStatus(deployment(later), replicaSet('new', 1, 1), [old], bounds, undefined, START + 110_000);
  assert.deepEqual([progressing(late)?.status, progressing(late)?.reason], ['False', 'ProgressDeadlineExceeded']);
  assert.equal(progressing(late)?.message, 'ReplicaSet "new" has timed out progressing.');

  const done = deploymentStatus(deployment(late), replicaSet('new', 2, 2), [], bounds, undefined, START + 120_000);
  assert.deepEqual([progressing(done)?.status, progressing(done)?.reason], ['True', 'NewReplicaSetAvailable']);
});

test('a pod that is lost after the rollout is no progress of it', () => {
  const complete = deploymentStatus(deployment({}), replicaSet('new', 2, 2), [], bounds, undefined, START);
  const less = deploymentStatus(deployment(complete), replicaSet('new', 2, 1), [], bounds, undefined, START + 99_000);
  assert.equal(progressing(less)?.reason, 'NewReplicaSetAvailable');
  assert.equal(less.conditions?.find(({ type }) => type === 'Available')?.status, 'False');
  assert.equal(deadlineInMs(deployment(less), less, START + 99_000), undefined);
});
