/** What policies do beyond the proxy API, as fields of our own that other proxies skip. */
import type { MessageInitShape, UnknownField } from '@bufbuild/protobuf';
import { OutboundPolicySchema } from '@tulle/api/gen/outbound_pb.ts';
import {
  type HeaderModifierSchema,
  type HttpBackendSchema,
  type HttpRuleSchema,
  type MirrorSchema,
  OutboundPolicySchema as OverlaySchema,
  SessionPersistence_Kind,
  type SessionPersistenceSchema,
  type UrlRewriteSchema,
} from '@tulle/api/gen/tulle/overlay_pb.ts';
import type { SessionPersistence } from '@tulle/api/routes/session-persistence.ts';
import { toBalancers } from '../../wire/balancer-keys.ts';
import { toHeaderModifier } from '../../wire/http-route.ts';
import { overlayFields } from '../../wire/overlay.ts';
import type { HashSettings } from '../../workloads/traffic-annotations.ts';
import { authorityOf } from './backend-translator.ts';
import type {
  GrpcPolicyRule,
  HttpPolicyRule,
  Mirror,
  OutboundPolicy,
  PolicyBackend,
  PolicyFilter,
  RequestBackend,
  RoutedPolicy,
} from './outbound-policy.ts';
import { bySection } from './sections.ts';

type HttpRuleInit = MessageInitShape<typeof HttpRuleSchema>;

/** Whether proxies that skip the overlay must not carry it out: they would send requests elsewhere than was asked for. */
export function needsOwnProxy({
  filters,
  sessionPersistence,
}: {
  filters: readonly PolicyFilter[];
  sessionPersistence?: SessionPersistence;
}): boolean {
  return sessionPersistence !== undefined || filters.some(({ kind }) => kind === 'rewrite');
}

/** The fields to write after those of the policy's own message; none where the policy does nothing more. */
export function policyOverlay(policy: OutboundPolicy, clusterDomain: string): UnknownField[] {
  if (policy.kind !== 'routed') return [];
  const httpRules = toRules(policy, clusterDomain);
  const balancers = toBalancers(hashesOf(policy, clusterDomain));
  if (httpRules.length === 0 && balancers.length === 0) return [];
  return overlayFields(OutboundPolicySchema, OverlaySchema, { httpRules, balancers });
}

function toRules(policy: RoutedPolicy, clusterDomain: string): HttpRuleInit[] {
  const routes = policy.protocol === 'grpc' ? bySection(policy.grpc) : bySection<HttpPolicyRule>(policy.http);
  return routes.flatMap((written, route) =>
    written.rules.flatMap((one, rule) => {
      const parts = toRule(one, policy.protocol === 'grpc', clusterDomain);
      return parts ? [{ ...parts, route, rule }] : [];
    }),
  );
}

/** The proxy API has no filter for the responses of gRPC. */
function toRule(
  rule: HttpPolicyRule | GrpcPolicyRule,
  isGrpc: boolean,
  clusterDomain: string,
): HttpRuleInit | undefined {
  if (rule.failure) return undefined;
  const backends = rule.backends.flatMap((one, backend) => {
    const parts = one.invalid === undefined ? toExtensions(one, isGrpc, clusterDomain) : undefined;
    return parts ? [{ ...parts, backend }] : [];
  });
  const parts = toExtensions(rule, isGrpc, clusterDomain);
  if (!parts && backends.length === 0) return undefined;
  return { ...parts, sessionPersistence: rule.sessionPersistence && toSession(rule.sessionPersistence), backends };
}

/** What rules and backends have in common; undefined where it is nothing. */
function toExtensions(
  one: Pick<RequestBackend, 'filters' | 'mirrors'> & { sessionPersistence?: SessionPersistence },
  isGrpc: boolean,
  clusterDomain: string,
): Omit<MessageInitShape<typeof HttpBackendSchema>, 'backend' | '$typeName'> | undefined {
  const responseHeaders = isGrpc ? one.filters.flatMap(toResponseHeaders) : [];
  const hasRefusal = needsOwnProxy(one);
  if (!hasRefusal && one.mirrors.length === 0 && responseHeaders.length === 0) return undefined;
  const mirrors = one.mirrors.map((mirror) => toMirror(mirror, clusterDomain));
  return { hasRefusal, urlRewrite: toRewrite(one.filters), mirrors, responseHeaders };
}

function toResponseHeaders(filter: PolicyFilter): MessageInitShape<typeof HeaderModifierSchema>[] {
  if (filter.kind !== 'response-headers') return [];
  const { add, set, remove } = toHeaderModifier(filter);
  // Laid out alike under other names.
  return [{ add, set, remove } as MessageInitShape<typeof HeaderModifierSchema>];
}

function toRewrite(filters: readonly PolicyFilter[]): MessageInitShape<typeof UrlRewriteSchema> | undefined {
  const rewrite = filters.find((filter) => filter.kind === 'rewrite');
  if (!rewrite) return undefined;
  const { host = '', path } = rewrite;
  return { host, path: path && { case: path.kind, value: path.value } };
}

function toMirror(mirror: Mirror, clusterDomain: string): MessageInitShape<typeof MirrorSchema> {
  return { ...mirror, authority: authorityOf(mirror, clusterDomain), group: 'core', kind: 'Service' };
}

function toSession(session: SessionPersistence): MessageInitShape<typeof SessionPersistenceSchema> {
  return {
    kind: session.kind === 'cookie' ? SessionPersistence_Kind.COOKIE : SessionPersistence_Kind.HEADER,
    name: session.name,
    absoluteTimeoutMs: BigInt(Math.round(session.absoluteTimeoutMs)),
    idleTimeoutMs: BigInt(Math.round(session.idleTimeoutMs)),
    isPermanent: session.isPermanent,
  };
}

/** Every balancer once, by its path. */
function hashesOf(policy: RoutedPolicy, clusterDomain: string): Map<string, HashSettings> {
  const routes = [...policy.http, ...policy.grpc, ...policy.tls, ...policy.opaque];
  const backends = routes.flatMap(({ rules }) => rules.flatMap((rule): readonly PolicyBackend[] => rule.backends));
  const byPath = new Map<string, HashSettings>();
  for (const { target, invalid } of backends) {
    const hash = target.kind === 'service' && invalid === undefined ? target.traffic.hash : undefined;
    if (hash && target.kind === 'service') byPath.set(authorityOf(target, clusterDomain), hash);
  }
  return byPath;
}
