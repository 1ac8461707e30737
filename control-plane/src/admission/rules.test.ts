import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkPolicy } from './rules.ts';
import { objectOf, POLICY } from './testing-rules.ts';

test('refuses a kind that it has no rules for', () => {
  const { refusal } = checkPolicy(POLICY, 'Surprise', objectOf(`${POLICY}/v1`, 'Surprise', {}));
  assert.match(refusal!, /Surprise\.policy\.linkerd\.io: found a kind/);
});
