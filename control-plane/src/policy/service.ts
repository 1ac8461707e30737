/** The policy services: who may speak to a pod's ports, and what its own connections are to do. */
import { isDeepStrictEqual } from 'node:util';
import type { ConnectRouter } from '@connectrpc/connect';
import { MeshError } from '@tulle/api';
import { InboundServerPolicies } from '@tulle/api/gen/inbound_pb.ts';
import { OutboundPolicies, type TrafficSpec } from '@tulle/api/gen/outbound_pb.ts';
import { fromTcpAddress } from '../wire/net.ts';
import { onlyChanges, watchView } from '../wire/watch-view.ts';
import { parseAuthority } from '../workloads/authority.ts';
import type { ClusterState } from '../workloads/cluster-state.ts';
import { parseWorkload } from '../workloads/context-token.ts';
import type { MeshSettings } from '../workloads/endpoint.ts';
import type { Topic } from '../workloads/workload-index.ts';
import type { InboundIndex } from './inbound/inbound-index.ts';
import type { InboundSettings } from './inbound/inbound-server.ts';
import { inboundView } from './inbound/sources.ts';
import { type OutboundTarget, outboundPolicy, outboundTopics } from './outbound.ts';
import { type OutboundInit, type OutboundWireSettings, toOutboundPolicy } from './outbound-translator.ts';

export interface PolicyOptions {
  state: ClusterState;
  mesh: MeshSettings;
  inbound: InboundSettings & { index: InboundIndex };
  outbound: OutboundWireSettings;
}

interface View<T> {
  topics: Topic[];
  read: () => T;
}

export function createPolicyRoutes({ state, mesh, inbound, outbound }: PolicyOptions): (router: ConnectRouter) => void {
  const { index } = state;
  const inboundContext = { workloads: index, policies: inbound.index, mesh, settings: inbound };

  function outboundView(request: TrafficSpec): View<OutboundInit> {
    const source = parseWorkload(request.sourceWorkload);
    const target = toTarget(request, mesh.clusterDomain);
    const sourceKey = `${source.namespace}/${source.name}`;
    const read = () => {
      const policy = outboundPolicy(index, mesh, inbound.clusterNetworks, target);
      const nodeName = source.kind === 'Pod' ? index.pod(sourceKey)?.nodeName : undefined;
      return toOutboundPolicy(policy, outbound, nodeName === undefined ? undefined : index.zone(nodeName));
    };
    return { topics: [...outboundTopics(target), `pod/${sourceKey}`], read };
  }

  const watch = <T>({ topics, read }: View<T>, signal: AbortSignal) =>
    watchView(state, topics, signal, onlyChanges(read, isDeepStrictEqual));

  return (router) => {
    router.service(InboundServerPolicies, {
      getPort: (request) => state.ready().then(inboundView(inboundContext, request).read),
      watchPort: (request, context) => watch(inboundView(inboundContext, request), context.signal),
    });
    router.service(OutboundPolicies, {
      get: (request) => state.ready().then(outboundView(request).read),
      watch: (request, context) => watch(outboundView(request), context.signal),
    });
  };
}

function toTarget({ target }: TrafficSpec, clusterDomain: string): OutboundTarget {
  if (target.case === 'addr') {
    const address = fromTcpAddress(target.value);
    if (!address) throw new MeshError('INVALID_ARGUMENT', 'outbound policy: the target is not an address with a port');
    return { kind: 'ip', ...address };
  }
  if (target.case !== 'authority') throw new MeshError('INVALID_ARGUMENT', 'outbound policy: no target');
  const authority = namedTarget(target.value, clusterDomain);
  return authority.kind === 'ip'
    ? { kind: 'ip', ip: authority.ip, port: authority.port }
    : { kind: 'service', key: authority.serviceKey, port: authority.port };
}

/** A name outside the cluster has no policy, which lets proxies fall back; a bad one would fail the connection. */
function namedTarget(authority: string, clusterDomain: string) {
  try {
    return parseAuthority(authority, clusterDomain);
  } catch (cause) {
    throw new MeshError('NOT_FOUND', MeshError.from(cause).message, { cause });
  }
}
