/** The policy services: who may speak to a pod's ports, and what its own connections are to do. */
import { InboundServerPolicies } from '@tulle/api/gen/inbound_pb.ts';
import { OutboundPolicies } from '@tulle/api/gen/outbound_pb.ts';
import type { GrpcRouter } from '../grpc/router.ts';
import { onlyChanges, watchView } from '../wire/watch-view.ts';
import type { ClusterState } from '../workloads/cluster-state.ts';
import type { MeshSettings } from '../workloads/endpoint.ts';
import type { InboundIndex } from './inbound/inbound-index.ts';
import type { InboundSettings } from './inbound/inbound-server.ts';
import { inboundView, isSameServer } from './inbound/port-view.ts';
import type { OutboundIndex } from './outbound/outbound-index.ts';
import type { OutboundSettings } from './outbound/resolver.ts';
import { createOutboundStreams } from './outbound/streams.ts';

export interface PolicyOptions {
  state: ClusterState;
  mesh: MeshSettings;
  inbound: InboundSettings & { index: InboundIndex };
  outbound: { index: OutboundIndex; settings: OutboundSettings };
}

export function createPolicyRoutes({ state, mesh, inbound, outbound }: PolicyOptions): (router: GrpcRouter) => void {
  const { index } = state;
  const inboundContext = { workloads: index, policies: inbound.index, mesh, settings: inbound };

  const outboundStreams = createOutboundStreams({ state, mesh, ...outbound });

  return (router) => {
    router.service(InboundServerPolicies, {
      getPort: (request) => state.ready().then(inboundView(inboundContext, request).read),
      watchPort: (request, { signal }) => {
        const { topics, read } = inboundView(inboundContext, request);
        return watchView(state, topics, signal, onlyChanges(read, isSameServer));
      },
    });
    router.service(OutboundPolicies, {
      get: (request) => outboundStreams.get(request),
      watch: (request, context) => outboundStreams.watch(request, context.signal),
    });
  };
}
