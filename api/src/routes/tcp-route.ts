/** TCPRoute of gateway.networking.k8s.io (v1alpha2): whole connections, whatever they carry. */
import { TCP_ROUTES } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type Read, type Route, readBackends, readRouteHead, readSingleRule, valid } from './route.ts';
import type { ConnectionRule } from './tls-route.ts';

export interface TcpRoute extends Route {
  readonly rules: readonly ConnectionRule[];
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseTcpRoute(object: KubeObject): TcpRoute {
  return valid(readTcpRoute(object));
}

/** As `readHttpRoute`. */
export function readTcpRoute(object: KubeObject): Read<TcpRoute> {
  const { route, spec, problems } = readRouteHead(object, TCP_ROUTES, false);
  const rules = readSingleRule(spec, problems, (rule, { ofBackends }) => ({
    backends: readBackends(rule, route.ref, ofBackends, () => ({})),
  }));
  return { route: { ...route, rules }, problems };
}
