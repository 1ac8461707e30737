/** TCPRoute of gateway.networking.k8s.io (v1alpha2): whole connections, whatever they carry. */
import { Field } from '../field.ts';
import { TCP_ROUTES } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { objectRef } from '../object-ref.ts';
import { type Read, type Route, readBackends, readParents, readRules, readSingleRule, valid } from './route.ts';
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
  const problems: string[] = [];
  const ref = objectRef(object, TCP_ROUTES);
  const spec = new Field('spec', object.spec, problems);
  if (!spec.object() && !spec.isSet) spec.refuse('an object');
  const parents = readParents(spec, ref);
  readSingleRule(spec);
  const rules = readRules(spec, problems, false, (rule, { ofBackends }) => ({
    backends: readBackends(rule, ref, ofBackends, () => ({})),
  }));
  return { route: { ref, parents, hostnames: [], rules: rules.slice(0, 1) }, problems };
}
