import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type LogQuery, readLogs } from './logs.ts';

const line = (second: number, text: string, flag = 'F') =>
  `2026-01-01T00:00:0${second}.000000000Z stdout ${flag} ${text}\n`;

async function logFile(t: import('node:test').TestContext, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tulle-log-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'c.log'), text);
  return join(folder, 'c.log');
}

async function read(path: string, query: LogQuery): Promise<string> {
  let text = '';
  for await (const part of readLogs(path, query, Promise.resolve(), new AbortController().signal)) text += part;
  return text;
}

test('gives the text of lines, parts put together, by tail, time and size', async (t) => {
  const path = await logFile(t, line(1, 'one') + line(2, 'tw', 'P') + line(2, 'o') + line(3, 'three'));
  assert.equal(await read(path, {}), 'one\ntwo\nthree\n');
  assert.equal(await read(path, { tailLines: 1 }), 'three\n');
  assert.equal(await read(path, { tailLines: 0 }), '');
  assert.equal(await read(path, { sinceMs: Date.parse('2026-01-01T00:00:02Z') }), 'two\nthree\n');
  assert.equal(await read(path, { limitBytes: 5 }), 'one\nt');
  assert.equal(await read(path, { tailLines: 1, timestamps: true }), '2026-01-01T00:00:03.000000000Z three\n');
});

test('follows what is written, through a rotation, until the container ends', async (t) => {
  const path = await logFile(t, line(1, 'one'));
  const ended = Promise.withResolvers<void>();
  const lines = readLogs(path, { follow: true }, ended.promise, new AbortController().signal);
  const next = async () => String((await lines.next()).value);
  assert.equal(await next(), 'one\n');
  await appendFile(path, line(2, 'two'));
  assert.equal(await next(), 'two\n');
  await appendFile(path, line(2, 'last'));
  await rename(path, `${path}.1`);
  await writeFile(path, line(3, 'x'));
  assert.equal(await next(), 'last\n');
  assert.equal(await next(), 'x\n');
  await appendFile(path, line(3, 'y'));
  assert.equal(await next(), 'y\n');
  ended.resolve();
  assert.equal((await lines.next()).done, true);
});
