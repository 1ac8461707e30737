/** Fills the index of inbound policies from the cluster. */
import type { KubeObject } from '@tulle/api';
import type { ClusterState } from '../../workloads/cluster-state.ts';
import type { Topic, WorkloadIndex } from '../../workloads/workload-index.ts';
import type { AuthorizationSettings } from './authorization-set.ts';
import { INBOUND_KINDS, InboundIndex, SMI_INBOUND_KINDS } from './inbound-index.ts';
import { workloadOfTopic } from './workload.ts';

/** Call before `state.start`. */
export function watchInboundPolicies(
  state: ClusterState,
  settings: AuthorizationSettings & { isSmiEnabled: boolean },
): InboundIndex {
  const index = new InboundIndex(settings);
  for (const kind of [...INBOUND_KINDS, ...(settings.isSmiEnabled ? SMI_INBOUND_KINDS : [])]) {
    const apply = (type: 'set' | 'delete', object: KubeObject) => expand(index.apply(kind, type, object), state.index);
    state.watch(kind, apply, {
      isOptional: true,
      problems: (object) => index.problems(kind, object),
    });
  }
  state.onChange((topics) => index.refresh(topics, state.index));
  return index;
}

/** What is told of a workload depends on more than it: its endpoints of Services too are other ones now. */
function expand(topics: ReadonlySet<Topic>, workloads: WorkloadIndex): Set<Topic> {
  const all = new Set(topics);
  for (const topic of topics) {
    const workload = workloadOfTopic(topic);
    for (const each of workload ? workloads.topicsOf(workload) : []) all.add(each);
  }
  return all;
}
