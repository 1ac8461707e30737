import assert from 'node:assert/strict';
import test from 'node:test';
import type { KubeObject } from '../kubernetes.ts';
import { parseTrafficSplit } from './traffic-split.ts';

const split = (spec: unknown): KubeObject => ({ metadata: { name: 'ab', namespace: 'shop' }, spec }) as KubeObject;
const BACKENDS = [{ service: 'v1', weight: 1 }];

test('reads weights of every version: quantities as texts or numbers, whole numbers', () => {
  const weights = ['900m', '100m', '1', '0.5', '1k', 90, 10, 0, 1.5, undefined];
  const { backends } = parseTrafficSplit(
    split({ service: 'web', backends: weights.map((weight, i) => ({ service: `v${i}`, weight })) }),
  );
  assert.deepEqual(
    backends.map(({ weight }) => weight / 10_000),
    [0.9, 0.1, 1, 0.5, 1000, 90, 10, 0, 1.5, 0],
  );
});

test('reads the route groups, and the name of the Service as clients write it', () => {
  const matches = [
    { kind: 'HTTPRouteGroup', name: 'a' },
    { apiGroup: 'specs.smi-spec.io', kind: 'HTTPRouteGroup', name: 'b' },
  ];
  const read = parseTrafficSplit(split({ service: 'web.shop.svc.cluster.local', matches, backends: BACKENDS }));
  assert.deepEqual([read.service, read.groups], ['web', ['a', 'b']]);
  for (const service of ['web', 'web.shop', 'web.shop.svc']) {
    assert.equal(parseTrafficSplit(split({ service, backends: BACKENDS })).service, 'web');
  }
});

test('refuses what it would have to guess', () => {
  const refuses = (spec: object, field: RegExp) =>
    assert.throws(() => parseTrafficSplit(split({ service: 'web', backends: BACKENDS, ...spec })), field);
  refuses(
    { service: 'web.other' },
    /spec.service: found "web.other", allowed is the name of a Service of namespace shop/,
  );
  refuses({ service: '' }, /spec.service/);
  refuses({ service: undefined }, /spec.service/);
  refuses({ backends: [] }, /spec.backends: /);
  refuses({ backends: [{ service: 'v1', weight: '-1' }] }, /spec.backends\[0\].weight/);
  refuses({ backends: [{ service: 'v1', weight: 'much' }] }, /spec.backends\[0\].weight/);
  refuses({ matches: [{ kind: 'TCPRoute', name: 'a' }] }, /spec.matches\[0\].kind/);
  refuses({ matches: [{ kind: 'HTTPRouteGroup' }] }, /spec.matches\[0\].name/);
  refuses({ matches: [{ apiGroup: 'x.io', kind: 'HTTPRouteGroup', name: 'a' }] }, /spec.matches\[0\].apiGroup/);
  refuses({ matches: 'all' }, /spec.matches/);
});
