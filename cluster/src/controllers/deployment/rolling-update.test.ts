import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  type Bounds,
  boundsOf,
  newReplicas,
  planProportionalScaling,
  planRollingUpdate,
  type Share,
} from './rolling-update.ts';

const share = (name: string, replicas: number, available = replicas, createdMs = 0): Share => ({
  name,
  replicas,
  available,
  createdMs,
});

test('percentages round so that a rollout can always proceed', () => {
  assert.deepEqual(boundsOf(3, '25%', '25%'), { desired: 3, maxSurge: 1, maxUnavailable: 0 });
  assert.deepEqual(boundsOf(10, '25%', '25%'), { desired: 10, maxSurge: 3, maxUnavailable: 2 });
  assert.deepEqual(boundsOf(3, 0, '10%'), { desired: 3, maxSurge: 0, maxUnavailable: 1 });
  assert.deepEqual(boundsOf(1, undefined, undefined), { desired: 1, maxSurge: 1, maxUnavailable: 0 });
  assert.deepEqual(boundsOf(2, 'nonsense', 5), { desired: 2, maxSurge: 1, maxUnavailable: 2 });
});

test('the first ReplicaSet gets all replicas at once', () => {
  assert.equal(newReplicas({ desired: 5, maxSurge: 1, maxUnavailable: 0 }, undefined, []), 5);
});

test('removes old pods that are not available first', () => {
  const bounds: Bounds = { desired: 4, maxSurge: 1, maxUnavailable: 1 };
  const plan = planRollingUpdate(bounds, share('new', 1, 0), [share('bad', 1, 0, 1), share('good', 3, 3, 0)]);
  assert.deepEqual([...plan], [['bad', 0]]);
});

test('any rollout ends with the new pods alone and never leaves its bounds', () => {
  const int = (min: number, max: number) => fc.integer({ min, max });
  fc.assert(
    fc.property(
      int(0, 12),
      int(0, 5),
      int(0, 5),
      fc.array(int(0, 6), { maxLength: 3 }),
      fc.infiniteStream(fc.boolean()),
      (desired, maxSurge, maxUnavailable, old, becomesAvailable) => {
        const bounds = boundsOf(desired, maxSurge, maxUnavailable);
        const oldShares = old.map((replicas, index) => share(`old-${index}`, replicas, replicas, index));
        const shares = [share('new', 0, 0, 99), ...oldShares];
        const startTotal = total(shares, 'replicas');
        const startAvailable = total(shares, 'available');
        let idle = 0;
        for (let step = 0; idle < 20; step++) {
          assert.ok(step < 2_000, 'does not end');
          const [first, ...rest] = shares as [Share, ...Share[]];
          const plan = planRollingUpdate(bounds, first, rest);
          for (const one of shares) {
            one.replicas = plan.get(one.name) ?? one.replicas;
            one.available = Math.min(one.available, one.replicas);
            // Some pods become available between two steps, and in the end all.
            const isProgress = becomesAvailable.next().value || idle > 5;
            if (isProgress && one.available < one.replicas) one.available++;
          }
          idle = plan.size === 0 ? idle + 1 : 0;
          assert.ok(total(shares, 'replicas') <= Math.max(startTotal, bounds.desired + bounds.maxSurge));
          const minAvailable = Math.min(startAvailable, bounds.desired - bounds.maxUnavailable);
          assert.ok(total(shares, 'available') >= minAvailable);
        }
        assert.deepEqual(
          shares.map(({ replicas }) => replicas),
          [desired, ...old.map(() => 0)],
        );
      },
    ),
    { numRuns: 200 },
  );
});

test('scaling during a rollout keeps the proportion and meets the new total', () => {
  const bounds = boundsOf(20, '25%', '25%');
  const shares = [
    { ...share('new', 5, 5, 2), maxReplicas: 13 },
    { ...share('old', 8, 8, 1), maxReplicas: 13 },
  ];
  const plan = planProportionalScaling(bounds, shares);
  assert.equal((plan.get('new') ?? 5) + (plan.get('old') ?? 8), 25);
  assert.ok((plan.get('old') ?? 0) > (plan.get('new') ?? 0));
});

test('scaling to nothing during a rollout empties every ReplicaSet', () => {
  const plan = planProportionalScaling(boundsOf(0, 1, 0), [share('new', 2), share('old', 3)]);
  assert.deepEqual(Object.fromEntries(plan), { old: 0, new: 0 });
});

function total(shares: Share[], field: 'replicas' | 'available'): number {
  return shares.reduce((sum, one) => sum + one[field], 0);
}
