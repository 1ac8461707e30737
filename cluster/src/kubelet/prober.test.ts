import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ProbeSpec, startProber } from './prober.ts';

/** A probe on a fake clock; `answers` are used up one by one, the last one stays. */
function probe(
  t: import('node:test').TestContext,
  kind: 'startup' | 'readiness' | 'liveness',
  spec: ProbeSpec,
  answers: boolean[],
) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let nowMs = 0;
  t.mock.method(performance, 'now', () => nowMs);
  const verdicts: [number, boolean][] = [];
  const failures: number[] = [];
  let asked = 0;
  const stop = startProber({
    spec,
    kind,
    run: async () => {
      if (!answers[Math.min(asked++, answers.length - 1)]) throw new Error('no');
    },
    onVerdict: (ok) => verdicts.push([nowMs, ok]),
    onFailure: () => failures.push(nowMs),
  });
  const advance = async (ms: number) => {
    for (let step = 0; step < ms; step += 50) {
      nowMs += step === 0 ? 0 : 50;
      t.mock.timers.tick(step === 0 ? 0 : 50);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { verdicts, failures, stop, advance, asked: () => asked };
}

test('is ready soon after the program is, without counting the early failures', async (t) => {
  const { verdicts, failures, advance, stop } = probe(t, 'readiness', { periodSeconds: 10 }, [
    false,
    false,
    false,
    true,
  ]);
  await advance(1000);
  stop();
  assert.equal(verdicts.length, 1);
  assert.ok(verdicts[0]?.[1] && verdicts[0][0] < 500);
  assert.equal(failures.length, 1);
});

test('fails after failureThreshold failures in a row', async (t) => {
  const spec = { periodSeconds: 1, failureThreshold: 3 };
  const { verdicts, advance, stop } = probe(t, 'liveness', spec, [true, false, false, true, false, false, false]);
  await advance(6000);
  assert.deepEqual(
    verdicts.map(([, ok]) => ok),
    [true, true],
  );
  await advance(1100);
  stop();
  assert.deepEqual(
    verdicts.map(([, ok]) => ok),
    [true, true, false],
  );
});

test('waits for its initial delay, and is silent once stopped', async (t) => {
  const { asked, advance, stop } = probe(t, 'liveness', { initialDelaySeconds: 2, periodSeconds: 1 }, [true]);
  await advance(1900);
  assert.equal(asked(), 0);
  await advance(200);
  assert.equal(asked(), 1);
  stop();
  await advance(3000);
  assert.equal(asked(), 1);
});
