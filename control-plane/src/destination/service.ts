/** The destination service: endpoints of Services, and what a destination is. */

import { type Kind, MeshError, SERVICE_PROFILES, TRAFFIC_SPLITS } from '@tulle/api';
import { Destination, type GetDestination } from '@tulle/api/gen/destination_pb.ts';
import type { GrpcRouter } from '../grpc/router.ts';
import { SharedViews } from '../wire/shared-views.ts';
import { watchView } from '../wire/watch-view.ts';
import { type Authority, parseAuthority } from '../workloads/authority.ts';
import type { ClusterState } from '../workloads/cluster-state.ts';
import { type ClientContext, parseContextToken } from '../workloads/context-token.ts';
import type { MeshSettings } from '../workloads/endpoint.ts';
import type { Topic } from '../workloads/workload-index.ts';
import { EndpointSets } from './endpoint-sets.ts';
import { type ClientLocation, EndpointView } from './endpoint-view.ts';
import { profileOf, profileTopics } from './profile.ts';
import { type ProfileEvent, ProfileIndex } from './profile-index.ts';
import { type ProfileInit, toProfile, toUpdate, type UpdateInit } from './translator.ts';

export interface DestinationOptions {
  state: ClusterState;
  mesh: MeshSettings;
  profiles: ProfileIndex;
}

/** Profiles as the cluster has them; splits only where SMI is enabled. To be called before the state starts. */
export function watchProfiles(
  state: ClusterState,
  mesh: MeshSettings,
  options: { isSmiEnabled: boolean },
): ProfileIndex {
  const profiles = new ProfileIndex(mesh.clusterDomain);
  const watch = (kind: ProfileEvent['kind'], served: Kind) =>
    state.watch(served, (type, object) => profiles.apply({ kind, type, object }), { isOptional: true });
  watch('ServiceProfile', SERVICE_PROFILES);
  if (options.isSmiEnabled) watch('TrafficSplit', TRAFFIC_SPLITS);
  return profiles;
}

export function createDestinationRoutes({ state, mesh, profiles }: DestinationOptions): (router: GrpcRouter) => void {
  const sets = new EndpointSets(state.index, mesh);
  state.onChange((topics) => sets.invalidate(topics));

  async function* get(request: GetDestination, signal: AbortSignal): AsyncGenerator<UpdateInit> {
    const authority = parseAuthority(request.path, mesh.clusterDomain);
    if (authority.kind === 'ip') {
      throw new MeshError('INVALID_ARGUMENT', `resolve "${request.path}": addresses have no endpoints, only names do`);
    }
    await state.ready();
    const client = parseContextToken(request.contextToken);
    const view = new EndpointView();
    using set = sets.watch(authority);
    const topics: Topic[] = [`service/${authority.serviceKey}`, ...nodeTopics(client)];
    yield* watchView(state, topics, signal, () => {
      refuseExternalName(request, authority);
      const location = locate(client);
      return view.next(set.current(), location).map((change) => toUpdate(change, authority, location.zone));
    });
  }

  const profileViews = new SharedViews<ProfileInit>(state);
  const sources = { index: state.index, profiles, mesh };

  function getProfile(request: GetDestination, signal: AbortSignal): AsyncGenerator<ProfileInit> {
    const authority = parseAuthority(request.path, mesh.clusterDomain);
    const client = parseContextToken(request.contextToken);
    const view = {
      topics: () => [...profileTopics(sources, authority, client.namespace), ...nodeTopics(client)],
      read: () => {
        refuseExternalName(request, authority);
        return toProfile(profileOf(sources, authority, client.namespace), locate(client).zone, mesh.clusterDomain);
      },
    };
    const host = authority.kind === 'ip' ? authority.ip : authority.fullName;
    const key = [host, authority.port, client.namespace, client.nodeName].join('|');
    return profileViews.watch(key, view, signal);
  }

  /** DNS leads elsewhere, which is no Service of the mesh: proxies then pass on. */
  function refuseExternalName({ path }: GetDestination, authority: Authority): void {
    if (authority.kind === 'service' && state.index.service(authority.serviceKey)?.isExternalName) {
      throw new MeshError('INVALID_ARGUMENT', `resolve "${path}": the service is an external name`);
    }
  }

  function locate({ nodeName }: ClientContext): ClientLocation {
    return { nodeName, zone: nodeName === undefined ? undefined : state.index.zone(nodeName) };
  }

  return (router) => {
    router.service(Destination, {
      get: (request, context) => get(request, context.signal),
      getProfile: (request, context) => getProfile(request, context.signal),
    });
  };
}

function nodeTopics({ nodeName }: ClientContext): Topic[] {
  return nodeName === undefined ? [] : [`node/${nodeName}`];
}
