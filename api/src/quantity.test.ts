/** Quantities as the Kubernetes API writes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseQuantity } from './quantity.ts';

test('reads decimal, binary and exponent forms, and nothing else', () => {
  const numbers = {
    '100m': 0.1,
    '2': 2,
    '64Mi': 67_108_864,
    '3Ki': 3072,
    '1G': 1e9,
    '1e3': 1000,
    '1.5Gi': 1.5 * 2 ** 30,
    '.5': 0.5,
    '-1': -1,
  };
  for (const [text, number] of Object.entries(numbers)) assert.equal(parseQuantity(text), number, text);
  assert.equal(parseQuantity(250), 250);
  for (const text of ['', 'x', '1 Gi', '1mi', '1e', '1.2.3', 'Mi', '1e3Ki'])
    assert.equal(parseQuantity(text), undefined, text);
});
