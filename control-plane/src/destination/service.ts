/** The destination service: endpoints of Services, and what a destination is. */

import { isDeepStrictEqual } from 'node:util';
import type { ConnectRouter } from '@connectrpc/connect';
import { MeshError } from '@tulle/api';
import { Destination, type GetDestination } from '@tulle/api/gen/destination_pb.ts';
import { onlyChanges, watchView } from '../wire/watch-view.ts';
import { parseAuthority } from '../workloads/authority.ts';
import type { ClusterState } from '../workloads/cluster-state.ts';
import { type ClientContext, parseContextToken } from '../workloads/context-token.ts';
import type { MeshSettings } from '../workloads/endpoint.ts';
import type { Topic } from '../workloads/workload-index.ts';
import { EndpointSets } from './endpoint-sets.ts';
import { type ClientLocation, EndpointView } from './endpoint-view.ts';
import { profileOf, profileTopics } from './profile.ts';
import { type ProfileInit, toProfile, toUpdate, type UpdateInit } from './translator.ts';

export interface DestinationOptions {
  state: ClusterState;
  mesh: MeshSettings;
}

export function createDestinationRoutes({ state, mesh }: DestinationOptions): (router: ConnectRouter) => void {
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
      if (state.index.service(authority.serviceKey)?.isExternalName) {
        throw new MeshError('INVALID_ARGUMENT', `resolve "${request.path}": the service is an external name`);
      }
      const location = locate(client);
      return view.next(set.current(), location).map((change) => toUpdate(change, authority, location.zone));
    });
  }

  async function* getProfile(request: GetDestination, signal: AbortSignal): AsyncGenerator<ProfileInit> {
    const authority = parseAuthority(request.path, mesh.clusterDomain);
    const client = parseContextToken(request.contextToken);
    const read = () => toProfile(profileOf(state.index, mesh, authority), locate(client).zone);
    const topics = [...profileTopics(authority), ...nodeTopics(client)];
    yield* watchView(state, topics, signal, onlyChanges(read, isDeepStrictEqual));
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
