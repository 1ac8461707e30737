/** GRPCRoute of gateway.networking.k8s.io (v1alpha2, v1). */
import { GRPC_ROUTES } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { GRPC_FILTERS, type HttpFilter, readFilters } from './http-filter.ts';
import { type GrpcMatch, readGrpcMatches } from './http-match.ts';
import type { HttpBackendRef } from './http-route.ts';
import {
  hasOutboundParent,
  type Read,
  type Route,
  type Rule,
  readBackends,
  readRouteHead,
  readRules,
  valid,
} from './route.ts';
import { readSessionPersistence, type SessionPersistence } from './session-persistence.ts';
import { readTrafficAnnotations, type TrafficAnnotations } from './traffic-annotations.ts';

export interface GrpcRoute extends Route {
  readonly rules: readonly GrpcRule[];
  readonly traffic: TrafficAnnotations;
}

export interface GrpcRule extends Rule {
  readonly matches: readonly GrpcMatch[];
  readonly filters: readonly HttpFilter[];
  /** Empty: what the parent stands for. */
  readonly backends: readonly HttpBackendRef[];
  readonly sessionPersistence?: SessionPersistence;
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseGrpcRoute(object: KubeObject): GrpcRoute {
  return valid(readGrpcRoute(object));
}

/** As `readHttpRoute`. */
export function readGrpcRoute(object: KubeObject): Read<GrpcRoute> {
  const { route, isNothing, spec, problems } = readRouteHead(object, GRPC_ROUTES);
  const { ref } = route;
  const isOutbound = hasOutboundParent(route);
  const options = { ref, supported: GRPC_FILTERS, isPrefixMatch: false };
  const rules = readRules(spec, problems, false, (rule, { index, ofBackends, admitted }) => ({
    matches: readGrpcMatches(rule),
    filters: readFilters(rule, isOutbound ? options : { ...options, admitted }),
    backends: readBackends(rule, ref, ofBackends, (backend) => ({ filters: readFilters(backend, options) })),
    sessionPersistence: readSessionPersistence(rule, ref, index),
  }));
  const annotations = isOutbound ? (object.metadata.annotations ?? {}) : {};
  const traffic = readTrafficAnnotations(annotations, problems, 'grpc');
  return { route: { ...route, rules: isNothing ? [] : rules, traffic }, problems };
}
