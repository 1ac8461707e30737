/** StatefulSets: pods with stable names, made and replaced in order. The API server refuses those with volumes of their own. */

import {
  CONTROLLER_REVISIONS,
  type ControllerRevision,
  objectKey,
  PODS,
  type Pod,
  STATEFUL_SETS,
  type StatefulSet,
} from '@tulle/api';
import { matchesSelector } from '@tulle/client';
import { type ControllerContext, enqueueController, enqueueEach } from '../controller-context.ts';
import { ensureRevision, REVISION_HASH, templateOf, truncateHistory } from '../controller-revisions.ts';
import { claim } from '../ownership.ts';
import { createPod, deletePods } from '../pod-control.ts';
import { nextAvailableMs } from '../pod-state.ts';
import { podFromTemplate } from '../pod-template.ts';
import { isSameStatus } from '../status-conditions.ts';
import { ordinalOf, type Plan, POD_NAME, planStatefulSet } from './plan.ts';

const POD_INDEX = 'apps.kubernetes.io/pod-index';

export function startStatefulSetController(context: ControllerContext): void {
  const sets = context.collection<StatefulSet>(STATEFUL_SETS);
  const pods = context.collection<Pod>(PODS);
  const revisions = context.collection<ControllerRevision>(CONTROLLER_REVISIONS);
  const recorder = context.recorder('statefulset-controller');
  const queue = context.queue('stateful-set', sync);
  enqueueEach(sets, queue);
  enqueueController(pods, STATEFUL_SETS, queue, (orphan) => {
    for (const set of sets.inNamespace(orphan.metadata.namespace ?? '')) {
      if (matchesSelector(set.spec?.selector, orphan.metadata.labels)) queue.add(objectKey(set));
    }
  });

  async function sync(key: string): Promise<void> {
    const set = sets.get(key);
    if (!set?.spec || set.metadata.deletionTimestamp) return;
    const claimed = await claim(pods, STATEFUL_SETS, set, set.spec.selector);
    const own = claimed.filter((pod) => ordinalOf(pod, set) >= 0);
    const ensured = await ensureRevision(revisions, STATEFUL_SETS, set as never, set.status?.collisionCount ?? 0);
    if ('isNameTaken' in ensured) {
      const collisionCount = (set.status?.collisionCount ?? 0) + 1;
      await sets.updateStatus({ ...set, status: { replicas: 0, ...set.status, collisionCount } });
      return;
    }
    const update = ensured.revision;
    const current = revisions.get(`${set.metadata.namespace}/${set.status?.currentRevision}`) ?? update;
    const situation = {
      set,
      pods: own,
      currentRevision: current.metadata.name,
      updateRevision: update.metadata.name,
      nowMs: context.now(),
    };
    const plan = planStatefulSet(situation);
    await execute(set, plan, [current, update]);

    const present = pods.controlledBy(set.metadata.uid ?? '').filter((pod) => ordinalOf(pod, set) >= 0);
    const { status } = planStatefulSet({ ...situation, pods: present });
    const latest = sets.get(key);
    if (latest && !isSameStatus(status, latest.status)) await sets.updateStatus({ ...latest, status });
    await truncateHistory(revisions, set, present, [current, update], set.spec.revisionHistoryLimit);
    const nextMs = nextAvailableMs(present, set.spec.minReadySeconds, context.now());
    if (nextMs !== undefined) queue.addAfter(key, nextMs);
  }

  async function execute(set: StatefulSet, plan: Plan, known: ControllerRevision[]): Promise<void> {
    for (const pod of plan.restore) {
      await pods.patch(pod, { metadata: { labels: { [POD_NAME]: pod.metadata.name } } });
    }
    await deletePods(pods, recorder, set, plan.delete);
    await Promise.all(
      plan.create.map(({ ordinal, revision }) => {
        const template = known.find(({ metadata }) => metadata.name === revision);
        return template ? createPod(pods, recorder, set, newPod(set, template, ordinal)) : undefined;
      }),
    );
  }
}

function newPod(set: StatefulSet, revision: ControllerRevision, ordinal: number): Pod {
  const name = `${set.metadata.name}-${ordinal}`;
  const labels = {
    [REVISION_HASH]: revision.metadata.name,
    [POD_NAME]: name,
    [POD_INDEX]: String(ordinal),
  };
  const pod = podFromTemplate(templateOf(revision), STATEFUL_SETS, set, { name, labels });
  const { serviceName } = set.spec ?? {};
  pod.spec = { containers: [], ...pod.spec, hostname: name, ...(serviceName ? { subdomain: serviceName } : {}) };
  return pod;
}
