import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '@tulle/api';
import { backoffMs, ContainerState } from './container-state.ts';
import { podPhase, podStatus } from './pod-status.ts';
import { restoreContainers } from './restored-pod.ts';

const NOW = '2026-01-01T00:00:00Z';

function pod(spec: object = {}, status: object = {}): Pod {
  return {
    metadata: { name: 'p', namespace: 'ns', uid: 'u' },
    spec: { containers: [{ name: 'c' }], ...spec },
    status,
  } as unknown as Pod;
}

function container(role: 'init' | 'sidecar' | 'main', fields: Partial<ContainerState> = {}): ContainerState {
  return Object.assign(new ContainerState({ name: role }, role, 'ContainerCreating'), fields);
}

const ended = (exitCode: number): Partial<ContainerState> => ({
  phase: 'terminated',
  termination: { exitCode, signal: 0, reason: 'Completed', startedAt: NOW, finishedAt: NOW, containerId: 'x' },
});
const up: Partial<ContainerState> = { phase: 'running', isStarted: true, isReady: true, startedAt: NOW };

function facts(containers: ContainerState[], spec: object = {}, status: object = {}) {
  return {
    pod: pod(spec, status),
    containers,
    hasSandbox: true,
    podIps: ['10.42.0.5'],
    hostIps: ['10.42.0.1'],
    startTime: NOW,
    now: NOW,
  };
}

test('goes through the phases of a pod', () => {
  const phase = (containers: ContainerState[], restartPolicy: string) => podPhase(facts(containers, { restartPolicy }));
  assert.equal(phase([container('init', { phase: 'running' }), container('main')], 'Always'), 'Pending');
  assert.equal(phase([container('init', ended(0)), container('main', up)], 'Always'), 'Running');
  assert.equal(phase([container('main', ended(1))], 'Always'), 'Running');
  assert.equal(phase([container('main', ended(0))], 'Never'), 'Succeeded');
  assert.equal(phase([container('main', ended(1))], 'OnFailure'), 'Running');
  assert.equal(phase([container('init', ended(1)), container('main')], 'Never'), 'Failed');
  assert.equal(phase([container('init', ended(1)), container('main')], 'Always'), 'Pending');
});

test('is over only when its sidecars have ended too', () => {
  const main = container('main', ended(0));
  assert.equal(podPhase(facts([container('sidecar', up), main], { restartPolicy: 'Never' })), 'Running');
  const over = container('sidecar', { ...ended(143), isStopping: true });
  assert.equal(podPhase(facts([over, main], { restartPolicy: 'Never' })), 'Succeeded');
});

test('is ready when containers, sidecars and gates are', () => {
  const ready = (containers: ContainerState[], spec: object = {}, status: object = {}) =>
    podStatus(facts(containers, spec, status)).conditions?.find(({ type }) => type === 'Ready')?.status;
  assert.equal(ready([container('sidecar', up), container('main', up)]), 'True');
  assert.equal(ready([container('sidecar', { ...up, isReady: false }), container('main', up)]), 'False');
  const gates = { readinessGates: [{ conditionType: 'x/y' }] };
  assert.equal(ready([container('main', up)], gates), 'False');
  assert.equal(ready([container('main', up)], gates, { conditions: [{ type: 'x/y', status: 'True' }] }), 'True');
});

test('keeps the time of a condition that has not changed', () => {
  const before = { conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2025-01-01T00:00:00Z' }] };
  const { conditions } = podStatus(facts([container('main', up)], {}, before));
  const time = (type: string) => conditions?.find((c) => c.type === type)?.lastTransitionTime;
  assert.equal(time('Ready'), '2025-01-01T00:00:00Z');
  assert.equal(time('ContainersReady'), NOW);
});

test('restarts at once, then after 10 s doubling to 5 min', () => {
  assert.deepEqual([1, 2, 3, 4, 7, 20].map(backoffMs), [1000, 10_000, 20_000, 40_000, 300_000, 300_000]);
});

test('takes up a pod after a restart: what ran is lost, what had ended stays', () => {
  const status = {
    phase: 'Running',
    initContainerStatuses: [{ name: 'i', restartCount: 0, state: { terminated: { exitCode: 0 } } }],
    containerStatuses: [
      { name: 'a', restartCount: 2, state: { running: { startedAt: NOW } } },
      { name: 'b', restartCount: 0, state: { terminated: { exitCode: 0, reason: 'Completed' } } },
    ],
  };
  const [i, a, b] = restoreContainers(
    pod({ initContainers: [{ name: 'i' }], containers: [{ name: 'a' }, { name: 'b' }] }, status),
  );
  assert.deepEqual([i?.phase, i?.isRestart], ['waiting', true]);
  assert.deepEqual([a?.phase, a?.termination?.exitCode, a?.restartCount], ['terminated', 137, 2]);
  assert.deepEqual([b?.phase, b?.termination?.exitCode], ['terminated', 0]);
});
