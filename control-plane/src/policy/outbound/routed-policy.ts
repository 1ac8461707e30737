/** The policy of a port of a Service or an EgressNetwork: its routes, and what takes what they do not take. */
import type { HttpMatch } from '@tulle/api/routes/http-match.ts';
import type { BackendContext } from './backends.ts';
import { connectionRoute, defaultConnectionRoute } from './connection-rules.ts';
import type { AnyRoute } from './outbound-index.ts';
import { type ConnectionPolicyRoute, NOT_ALLOWED, type RoutedPolicy } from './outbound-policy.ts';
import { defaultGrpcRoute, defaultHttpRoute, grpcRoute, httpRoute, type ParentSettings } from './request-rules.ts';
import type { RouteChoice } from './route-choice.ts';

/** What a port is declared to speak. */
export type DeclaredProtocol = 'detect' | 'opaque' | 'http1' | 'http2';

/** The kinds of routes that can be in force on such a port. */
export const ROUTE_KINDS: Record<DeclaredProtocol, readonly AnyRoute['kind'][]> = {
  detect: ['grpc', 'http', 'tls', 'tcp'],
  opaque: ['tcp'],
  http1: ['http'],
  http2: ['grpc', 'http'],
};

/** The routes that take the rest. */
export interface RestRoutes {
  names: { http: string; grpc: string; tls: string; opaque: string };
  isForbidden: boolean;
  /** What of HTTP they take; everything when not given. */
  httpMatch?: HttpMatch;
  /** Also behind attached routes; otherwise only where none is attached. */
  isAlways: boolean;
}

export function routedPolicy(
  context: BackendContext,
  settings: ParentSettings,
  declared: DeclaredProtocol,
  { routes, shadowed }: RouteChoice,
  { names, isForbidden, httpMatch, isAlways }: RestRoutes,
): RoutedPolicy {
  const of = <K extends AnyRoute['kind']>(kind: K) =>
    routes.filter((one): one is Extract<AnyRoute, { kind: K }> => one.kind === kind);
  const protocol = protocolOf(declared, routes[0]?.kind);
  const withRest = <R>(protocols: readonly RoutedPolicy['protocol'][], attached: R[], rest: () => R): R[] =>
    protocols.includes(protocol) && (isAlways || attached.length === 0) ? [...attached, rest()] : attached;
  const failure = isForbidden ? NOT_ALLOWED : undefined;
  const connections = withRest(
    ['detect', 'opaque'],
    of('tcp').map(({ route }) => connectionRoute(context, route)),
    () => defaultConnectionRoute(context, names.opaque, isForbidden),
  );
  const opaque = firstWithRule(connections);
  const behind = opaque[0] ? of('tcp').slice(connections.indexOf(opaque[0]) + 1) : [];
  return {
    kind: 'routed',
    parent: context.parent,
    protocol,
    accrual: settings.traffic.accrual,
    http: withRest(
      ['detect', 'http1', 'http2'],
      of('http').map(({ route }) => httpRoute(context, settings, route)),
      () => defaultHttpRoute(context, settings, names.http, failure, httpMatch),
    ),
    grpc: withRest(
      ['grpc'],
      of('grpc').map(({ route }) => grpcRoute(context, settings, route)),
      () => defaultGrpcRoute(context, settings, names.grpc, failure),
    ),
    tls: withRest(
      ['tls'],
      of('tls').map(({ route }) => connectionRoute(context, route)),
      () => defaultConnectionRoute(context, names.tls, isForbidden),
    ),
    opaque,
    shadowed: [...shadowed, ...behind.map(({ route }) => ({ ref: route.ref, reason: AFTER_FIRST }))],
  };
}

const AFTER_FIRST = 'an older TCPRoute takes every connection';

/** Nothing tells connections apart, so the first takes them all; one without a rule takes none. */
function firstWithRule(routes: readonly ConnectionPolicyRoute[]): readonly ConnectionPolicyRoute[] {
  return routes.filter(({ rules }) => rules.length > 0).slice(0, 1);
}

/** All routes in force are of one kind. */
function protocolOf(declared: DeclaredProtocol, kind: AnyRoute['kind'] | undefined): RoutedPolicy['protocol'] {
  if (kind === 'grpc') return 'grpc';
  if (declared !== 'detect') return declared;
  if (kind === 'tls') return 'tls';
  return kind === 'tcp' ? 'opaque' : 'detect';
}
