/** Fills the index of routes, EgressNetworks, grants and splits from the cluster. */
import {
  EGRESS_NETWORKS,
  GRPC_ROUTES,
  HTTP_ROUTE_GROUPS,
  HTTP_ROUTES,
  type Kind,
  POLICY_HTTP_ROUTES,
  REFERENCE_GRANTS,
  TCP_ROUTES,
  TLS_ROUTES,
  TRAFFIC_SPLITS,
} from '@tulle/api';
import type { ClusterState } from '../../workloads/cluster-state.ts';
import { OUTBOUND_KINDS, OutboundIndex, type OutboundKind, SMI_OUTBOUND_KINDS } from './outbound-index.ts';

const KINDS: Record<OutboundKind, Kind> = {
  'policy-http': POLICY_HTTP_ROUTES,
  http: HTTP_ROUTES,
  grpc: GRPC_ROUTES,
  tls: TLS_ROUTES,
  tcp: TCP_ROUTES,
  'egress-network': EGRESS_NETWORKS,
  grant: REFERENCE_GRANTS,
  'traffic-split': TRAFFIC_SPLITS,
  'route-group': HTTP_ROUTE_GROUPS,
};

/** Call before `state.start`. */
export function watchOutboundPolicies(state: ClusterState, settings: { isSmiEnabled: boolean }): OutboundIndex {
  const index = new OutboundIndex();
  for (const kind of [...OUTBOUND_KINDS, ...(settings.isSmiEnabled ? SMI_OUTBOUND_KINDS : [])]) {
    state.watch(KINDS[kind], (type, object) => index.apply({ kind, type, object }), {
      isOptional: true,
      problems: (object) => index.problems(kind, object),
      served: kind === 'grant' ? (isServed) => index.setGrantsServed(isServed) : undefined,
    });
  }
  return index;
}
