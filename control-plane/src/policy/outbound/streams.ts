/** Answers proxies that ask what their connections to a target are to do: once, or again after every change. */
import { MeshError } from '@tulle/api';
import type { OutboundPolicy as OutboundMessage, TrafficSpec } from '@tulle/api/gen/outbound_pb.ts';
import { fromTcpAddress } from '../../wire/net.ts';
import { parseAuthority } from '../../workloads/authority.ts';
import type { ClusterState } from '../../workloads/cluster-state.ts';
import { parseWorkload } from '../../workloads/context-token.ts';
import type { MeshSettings } from '../../workloads/endpoint.ts';
import { Waker } from '../../workloads/subscriptions.ts';
import type { OutboundIndex } from './outbound-index.ts';
import { OutboundResolver, type OutboundSettings, type OutboundTarget } from './resolver.ts';
import { SharedPolicies } from './shared-policies.ts';

export interface OutboundStreams {
  /** @throws MeshError `NOT_FOUND` for what is nothing, `INVALID_ARGUMENT` for a request that cannot be read. */
  get(request: TrafficSpec): Promise<OutboundMessage>;
  /** As `get`, now and after every change, until the signal is aborted, then throws its reason. */
  watch(request: TrafficSpec, signal: AbortSignal): AsyncGenerator<OutboundMessage>;
}

export interface OutboundOptions {
  state: ClusterState;
  mesh: MeshSettings;
  index: OutboundIndex;
  settings: OutboundSettings;
}

export function createOutboundStreams({ state, mesh, index, settings }: OutboundOptions): OutboundStreams {
  const resolver = new OutboundResolver(state.index, index, mesh, settings);
  const policies = new SharedPolicies(resolver, state.subscriptions, mesh.clusterDomain);
  return {
    async get(request) {
      const client = parseWorkload(request.sourceWorkload);
      const target = toTarget(request, mesh.clusterDomain);
      await state.ready();
      return policies.get(target, client);
    },
    async *watch(request, signal) {
      const client = parseWorkload(request.sourceWorkload);
      const target = toTarget(request, mesh.clusterDomain);
      await state.ready();
      const waker = new Waker();
      using reader = policies.open(target, client, waker);
      let last: OutboundMessage | undefined;
      for (;;) {
        signal.throwIfAborted();
        const message = reader.read();
        if (message !== last) yield message;
        last = message;
        await waker.wait(signal);
      }
    },
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
  if (authority.kind === 'service' && authority.hostname !== undefined) {
    throw new MeshError('NOT_FOUND', `outbound policy of ${authority.fullName}: one pod of a Service, not the Service`);
  }
  return authority.kind === 'ip'
    ? { kind: 'ip', ip: authority.ip, port: authority.port }
    : { kind: 'service', key: authority.serviceKey, port: authority.port };
}

/** A name outside the cluster has no policy, which lets proxies fall back; a bad one would fail the connection. */
function namedTarget(authority: string, clusterDomain: string) {
  try {
    // As proxies may write it: without the cluster's domain.
    return parseAuthority(authority.replace(/\.svc\.?(?=:\d+$|$)/i, `.svc.${clusterDomain}`), clusterDomain);
  } catch (cause) {
    throw new MeshError('NOT_FOUND', MeshError.from(cause).message, { cause });
  }
}
