/** Outbound policies as the policy API writes them. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  BackendSchema,
  ExponentialBackoffSchema,
  FailureAccrualSchema,
  HttpRoute_RetrySchema,
  HttpRouteSchema,
  OpaqueRouteSchema,
  OutboundPolicySchema,
  ProxyProtocolSchema,
} from '@tulle/api/gen/outbound_pb.ts';
import { coreMetadata, defaultMetadata, type MetadataInit, toDuration, toTcpAddress } from '../wire/net.ts';
import { toWeightedAddr } from '../wire/weighted-addr.ts';
import type { PortProtocol } from '../workloads/service.ts';
import type { Backoff, FailureAccrual, HttpRetry, TrafficSettings } from '../workloads/traffic-annotations.ts';
import type { OutboundPolicy } from './outbound.ts';

export type OutboundInit = MessageInitShape<typeof OutboundPolicySchema>;
type BackendInit = MessageInitShape<typeof BackendSchema>;
type ProtocolInit = MessageInitShape<typeof ProxyProtocolSchema>;
type HttpRouteInit = MessageInitShape<typeof HttpRouteSchema>;
type OpaqueRouteInit = MessageInitShape<typeof OpaqueRouteSchema>;

/** How long a client may take to send enough for its protocol to be known; after that it is opaque. */
const DETECT_TIMEOUT_MS = 10_000;
/** Requests that wait for a backend, and for how long none of its endpoints may be ready before they fail. */
const QUEUE = { capacity: 100, failfastTimeout: toDuration(3_000) };
/** Latency that an endpoint is taken to have before it has answered, and over which time it is averaged. */
const PEAK_EWMA = { defaultRtt: toDuration(30), decay: toDuration(10_000) };
/** Bodies up to this size are kept to be sent again. */
const RETRY_BODY_BYTES_MAX = 64 * 1024;
const RETRY_BACKOFF: Backoff = { minMs: 25, maxMs: 250, jitterRatio: 1, honoursRetryAfter: false };

export interface OutboundWireSettings {
  clusterDomain: string;
  /** Whether applications may set timeouts and retries by request headers. */
  allowsL5dRequestHeaders: boolean;
}

/** `clientZone` is that of the asking proxy's node. */
export function toOutboundPolicy(
  policy: OutboundPolicy,
  settings: OutboundWireSettings,
  clientZone: string | undefined,
): OutboundInit {
  switch (policy.kind) {
    case 'service':
      return toServicePolicy(policy, settings);
    case 'undefined-port':
      return {
        metadata: coreMetadata('Service', policy.service, policy.port),
        protocol: { kind: { case: 'opaque', value: { routes: [forbiddenRoute('undefined-port')] } } },
      };
    case 'endpoint': {
      const { endpoint } = policy;
      const labels: Record<string, string> = endpoint.workload ? { namespace: endpoint.workload.namespace } : {};
      const metadata = defaultMetadata('endpoint');
      const forward = toWeightedAddr(endpoint, clientZone, labels);
      const backend: BackendInit = { metadata, queue: QUEUE, kind: { case: 'forward', value: forward } };
      const protocol = policy.isOpaque ? 'opaque' : 'detect';
      return { metadata, protocol: toProtocol(protocol, httpRoute(metadata, backend), opaqueRoute(metadata, backend)) };
    }
    case 'external': {
      const metadata = defaultMetadata('egress-fallback');
      const forward = { addr: toTcpAddress(policy.ip, policy.port), weight: 1 };
      const backend: BackendInit = { metadata, queue: QUEUE, kind: { case: 'forward', value: forward } };
      return { metadata, protocol: toProtocol('detect', httpRoute(metadata, backend), opaqueRoute(metadata, backend)) };
    }
  }
}

