import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Contender } from './contender.ts';
import { figure, renderTables, summarize } from './report.ts';
import type { Sample } from './rounds.ts';

test('a figure is the median and half the range between the quartiles', () => {
  assert.deepEqual(figure([9, 1, 3, 5, 7]), { median: 5, spread: 2 });
  assert.deepEqual(figure([1, 2]), { median: 1.5, spread: 0.25 });
});

test('proxies are compared with the floor and the direct path of the same round', () => {
  const sample = (contender: string, round: number, cpuUs: number, p50: number): Sample => ({
    contender,
    case: 'echo c=1',
    round,
    requests: 100,
    perSecond: 100,
    latencyUs: { p50, p90: p50, p99: p50 },
    clientUs: cpuUs,
    serverUs: cpuUs,
  });
  const samples = [
    ...[sample('direct', 1, 0, 10), sample('floor', 1, 10, 20), sample('tulle', 1, 15, 30)],
    // A round in which the machine was twice as slow.
    ...[sample('direct', 2, 0, 20), sample('floor', 2, 20, 40), sample('tulle', 2, 30, 60)],
  ];
  const contenders = (['direct', 'floor', 'tulle'] as const).map((name) => ({
    name,
    kind: name === 'tulle' ? 'proxy' : name,
  })) as Contender[];
  const [direct, floor, tulle] = summarize(samples, contenders);
  assert.equal(direct?.timesFloor, null);
  assert.deepEqual(floor?.timesFloor, { median: 1, spread: 0 });
  assert.deepEqual(tulle?.timesFloor, { median: 1.5, spread: 0 });
  assert.deepEqual(tulle?.addedP50Us.median, 30);
  assert.match(
    renderTables({ rounds: 2, seconds: 1, contenders: [], cases: summarize(samples, contenders) }),
    /1\.50 ±0\.00/,
  );
});
