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
  const pod = { kind: 'Pod', namespace: 'app', name: 'web-1' };
  assert.deepEqual(parseWorkload('{"ns":"app","pod":"web-1"}'), pod);
  assert.deepEqual(parseWorkload('app:web-1'), pod);
  const external = { ...pod, kind: 'ExternalWorkload' };
  assert.deepEqual(parseWorkload('{"ns":"app","external_workload":"web-1"}'), external);
  for (const bad of [
    '',
    'app',
    'app:',
    'a:b:c',
    '{"ns":"app"}',
    '{"ns":1,"pod":2}',
    '{"ns":"a","pod":"b","external_workload":"c"}',
  ])
    assert.throws(() => parseWorkload(bad), bad);
});
