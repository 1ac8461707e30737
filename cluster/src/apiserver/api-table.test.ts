import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { apiTable } from './api-table.ts';

test('docs/cluster-api.md is what the script makes of the code', () => {
  const file = join(import.meta.dirname, '../../../docs/cluster-api.md');
  assert.equal(readFileSync(file, 'utf8'), apiTable(), 'run: node cluster/scripts/api-table.ts');
});
