/** The scheduler: binds every pod that has no node to one, and says why where it cannot. */

import { NODES, type Node, objectKey, PODS, type Pod } from '@tulle/api';
import { objectPath } from '@tulle/client';
import type { ControllerContext } from '../controllers/controller-context.ts';
import { isPodFinished, podCondition } from '../controllers/pod-state.ts';
import { setCondition } from '../controllers/status-conditions.ts';
import { chooseNode } from './choose-node.ts';
import type { NodeState } from './pod-affinity.ts';

const SCHEDULER_NAME = 'default-scheduler';

export function startScheduler(context: ControllerContext): void {
  const pods = context.collection<Pod>(PODS);
  const nodes = context.collection<Node>(NODES);
  const recorder = context.recorder(SCHEDULER_NAME);
  const states = new Map<string, NodeState>();
  const placed = new Map<string, string>();
  const waiting = new Set<string>();
  // One worker: each decision sees the one before.
  const queue = context.queue('scheduler', sync, { workers: 1 });

  nodes.subscribe(({ object, isDeleted }) => {
    const { name } = object.metadata;
    if (isDeleted) states.delete(name);
    else states.set(name, { node: object, pods: states.get(name)?.pods ?? podsOn(name) });
    retryWaiting();
  });
  pods.subscribe(({ object, isDeleted }) => {
    const key = objectKey(object);
    const isGone = isDeleted || isPodFinished(object);
    place(key, isGone ? undefined : object);
    if (isGone) {
      waiting.delete(key);
      retryWaiting();
    } else if (isOurs(object)) queue.add(key);
  });

  function podsOn(name: string): Pod[] {
    return pods.list().filter((pod) => pod.spec?.nodeName === name && !isPodFinished(pod));
  }

  /** Keeps what is on which node, so that a decision does not look at every pod there is. */
  function place(key: string, pod: Pod | undefined): void {
    const before = placed.get(key);
    const state = before && states.get(before);
    if (state) state.pods = state.pods.filter((other) => objectKey(other) !== key);
    placed.delete(key);
    const nodeName = pod?.spec?.nodeName;
    if (!pod || !nodeName) return;
    placed.set(key, nodeName);
    states.get(nodeName)?.pods.push(pod);
  }

  function retryWaiting(): void {
    for (const key of waiting) queue.add(key);
  }

  async function sync(key: string): Promise<void> {
    const pod = pods.get(key);
    if (!pod || !isOurs(pod)) {
      waiting.delete(key);
      return;
    }
    if (pod.spec?.schedulingGates?.length) return;
    const choice = chooseNode(pod, [...states.values()]);
    if ('unschedulable' in choice) {
      waiting.add(key);
      await tellUnschedulable(pod, choice.unschedulable);
      return;
    }
    await bind(pod, choice.node);
    waiting.delete(key);
    const message = `Successfully assigned ${pod.metadata.namespace}/${pod.metadata.name} to ${choice.node}`;
    recorder.record(pod, 'Normal', 'Scheduled', message);
  }

  async function bind(pod: Pod, node: string): Promise<void> {
    const { name, namespace, uid } = pod.metadata;
    const binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name, namespace, uid },
      target: { apiVersion: 'v1', kind: 'Node', name: node },
    };
    const answer = await context.client.request('POST', objectPath(PODS, name, namespace, 'binding'), {
      body: binding,
    });
    await answer.text();
    // The watch tells it in a moment; the next decision counts with it already.
    place(objectKey(pod), { ...pod, spec: { ...pod.spec, nodeName: node } as Pod['spec'] });
  }

  async function tellUnschedulable(pod: Pod, message: string): Promise<void> {
    const present = podCondition(pod, 'PodScheduled');
    if (present?.status === 'False' && present.message === message) return;
    recorder.record(pod, 'Warning', 'FailedScheduling', message);
    const conditions = setCondition(pod.status?.conditions, context.now(), {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
    });
    const wanted = conditions?.find((condition) => condition.type === 'PodScheduled');
    await pods.patch(pod, { status: { conditions: [wanted] } }, 'status');
  }
}

function isOurs({ spec, metadata, status }: Pod): boolean {
  const isDone = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  const scheduler = spec?.schedulerName ?? SCHEDULER_NAME;
  return !spec?.nodeName && !metadata.deletionTimestamp && !isDone && scheduler === SCHEDULER_NAME;
}