function toServicePolicy(
  { service, port, protocol, traffic }: Extract<OutboundPolicy, { kind: 'service' }>,
  { clusterDomain, allowsL5dRequestHeaders }: OutboundWireSettings,
): OutboundInit {
  const metadata = coreMetadata('Service', service, port);
  const path = `${service.name}.${service.namespace}.svc.${clusterDomain}:${port}`;
  const discovery = { kind: { case: 'dst' as const, value: { path } } };
  const backend: BackendInit = {
    metadata,
    queue: QUEUE,
    kind: { case: 'balancer', value: { discovery, load: toLoad(traffic) } },
  };
  const rule = {
    timeouts: toTimeouts(traffic.timeouts),
    requestTimeout: optionalDuration(traffic.timeouts.responseMs),
    retry: traffic.retry && toRetry(traffic.retry),
    allowL5dRequestHeaders: allowsL5dRequestHeaders,
  };
  const http = httpRoute(defaultMetadata('http'), backend, rule);
  const opaque = opaqueRoute(defaultMetadata('opaque'), backend);
  return { metadata, protocol: toProtocol(protocol, http, opaque, traffic.accrual && toAccrual(traffic.accrual)) };
}

function toProtocol(
  protocol: Exclude<PortProtocol, 'undefined'>,
  httpRoute: HttpRouteInit,
  opaqueRoute: OpaqueRouteInit,
  failureAccrual?: MessageInitShape<typeof FailureAccrualSchema>,
): ProtocolInit {
  const http = { routes: [httpRoute], failureAccrual };
  const opaque = { routes: [opaqueRoute] };
  switch (protocol) {
    case 'opaque':
      return { kind: { case: 'opaque', value: opaque } };
    case 'http1':
      return { kind: { case: 'http1', value: http } };
    case 'http2':
      return { kind: { case: 'http2', value: http } };
    case 'detect': {
      const timeout = toDuration(DETECT_TIMEOUT_MS);
      return { kind: { case: 'detect', value: { timeout, opaque, http1: http, http2: http } } };
    }
  }
}

type RuleInit = NonNullable<HttpRouteInit['rules']>[number];

function httpRoute(metadata: MetadataInit, backend: BackendInit, rule: RuleInit = {}): HttpRouteInit {
  return {
    metadata,
    rules: [
      {
        ...rule,
        matches: [{ path: { kind: { case: 'prefix', value: '/' } } }],
        backends: { kind: { case: 'firstAvailable', value: { backends: [{ backend }] } } },
      } as RuleInit,
    ],
  };
}

function opaqueRoute(metadata: MetadataInit, backend: BackendInit): OpaqueRouteInit {
  const backends = { kind: { case: 'firstAvailable' as const, value: { backends: [{ backend }] } } };
  return { metadata, rules: [{ backends }] };
}

function forbiddenRoute(name: string): OpaqueRouteInit {
  const filters = [{ kind: { case: 'forbidden' as const, value: {} } }];
  return { metadata: defaultMetadata(name), rules: [{ backends: { kind: { case: 'empty', value: {} } }, filters }] };
}

type BalancerLoad = Extract<NonNullable<BackendInit['kind']>, { case: 'balancer' }>['value']['load'];

function toLoad({ penalty }: TrafficSettings): BalancerLoad {
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

function toTimeouts({ requestMs, responseMs, idleMs }: TrafficSettings['timeouts']) {
  if (requestMs === undefined && responseMs === undefined && idleMs === undefined) return undefined;
  return {
    request: optionalDuration(requestMs),
    response: optionalDuration(responseMs),
    idle: optionalDuration(idleMs),
  };
}

function optionalDuration(ms: number | undefined) {
  return ms === undefined ? undefined : toDuration(ms);
}

function toRetry({ limit, timeoutMs, statuses }: HttpRetry): MessageInitShape<typeof HttpRoute_RetrySchema> {
  return {
    maxRetries: limit,
    maxRequestBytes: RETRY_BODY_BYTES_MAX,
    conditions: { statusRanges: statuses },
    timeout: optionalDuration(timeoutMs),
    backoff: toBackoff(RETRY_BACKOFF),
  };
}

function toBackoff({
  minMs,
  maxMs,
  jitterRatio,
  honoursRetryAfter,
}: Backoff): MessageInitShape<typeof ExponentialBackoffSchema> {
  return {
    minBackoff: toDuration(minMs),
    maxBackoff: toDuration(maxMs),
    jitterRatio,
    respectRetryAfterHint: honoursRetryAfter,
  };
}

function toAccrual(accrual: FailureAccrual): MessageInitShape<typeof FailureAccrualSchema> {
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
