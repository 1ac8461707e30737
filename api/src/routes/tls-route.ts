/** TLSRoute of gateway.networking.k8s.io (v1alpha2, v1): TLS connections by the name that clients ask for. */
import { TLS_ROUTES } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import {
  type BackendRef,
  type Read,
  type Route,
  type Rule,
  readBackends,
  readRouteHead,
  readSingleRule,
  valid,
} from './route.ts';

export interface TlsRoute extends Route {
  /** One, or none where no host name can be read. */
  readonly rules: readonly ConnectionRule[];
}

/** A rule for whole connections. */
export interface ConnectionRule extends Rule {
  /** Empty: what the parent stands for. */
  readonly backends: readonly BackendRef[];
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseTlsRoute(object: KubeObject): TlsRoute {
  return valid(readTlsRoute(object));
}

/** As `readHttpRoute`. */
export function readTlsRoute(object: KubeObject): Read<TlsRoute> {
  const { route, isNothing, spec, problems } = readRouteHead(object, TLS_ROUTES);
  const rules = readSingleRule(spec, problems, (rule, { ofBackends }) => ({
    backends: readBackends(rule, route.ref, ofBackends, () => ({})),
  }));
  return { route: { ...route, rules: isNothing ? [] : rules }, problems };
}
