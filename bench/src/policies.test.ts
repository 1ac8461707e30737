import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countPolicies, renderPolicies } from './policies.ts';

test('says why instructions cannot be counted', async () => {
  const counted = await countPolicies('/nonexistent/program');
  assert.match('skipped' in counted ? counted.skipped : '', /^callgrind: .+; perf: .+/);
});

test('prints a row for each case', () => {
  const text = renderPolicies('callgrind', [{ case: 'inbound-routes', instructions: { 1: 1186, 1000: 1169 } }]);
  assert.deepEqual(
    text
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/ {2,}/)),
    [
      ['of 1', 'of 1000'],
      ['inbound-routes', '1186', '1169'],
    ],
  );
});
