import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultValues, haValues } from './values.ts';
import { layerValues, parseValues, validateValues } from './values-layers.ts';

test('the defaults, and those of high availability, are valid', () => {
  assert.deepEqual(validateValues(defaultValues()), []);
  const problems: string[] = [];
  assert.deepEqual(validateValues(layerValues(defaultValues(), haValues, problems)), []);
  assert.deepEqual(problems, []);
});

test('names what is not a value, and what is of another kind', () => {
  const problems: string[] = [];
  layerValues(
    defaultValues(),
    { proxy: { colour: 'red', await: 'sometimes' }, nodeSelector: { disk: 'ssd' } },
    problems,
  );
  assert.deepEqual(problems, ['proxy.colour: there is no such value', 'proxy.await="sometimes": want a boolean']);
});

test('names every invalid value at once', () => {
  const values = layerValues(defaultValues(), {
    clusterNetworks: '10.0.0.0/8,nonsense',
    proxy: { defaultInboundPolicy: 'allow', ports: { admin: 70000 } },
  });
  assert.deepEqual(
    validateValues(values).map((problem) => problem.split('=')[0]),
    ['proxy.defaultInboundPolicy', 'clusterNetworks', 'proxy.ports.admin'],
  );
});

test('reads values of a chart that has more than we know', () => {
  const values = parseValues('linkerdVersion: edge-1\npolicyController: {logLevel: info}\nproxy: {await: false}\n');
  assert.equal(values.linkerdVersion, 'edge-1');
  assert.equal(values.proxy.await, false);
});

for (const text of ['- a', 'a: [', 'proxy: {logLevel: "a b"}']) {
  test(`refuses values ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseValues(text), { name: 'MeshError', code: 'INVALID_ARGUMENT' });
  });
}
