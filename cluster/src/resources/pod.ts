/** Pods: defaults, validation, graceful deletion, table. */

import { isDeepStrictEqual } from 'node:util';
import { type FieldError, forbiddenField, invalidValue } from '../apiserver/status.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { age, ageColumn, joined, nameColumn } from './columns.ts';
import { defineResource } from './define.ts';
import { applyPodSpecDefaults } from './pod-defaults.ts';
import type { Column, Resource } from './resource.ts';
import { validatePodSpec } from './validate-pod-spec.ts';

export const pods: Resource = defineResource({
  group: '',
  version: 'v1',
  kind: 'Pod',
  plural: 'pods',
  namespaced: true,
  shortNames: ['po'],
  categories: ['all'],
  subresources: [
    { name: 'binding', kind: 'Binding', verbs: ['create'] },
    { name: 'eviction', kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] },
    { name: 'log', kind: 'Pod', verbs: ['get'] },
    { name: 'portforward', kind: 'PodPortForwardOptions', verbs: ['create', 'get'] },
  ],
  selectableFields: {
    'spec.nodeName': (pod) => pod.spec?.nodeName ?? '',
    'spec.restartPolicy': (pod) => pod.spec?.restartPolicy ?? '',
    'spec.schedulerName': (pod) => pod.spec?.schedulerName ?? '',
    'spec.serviceAccountName': (pod) => pod.spec?.serviceAccountName ?? '',
    'spec.hostNetwork': (pod) => String(pod.spec?.hostNetwork ?? false),
    'status.phase': (pod) => pod.status?.phase ?? '',
    'status.podIP': (pod) => pod.status?.podIP ?? '',
    'status.nominatedNodeName': (pod) => pod.status?.nominatedNodeName ?? '',
  },
  applyDefaults: (pod) => {
    pod.spec ??= {};
    applyPodSpecDefaults(pod.spec);
    pod.spec.enableServiceLinks ??= true;
  },
  prepareCreate: (pod) => {
    pod.status = { phase: 'Pending', qosClass: qosClass(pod.spec) };
  },
  validate: (pod) => validatePodSpec(pod.spec ?? {}, 'spec'),
  validateUpdate: validatePodUpdate,
  gracePeriodSeconds,
  columns: podColumns(),
});

function gracePeriodSeconds(pod: StoredObject, requested: number | undefined): number {
  if (!pod.spec.nodeName || ['Succeeded', 'Failed'].includes(pod.status?.phase)) return 0;
  const grace = requested ?? pod.spec.terminationGracePeriodSeconds ?? 30;
  return grace < 0 ? 1 : grace;
}

function qosClass(spec: Fields): string {
  const containers: Fields[] = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  const quantities = (kind: string, container: Fields): Fields => container.resources?.[kind] ?? {};
  const names = ['cpu', 'memory'];
  const hasAny = containers.some((c) => names.some((n) => quantities('requests', c)[n] ?? quantities('limits', c)[n]));
  if (!hasAny) return 'BestEffort';
  const isGuaranteed = containers.every((c) =>
    names.every(
      (n) =>
        quantities('limits', c)[n] !== undefined &&
        (quantities('requests', c)[n] ?? quantities('limits', c)[n]) === quantities('limits', c)[n],
    ),
  );
  return isGuaranteed ? 'Guaranteed' : 'Burstable';
}

/** Only images, deadlines, added tolerations and a few more may change once a pod is there. */
function validatePodUpdate(pod: Fields, old: StoredObject): FieldError[] {
  const bare = (spec: Fields): Fields => {
    const strip = (containers: Fields[] | undefined) =>
      containers?.map(({ image: _, imagePullPolicy: __, ...rest }) => rest);
    const { activeDeadlineSeconds, tolerations, terminationGracePeriodSeconds, schedulingGates, nodeName, ...rest } =
      spec;
    return { ...rest, containers: strip(spec.containers), initContainers: strip(spec.initContainers) };
  };
  const errors: FieldError[] = [];
  const { spec } = pod;
  if (!isDeepStrictEqual(bare(spec), bare(old.spec))) {
    errors.push(
      forbiddenField(
        'spec',
        'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
      ),
    );
  }
  if (old.spec.nodeName !== undefined && spec.nodeName !== old.spec.nodeName) {
    errors.push(invalidValue('spec.nodeName', spec.nodeName, 'field is immutable once set'));
  }
  for (const toleration of old.spec.tolerations ?? []) {
    const isKept = spec.tolerations?.some((t: Fields) =>
      isDeepStrictEqual({ ...t, tolerationSeconds: 0 }, { ...toleration, tolerationSeconds: 0 }),
    );
    if (!isKept)
      errors.push(
        forbiddenField('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds'),
      );
  }
  return errors;
}

