import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { pod } from './testing/scripted-server.ts';
import { readWatch, type WatchEvent } from './watch-stream.ts';

const events: WatchEvent[] = [
  { type: 'ADDED', object: pod('a', '1') },
  { type: 'MODIFIED', object: { ...pod('añ→😀', '2'), note: 'line\nbreak' } },
  { type: 'BOOKMARK', object: pod('', '3') },
];

test('reads the same events wherever the body is cut', async () => {
  const bytes = Buffer.from(`${events.map((event) => JSON.stringify(event)).join('\n')}\n`);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: bytes.length })), async (cuts) => {
      const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      const chunks = edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
      assert.deepEqual(await collect(chunks), events);
    }),
    { numRuns: 50 },
  );
});

test('drops a last line that was cut off', async () => {
  const line = JSON.stringify(events[0]);
  assert.deepEqual(await collect([Buffer.from(`${line}\n${line.slice(0, 20)}`)]), [events[0]]);
});

test('an ERROR event ends the watch with its status', async () => {
  const status = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
  const error = await collect([Buffer.from(`${JSON.stringify({ type: 'ERROR', object: status })}\n`)]).catch((e) => e);
  assert.equal(error.code, 'OUT_OF_RANGE');
  assert.deepEqual(error.status, status);
});

test('a line that is no event is an error, not a crash', async () => {
  for (const line of ['nonsense', 'null', '{"type":"ADDED"}', '[]']) {
    await assert.rejects(collect([Buffer.from(`${line}\n`)]), { code: 'DATA_LOSS' });
  }
});

async function collect(chunks: Uint8Array[]): Promise<WatchEvent[]> {
  async function* body() {
    yield* chunks;
  }
  return await Array.fromAsync(readWatch(body(), 'watch pods'));
}
