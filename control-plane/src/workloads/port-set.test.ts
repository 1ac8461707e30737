import assert from 'node:assert/strict';
import test from 'node:test';
import { parsePortList } from './port-set.ts';

test('reads ports, ranges and names, and says what it cannot read', () => {
  const { ports, problems } = parsePortList('25, 7000-7002,redis,,70000,9-1,x', new Map([['redis', 6379]]));
  const chosen = [25, 7000, 7001, 7002, 6379].filter((port) => ports.has(port));
  assert.deepEqual(chosen, [25, 7000, 7001, 7002, 6379]);
  assert.deepEqual(
    [24, 7003, 0].filter((port) => ports.has(port)),
    [],
  );
  assert.deepEqual(
    problems,
    ['70000', '9-1', 'x'].map((entry) => `"${entry}" is not a port, a range of ports or the name of one`),
  );
});
