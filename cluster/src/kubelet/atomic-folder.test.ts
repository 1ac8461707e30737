import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeAtomicFolder } from './atomic-folder.ts';

const files = (entries: Record<string, string>) =>
  new Map(Object.entries(entries).map(([path, text]) => [path, { content: Buffer.from(text), mode: 0o600 }]));

test('replaces all files at once, removes old ones, and leaves the same ones alone', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tulle-volume-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeAtomicFolder(folder, files({ a: '1', 'sub/b': '2' }));
  const first = await readlink(join(folder, '..data'));
  assert.equal(await readFile(join(folder, 'sub/b'), 'utf8'), '2');
  assert.equal((await stat(join(folder, 'a'))).mode & 0o777, 0o600);
  await writeAtomicFolder(folder, files({ a: '1', 'sub/b': '2' }));
  assert.equal(await readlink(join(folder, '..data')), first);
  await writeAtomicFolder(folder, files({ c: '3', a: '4' }));
  assert.equal(await readFile(join(folder, 'a'), 'utf8'), '4');
  const names = (await readdir(folder)).filter((name) => !name.startsWith('..')).sort();
  assert.deepEqual(names, ['a', 'c']);
  assert.equal((await readdir(folder)).length, 4);
});
