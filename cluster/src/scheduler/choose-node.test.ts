import assert from 'node:assert/strict';
import test from 'node:test';
import type { Node, Pod } from '@tulle/api';
import { chooseNode } from './choose-node.ts';
import type { NodeState } from './pod-affinity.ts';
import { amount, requestsOf } from './resources.ts';

function state(
  name: string,
  changes: { labels?: Record<string, string>; spec?: object; allocatable?: object; pods?: Pod[] } = {},
): NodeState {
  const { labels = {}, spec = {}, allocatable = {}, pods = [] } = changes;
  return { node: { metadata: { name, labels }, spec, status: { allocatable } } as Node, pods: [...pods] };
}

let serial = 0;
function pod(spec: object = {}, metadata: object = {}): Pod {
  return { metadata: { name: `p${serial++}`, namespace: 'ns', ...metadata }, spec: { containers: [], ...spec } } as Pod;
}

const owned = { ownerReferences: [{ apiVersion: 'v1', kind: 'X', name: 'x', uid: 'x', controller: true }] };

test('spreads the pods of one owner over the nodes', () => {
  const nodes = [state('a'), state('b'), state('c')];
  for (let index = 0; index < 6; index++) {
    const one = pod({}, owned);
    const choice = chooseNode(one, nodes);
    assert.ok('node' in choice);
    nodes.find(({ node }) => node.metadata.name === choice.node)?.pods.push(one);
  }
  assert.deepEqual(
    nodes.map(({ pods }) => pods.length),
    [2, 2, 2],
  );
});

test('counts the nodes by the reason for which they are refused', () => {
  const taints = [{ key: 'dedicated', value: 'db', effect: 'NoSchedule' }];
  const nodes = [
    state('a', { spec: { taints } }),
    state('b', { spec: { taints } }),
    state('c', { spec: { unschedulable: true } }),
    state('d', { labels: { disk: 'ssd' }, allocatable: { cpu: '100m' } }),
  ];
  const wanted = pod({ containers: [{ name: 'c', resources: { requests: { cpu: '1' } } }] });
  assert.deepEqual(chooseNode(wanted, nodes), {
    unschedulable:
      '0/4 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable.',
  });
  const tolerant = pod({ tolerations: [{ key: 'dedicated', operator: 'Exists' }] });
  assert.deepEqual(chooseNode(tolerant, nodes.slice(0, 1)), { node: 'a' });
  assert.deepEqual(chooseNode(pod(), []), { unschedulable: '0/0 nodes are available.' });
});

test('follows node selectors, required and preferred affinity', () => {
  const nodes = [state('a', { labels: { zone: 'one', n: '3' } }), state('b', { labels: { zone: 'two', n: '7' } })];
  assert.deepEqual(chooseNode(pod({ nodeSelector: { zone: 'two' } }), nodes), { node: 'b' });
  const required = (term: object) => ({
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } } },
  });
  assert.deepEqual(
    chooseNode(pod(required({ matchExpressions: [{ key: 'n', operator: 'Gt', values: ['5'] }] })), nodes),
    { node: 'b' },
  );
  assert.deepEqual(
    chooseNode(pod(required({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['b'] }] })), nodes),
    { node: 'b' },
  );
  assert.ok('unschedulable' in chooseNode(pod(required({})), nodes));
  const preference = { matchExpressions: [{ key: 'zone', operator: 'In', values: ['two'] }] };
  const preferred = { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 5, preference }] };
  assert.deepEqual(chooseNode(pod({ affinity: { nodeAffinity: preferred } }), nodes), { node: 'b' });
});

test('keeps pods apart or together as they require', () => {
  const topologyKey = 'kubernetes.io/hostname';
  const labels = { app: 'web' };
  const term = { topologyKey, labelSelector: { matchLabels: labels } };
  const apart = { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
  const nodes = [state('a', { pods: [pod({ affinity: apart }, { labels })] }), state('b')];
  assert.deepEqual(chooseNode(pod({ affinity: apart }, { labels }), nodes), { node: 'b' });
  assert.deepEqual(chooseNode(pod({}, { labels }), nodes), { node: 'b' });
  const together = { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
  assert.deepEqual(chooseNode(pod({ affinity: together }), nodes), { node: 'a' });
  assert.deepEqual(chooseNode(pod({ affinity: together }, { labels }), [state('b')]), { node: 'b' });
  const constraint = {
    topologyKey,
    maxSkew: 1,
    whenUnsatisfiable: 'DoNotSchedule',
    labelSelector: { matchLabels: labels },
  };
  assert.deepEqual(chooseNode(pod({ topologySpreadConstraints: [constraint] }, { labels }), nodes), { node: 'b' });
});

test('reads quantities and adds up what a pod asks for', () => {
  assert.deepEqual(
    ['250m', '2', '64Mi', '3Ki', '1e3', '1.5Gi', 'x', undefined].map(amount),
    [0.25, 2, 67108864, 3072, 1000, 1610612736, 0, 0],
  );
  const request = (cpu: string) => ({ resources: { requests: { cpu } } });
  const spec = {
    initContainers: [
      { name: 'proxy', restartPolicy: 'Always', ...request('100m') },
      { name: 'init', ...request('2') },
    ],
    containers: [{ name: 'a', ...request('500m') }],
  };
  assert.equal(requestsOf(spec).cpu, 2.1);
});