function podColumns(): Column[] {
  return [
    nameColumn,
    { name: 'Ready', value: (pod) => readyCount(pod) },
    { name: 'Status', value: (pod) => podReason(pod) },
    { name: 'Restarts', value: (pod, nowMs) => restarts(pod, nowMs) },
    ageColumn,
    { name: 'IP', priority: 1, value: (pod) => pod.status?.podIP ?? '<none>' },
    { name: 'Node', priority: 1, value: (pod) => pod.spec?.nodeName ?? '<none>' },
    { name: 'Nominated Node', priority: 1, value: (pod) => pod.status?.nominatedNodeName ?? '<none>' },
    { name: 'Readiness Gates', priority: 1, value: (pod) => readinessGates(pod) },
  ];
}

const isSidecar = (container: Fields | undefined) => container?.restartPolicy === 'Always';

function sidecarNames(pod: Fields): Set<string> {
  return new Set((pod.spec?.initContainers ?? []).filter(isSidecar).map((container: Fields) => container.name));
}

function readyCount(pod: Fields): string {
  const sidecars = sidecarNames(pod);
  const statuses: Fields[] = [
    ...(pod.status?.initContainerStatuses ?? []).filter(
      (status: Fields) => sidecars.has(status.name) && status.started !== false,
    ),
    ...(pod.status?.containerStatuses ?? []),
  ];
  const total = (pod.spec?.containers?.length ?? 0) + sidecars.size;
  return `${statuses.filter((status) => status.ready && (status.state?.running !== undefined || sidecars.has(status.name))).length}/${total}`;
}

function restarts(pod: Fields, nowMs: number): string {
  const sidecars = sidecarNames(pod);
  const init: Fields[] = pod.status?.initContainerStatuses ?? [];
  const isInitializing = !hasCondition(pod, 'Initialized');
  const counted = [
    ...init.filter((status) => isInitializing || sidecars.has(status.name)),
    ...(pod.status?.containerStatuses ?? []),
  ];
  const count = counted.reduce((sum, status) => sum + (status.restartCount ?? 0), 0);
  const last = counted
    .map((status) => status.lastState?.terminated?.finishedAt)
    .filter((time) => time !== undefined)
    .sort()
    .at(-1);
  return count > 0 && last !== undefined ? `${count} (${age(last, nowMs)} ago)` : String(count);
}

const hasCondition = (pod: Fields, type: string) =>
  (pod.status?.conditions ?? []).some((condition: Fields) => condition.type === type && condition.status === 'True');

/** The one word that kubectl shows for a pod's state. */
function podReason(pod: Fields): string {
  const status = pod.status ?? {};
  let reason: string = status.reason ?? status.phase ?? 'Unknown';
  const gated = (status.conditions ?? []).some(
    (c: Fields) => c.type === 'PodScheduled' && c.reason === 'SchedulingGated',
  );
  if (gated) reason = 'SchedulingGated';
  const initContainers = new Map<string, Fields>((pod.spec?.initContainers ?? []).map((c: Fields) => [c.name, c]));
  let isInitializing = false;
  for (const [i, container] of (status.initContainerStatuses ?? []).entries()) {
    const { terminated, waiting } = container.state ?? {};
    if (terminated?.exitCode === 0) continue;
    if (isSidecar(initContainers.get(container.name)) && container.started === true) continue;
    isInitializing = true;
    if (terminated !== undefined)
      reason = `Init:${terminated.reason ?? (terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode}`)}`;
    else if (waiting?.reason !== undefined && waiting.reason !== 'PodInitializing') reason = `Init:${waiting.reason}`;
    else reason = `Init:${i}/${initContainers.size}`;
    break;
  }
  if (!isInitializing || hasCondition(pod, 'Initialized')) {
    let hasRunning = false;
    for (const container of [...(status.containerStatuses ?? [])].reverse()) {
      const { terminated, waiting, running } = container.state ?? {};
      if (waiting?.reason !== undefined) reason = waiting.reason;
      else if (terminated !== undefined) {
        reason =
          terminated.reason ?? (terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode}`);
      } else if (container.ready && running !== undefined) hasRunning = true;
    }
    if (reason === 'Completed' && hasRunning) reason = hasCondition(pod, 'Ready') ? 'Running' : 'NotReady';
  }
  if (pod.metadata.deletionTimestamp !== undefined) {
    if (status.reason === 'NodeLost') return 'Unknown';
    if (!['Succeeded', 'Failed'].includes(status.phase)) return 'Terminating';
  }
  return reason;
}

function readinessGates(pod: Fields): string {
  const gates: Fields[] = pod.spec?.readinessGates ?? [];
  if (gates.length === 0) return joined(undefined);
  return `${gates.filter((gate) => hasCondition(pod, gate.conditionType)).length}/${gates.length}`;
}
