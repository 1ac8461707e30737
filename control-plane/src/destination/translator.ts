/** Endpoints and profiles as the destination API writes them. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DestinationProfileSchema, UpdateSchema } from '@tulle/api/gen/destination_pb.ts';
import { coreMetadata, toDuration, toTcpAddress } from '../wire/net.ts';
import { toResourceRef, toWeightedAddr } from '../wire/weighted-addr.ts';
import type { EndpointChange } from './endpoint-view.ts';
import type { Profile } from './profile.ts';

export type UpdateInit = MessageInitShape<typeof UpdateSchema>;
export type ProfileInit = MessageInitShape<typeof DestinationProfileSchema>;

/** What retries of a Service may add to its load: a fifth, and ten a second, over ten seconds. */
const RETRY_BUDGET = { retryRatio: 0.2, minRetriesPerSecond: 10, ttl: toDuration(10_000) };

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

export function toProfile(profile: Profile, clientZone: string | undefined): ProfileInit {
  switch (profile.kind) {
    case 'undefined-port':
      return {};
    case 'unknown':
      return { opaqueProtocol: profile.isOpaque, retryBudget: RETRY_BUDGET };
    case 'endpoint': {
      const { endpoint } = profile;
      const labels: Record<string, string> = endpoint.workload ? { namespace: endpoint.workload.namespace } : {};
      return {
        opaqueProtocol: profile.isOpaque,
        retryBudget: RETRY_BUDGET,
        endpoint: toWeightedAddr(endpoint, clientZone, labels),
        parentRef: toResourceRef(endpoint, endpoint.port),
      };
    }
    case 'service':
      return {
        fullyQualifiedName: profile.fullName,
        opaqueProtocol: profile.isOpaque,
        retryBudget: RETRY_BUDGET,
        parentRef: coreMetadata('Service', profile.service, profile.port),
      };
  }
}
