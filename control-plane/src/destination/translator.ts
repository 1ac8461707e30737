/** Endpoints and profiles as the destination API writes them. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { DestinationProfileSchema, type UpdateSchema } from '@tulle/api/gen/destination_pb.ts';
import { DestinationProfileSchema as OverlaySchema } from '@tulle/api/gen/tulle/overlay_pb.ts';
import { toBalancers } from '../wire/balancer-keys.ts';
import { coreMetadata, toTcpAddress } from '../wire/net.ts';
import { overlayFields } from '../wire/overlay.ts';
import { toResourceRef, toWeightedAddr } from '../wire/weighted-addr.ts';
import type { EndpointChange } from './endpoint-view.ts';
import type { Profile } from './profile.ts';
import { RETRY_BUDGET_DEFAULT, toProfileRoutes } from './profile-translator.ts';

export type UpdateInit = MessageInitShape<typeof UpdateSchema>;
export type ProfileInit = MessageInitShape<typeof DestinationProfileSchema>;

export function toUpdate(
  change: EndpointChange,
  service: { namespace: string; name: string },
  clientZone: string | undefined,
): UpdateInit {
  switch (change.kind) {
    case 'add':
      return {
        update: {
          case: 'add',
          value: {
            addrs: change.endpoints.map((endpoint) => toWeightedAddr(endpoint, clientZone)),
            metricLabels: { namespace: service.namespace, service: service.name },
          },
        },
      };
    case 'remove':
      return {
        update: {
          case: 'remove',
          value: { addrs: change.endpoints.map(({ ip, port }) => toTcpAddress(ip, port)) },
        },
      };
    case 'none':
      return { update: { case: 'noEndpoints', value: { exists: change.exists } } };
  }
}

export function toProfile(profile: Profile, clientZone: string | undefined, clusterDomain: string): ProfileInit {
  switch (profile.kind) {
    case 'undefined-port':
      return {};
    case 'unknown':
      return { opaqueProtocol: profile.isOpaque, retryBudget: RETRY_BUDGET_DEFAULT };
    case 'endpoint': {
      const { endpoint } = profile;
      const labels: Record<string, string> = endpoint.workload ? { namespace: endpoint.workload.namespace } : {};
      return {
        opaqueProtocol: profile.isOpaque,
        retryBudget: RETRY_BUDGET_DEFAULT,
        endpoint: toWeightedAddr(endpoint, clientZone, labels),
        parentRef: toResourceRef(endpoint, endpoint.port),
      };
    }
    case 'service': {
      const message = create(DestinationProfileSchema, {
        fullyQualifiedName: profile.fullName,
        opaqueProtocol: profile.isOpaque,
        retryBudget: RETRY_BUDGET_DEFAULT,
        parentRef: coreMetadata('Service', profile.service, profile.port),
        ...(profile.profile ? toProfileRoutes(profile.profile, profile.port, clusterDomain) : {}),
      });
      if (profile.hashes.size > 0) {
        const balancers = toBalancers(profile.hashes);
        message.$unknown = overlayFields(DestinationProfileSchema, OverlaySchema, { balancers });
      }
      return message;
    }
  }
}
