/** By what keys balancers choose, as our own fields of policies and profiles say it. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { BalancerSchema } from '@tulle/api/gen/tulle/overlay_pb.ts';
import type { HashSettings } from '../workloads/traffic-annotations.ts';

type BalancerInit = MessageInitShape<typeof BalancerSchema>;

/** `byPath` has what balancers are known by: `web.app.svc.cluster.local:80`. */
export function toBalancers(byPath: ReadonlyMap<string, HashSettings>): BalancerInit[] {
  return [...byPath].map(([path, { source, loadFactor }]) => ({ path, hash: { source: toKey(source) }, loadFactor }));
}

function toKey(source: HashSettings['source']): NonNullable<BalancerInit['hash']>['source'] {
  switch (source.kind) {
    case 'header':
      return { case: 'header', value: source.name };
    case 'cookie':
      return { case: 'cookie', value: source.name };
    case 'query':
      return { case: 'queryParameter', value: source.name };
    case 'source-address':
      return { case: 'sourceAddress', value: true };
  }
}
