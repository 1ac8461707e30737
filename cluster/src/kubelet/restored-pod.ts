/** The containers of a pod as the agent begins with it: new, or as its status says they were before a restart. Pure. */

import type { Container, Pod } from '@tulle/api';
import { type ContainerRole, ContainerState } from './container-state.ts';

const LOST_EXIT_CODE = 137;

/**
 * A container that was running has died with the agent's namespaces. Main containers that had ended stay so; init
 * containers run again, because the pod's network and memory volumes are new.
 */
export function restoreContainers(pod: Pod): ContainerState[] {
  const { initContainers = [], containers = [] } = pod.spec ?? {};
  const waiting = initContainers.length > 0 ? 'PodInitializing' : 'ContainerCreating';
  const hasEnded = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
  const states: ContainerState[] = [];
  const add = (spec: Container, role: ContainerRole) => {
    const state = new ContainerState(spec, role, waiting);
    states.push(state);
    const all = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
    const before = all.find(({ name }) => name === spec.name);
    if (!before) return;
    state.restartCount = before.restartCount ?? 0;
    const { running, terminated } = before.state ?? {};
    const last = terminated ?? before.lastState?.terminated;
    const containerId = (id: string | undefined) => (id ?? '').replace(/^\w+:\/\//, '');
    if (running) {
      state.termination = {
        exitCode: LOST_EXIT_CODE,
        signal: 0,
        reason: 'ContainerStatusUnknown',
        message: 'The container could not be located when the node agent started again',
        startedAt: String(running.startedAt ?? ''),
        finishedAt: new Date().toISOString().replace(/\.\d+/, ''),
        containerId: containerId(before.containerID),
      };
    } else if (last) {
      state.termination = {
        exitCode: last.exitCode,
        signal: last.signal ?? 0,
        reason: last.reason ?? '',
        message: last.message,
        startedAt: String(last.startedAt ?? ''),
        finishedAt: String(last.finishedAt ?? ''),
        containerId: containerId(last.containerID),
      };
    } else return;
    const runsAgain = role === 'init' && !hasEnded;
    if (runsAgain || !(running || terminated)) {
      state.lastTermination = state.termination;
      state.isRestart = runsAgain;
      return;
    }
    state.phase = 'terminated';
    if (role === 'sidecar' && hasEnded) state.isStopping = true;
  };
  for (const spec of initContainers) {
    const isSidecar = (spec as { restartPolicy?: string }).restartPolicy === 'Always';
    add(spec, isSidecar ? 'sidecar' : 'init');
  }
  for (const spec of containers) add(spec, 'main');
  return states;
}
