import assert from 'node:assert/strict';
import test from 'node:test';
import { parseContextToken, parseWorkload } from './context-token.ts';

test('reads what a proxy says of itself, new form and old', () => {
  const token = '{"ns":"app","nodeName":"node-1","pod":"web-1"}';
  assert.deepEqual(parseContextToken(token), { namespace: 'app', nodeName: 'node-1', pod: 'web-1' });
  assert.deepEqual(parseContextToken('ns:app'), { namespace: 'app' });
  for (const bad of ['', '{', '[]', 'null', '{"nodeName":7}']) {
    assert.deepEqual(parseContextToken(bad), { namespace: undefined, nodeName: undefined, pod: undefined });
  }
  assert.deepEqual(parseWorkload('{"ns":"app","pod":"web-1"}'), { namespace: 'app', pod: 'web-1' });
  assert.deepEqual(parseWorkload('app:web-1'), { namespace: 'app', pod: 'web-1' });
  for (const bad of ['', 'app', 'app:', 'a:b:c', '{"ns":"app"}', '{"ns":1,"pod":2}'])
    assert.throws(() => parseWorkload(bad), bad);
});
