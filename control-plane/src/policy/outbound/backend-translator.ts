/** Where requests and connections are sent, as the policy API writes it. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { BackendSchema, ExponentialBackoffSchema, FailureAccrualSchema } from '@tulle/api/gen/outbound_pb.ts';
import { POLICY_GROUP } from '@tulle/api/policy/target-ref.ts';
import { coreMetadata, defaultMetadata, type MetadataInit, toDuration, toTcpAddress } from '../../wire/net.ts';
import type { Backoff, FailureAccrual, TrafficSettings } from '../../workloads/traffic-annotations.ts';
import type { BackendTarget, PolicyBackend, PolicyParent, Source } from './outbound-policy.ts';

export type BackendInit = MessageInitShape<typeof BackendSchema>;

/** Requests that wait for a backend, and for how long none of its endpoints may be ready before they fail. */
export const QUEUE = { capacity: 100, failfastTimeout: toDuration(3_000) };
/** Latency that an endpoint is taken to have before it has answered, and over which time it is averaged. */
const PEAK_EWMA = { defaultRtt: toDuration(30), decay: toDuration(10_000) };

/** What a balancer asks the destination service for. */
export function authorityOf(
  { namespace, name, port }: { namespace: string; name: string; port: number },
  clusterDomain: string,
): string {
  return `${name}.${namespace}.svc.${clusterDomain}:${port}`;
}

/** A backend that is invalid is one without a kind: whoever uses it says why, by a filter. */
export function toBackend({ target, weight, invalid }: PolicyBackend, clusterDomain: string): BackendInit {
  const metadata = targetMetadata(target);
  if (invalid !== undefined) return { metadata, queue: QUEUE };
  switch (target.kind) {
    case 'service': {
      const discovery = { kind: { case: 'dst' as const, value: { path: authorityOf(target, clusterDomain) } } };
      const value = { discovery, load: toLoad(target.traffic) };
      return { metadata, queue: QUEUE, kind: { case: 'balancer', value } };
    }
    case 'egress-network': {
      const { ip, port } = target.address;
      return { metadata, queue: QUEUE, kind: { case: 'forward', value: { addr: toTcpAddress(ip, port), weight } } };
    }
    case 'none':
      return { metadata, queue: QUEUE };
  }
}

export function parentMetadata(parent: PolicyParent): MetadataInit {
  return parent.kind === 'Service' ? coreMetadata('Service', parent, parent.port) : egressMetadata(parent);
}

/** `section` is the name of the rules that it stands for. */
export function sourceMetadata(source: Source, section?: string): MetadataInit {
  if (source.kind === 'default') return defaultMetadata(source.name);
  const { group, kind, namespace, name } = source.ref;
  return { kind: { case: 'resource', value: { group: group || 'core', kind, namespace, name, section } } };
}

function targetMetadata(target: BackendTarget): MetadataInit {
  if (target.kind === 'service') return coreMetadata('Service', target, target.port);
  if (target.kind === 'egress-network') return egressMetadata(target);
  if (!target.named) return defaultMetadata('invalid');
  const { group, kind, namespace, name, port } = target.named;
  return { kind: { case: 'resource', value: { group: group || 'core', kind, namespace, name, port } } };
}

function egressMetadata({ namespace, name, port }: { namespace: string; name: string; port: number }): MetadataInit {
  return { kind: { case: 'resource', value: { group: POLICY_GROUP, kind: 'EgressNetwork', namespace, name, port } } };
}

type BalancerLoad = Extract<NonNullable<BackendInit['kind']>, { case: 'balancer' }>['value']['load'];

function toLoad({ penalty }: Pick<TrafficSettings, 'penalty'>): BalancerLoad {
  if (!penalty) return { case: 'peakEwma', value: PEAK_EWMA };
  const { penaltyMs, retryAfterMsMax } = penalty;
  return {
    case: 'penaltyPeakEwma',
    value: {
      ...PEAK_EWMA,
      penalty: toDuration(penaltyMs),
      maxRetryAfter: toDuration(retryAfterMsMax),
      penaltyDecay: PEAK_EWMA.decay,
    },
  };
}

export function toBackoff(backoff: Backoff): MessageInitShape<typeof ExponentialBackoffSchema> {
  const { minMs, maxMs, jitterRatio, honoursRetryAfter } = backoff;
  return {
    minBackoff: toDuration(minMs),
    maxBackoff: toDuration(maxMs),
    jitterRatio,
    respectRetryAfterHint: honoursRetryAfter,
  };
}

export function toAccrual(accrual: FailureAccrual): MessageInitShape<typeof FailureAccrualSchema> {
  const backoff = toBackoff(accrual.backoff);
  if (accrual.kind === 'consecutive') {
    return { kind: { case: 'consecutiveFailures', value: { maxFailures: accrual.failuresMax, backoff } } };
  }
  return {
    kind: {
      case: 'unified',
      value: {
        successRateThreshold: accrual.successRateThreshold,
        decay: toDuration(accrual.windowMs),
        minRequests: accrual.requestsMin,
        maxConsecutiveFailures: accrual.failuresMax,
        backoff,
      },
    },
  };
}
