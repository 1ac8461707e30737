/** What a client's connections and requests to a target are to do: merged, with the objects that each part came from. */
import type { ObjectRef } from '@tulle/api/object-ref.ts';
import type { HeaderFilter, RedirectFilter, RewriteFilter } from '@tulle/api/routes/http-filter.ts';
import type { GrpcMatch, HttpMatch } from '@tulle/api/routes/http-match.ts';
import type { SessionPersistence } from '@tulle/api/routes/session-persistence.ts';
import type { GrpcRetryCode, Retry, StatusRange, Timeouts } from '@tulle/api/routes/traffic-annotations.ts';
import type { Endpoint } from '../../workloads/endpoint.ts';
import type { FailureAccrual, TrafficSettings } from '../../workloads/traffic-annotations.ts';

export type OutboundPolicy = RoutedPolicy | UndefinedPort | EndpointPolicy | ExternalPolicy;

/** Of a Service or an EgressNetwork. */
export interface RoutedPolicy {
  kind: 'routed';
  parent: PolicyParent;
  /** `grpc`, `tls` and the others are known beforehand; only `detect` looks at the client's bytes. */
  protocol: 'detect' | 'opaque' | 'http1' | 'http2' | 'grpc' | 'tls';
  accrual?: FailureAccrual;
  /** Of requests, for `detect`, `http1` and `http2`. The first of equally good matches wins, here and below. */
  http: readonly HttpPolicyRoute[];
  grpc: readonly GrpcPolicyRoute[];
  /** Of connections, for `tls`. */
  tls: readonly ConnectionPolicyRoute[];
  /** Of connections, for `opaque` and for what `detect` does not recognise; one, or none that takes anything. */
  opaque: readonly ConnectionPolicyRoute[];
  /** Attached routes that have no effect, and why. */
  shadowed: readonly { ref: ObjectRef; reason: string }[];
}

export interface PolicyParent {
  kind: 'Service' | 'EgressNetwork';
  namespace: string;
  name: string;
  port: number;
}

/** A port that the Service does not have. */
export interface UndefinedPort {
  kind: 'undefined-port';
  parent: PolicyParent;
}

/** One pod or workload, asked for by its own address. */
export interface EndpointPolicy {
  kind: 'endpoint';
  endpoint: Endpoint;
  isOpaque: boolean;
}

/** Outside the cluster, where no EgressNetwork says anything: sent where it was going. */
export interface ExternalPolicy {
  kind: 'external';
  address: Address;
}

export interface Address {
  ip: string;
  port: number;
}

/** An object, or what holds where no object says anything. */
export type Source = { kind: 'object'; ref: ObjectRef } | { kind: 'default'; name: string };

export interface PolicyRoute<R> {
  source: Source;
  /** Empty: every host. */
  hostnames: readonly string[];
  rules: readonly R[];
}

export type HttpPolicyRoute = PolicyRoute<HttpPolicyRule>;
export type GrpcPolicyRoute = PolicyRoute<GrpcPolicyRule>;
export type ConnectionPolicyRoute = PolicyRoute<ConnectionPolicyRule>;
export type HttpPolicyRule = RequestRule<HttpMatch, StatusRange>;
export type GrpcPolicyRule = RequestRule<GrpcMatch, GrpcRetryCode>;

/** A value and whose annotation or field it is. */
export interface Sourced<T> {
  value: T;
  from: Source;
}

export interface RequestRule<Match, Condition> {
  /** Its name in the route. */
  section?: string;
  /** Where it stands in the object: `spec.rules[0]`. */
  field?: string;
  matches: readonly Match[];
  filters: readonly PolicyFilter[];
  mirrors: readonly Mirror[];
  backends: readonly RequestBackend[];
  /** Whether backends share by weight; otherwise there is one, what the parent stands for. */
  isWeighted: boolean;
  timeouts: Sourced<Timeouts>;
  retry?: Sourced<Retry<Condition>>;
  sessionPersistence?: SessionPersistence;
  /** Set where every request of it fails. */
  failure?: Failure;
  allowsRequestHeaders: boolean;
}

export interface ConnectionPolicyRule {
  field?: string;
  backends: readonly PolicyBackend[];
  isWeighted: boolean;
  /** Set where every connection of it is refused: as forbidden, or as one that cannot be read. */
  refusal?: { kind: 'forbidden' } | { kind: 'invalid'; message: string };
}

/** As a status of HTTP and a code of gRPC. */
export interface Failure {
  status: number;
  code: number;
  message: string;
}

export interface PolicyBackend {
  target: BackendTarget;
  weight: number;
  /** Why its share fails. */
  invalid?: string;
  field?: string;
}

export interface RequestBackend extends PolicyBackend {
  filters: readonly PolicyFilter[];
  mirrors: readonly Mirror[];
}

/** What is done to a request and its response; a rule or backend with an unsupported filter fails instead. */
export type PolicyFilter = HeaderFilter | RedirectFilter | RewriteFilter;

/** A Service that gets a copy of this share of requests. */
export interface Mirror {
  namespace: string;
  name: string;
  port: number;
  numerator: number;
  denominator: number;
}

export type BackendTarget =
  | {
      kind: 'service';
      namespace: string;
      name: string;
      port: number;
      traffic: Pick<TrafficSettings, 'penalty' | 'hash'>;
    }
  /** Where the client was going. */
  | { kind: 'egress-network'; namespace: string; name: string; port: number; address: Address }
  /** Nothing that requests can be sent to; what was named, where that is known. */
  | { kind: 'none'; named?: { group: string; kind: string; namespace: string; name: string; port: number } };

/** A request that a policy refuses: Linkerd's words, which users search for. */
export const NOT_ALLOWED: Failure = { status: 403, code: 7, message: 'traffic not allowed' };

/** What cannot be carried out: Internal Server Error, gRPC UNAVAILABLE. */
export function brokenFailure(message: string): Failure {
  return { status: 500, code: 14, message };
}
