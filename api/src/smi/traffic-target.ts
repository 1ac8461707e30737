/**
 * TrafficTarget of the Service Mesh Interface, v1alpha1 (without a spec) to v1alpha3: which ServiceAccounts may speak to
 * the pods of one, and what they may say.
 */
import { type Field, readObject } from '../field.ts';
import { TRAFFIC_TARGETS } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import type { NamespacedName } from '../policy/target-ref.ts';

export interface TrafficTarget {
  readonly ref: ObjectRef;
  /** Whose pods are meant: a ServiceAccount of the target's own namespace. */
  readonly destination: NamespacedName;
  /** The only port that is meant: a number, or the name of a port. */
  readonly port?: number | string;
  /** Undefined: everything may be said. */
  readonly rules?: readonly TrafficRule[];
  readonly sources: readonly NamespacedName[];
}

/** In the target's own namespace. */
export interface TrafficRule {
  readonly kind: 'HTTPRouteGroup' | 'TCPRoute' | 'UDPRoute';
  readonly name: string;
  /** Names of matches of an HTTPRouteGroup; empty: all of them. */
  readonly matches: readonly string[];
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseTrafficTarget(object: KubeObject): TrafficTarget {
  return readObject(object, (root) => {
    const ref = objectRef(object, TRAFFIC_TARGETS);
    const body = root.get('spec').isSet ? root.get('spec') : root;
    const rules = body.get('rules').isSet ? body.get('rules') : body.get('specs');
    const destination = readAccount(body.get('destination'), ref.namespace);
    if (destination.namespace !== ref.namespace) {
      body.get('destination').get('namespace').refuse(`${ref.namespace}, the target's own namespace`);
    }
    return {
      ref,
      destination,
      port: readPort(body.get('destination').get('port')),
      rules: rules.isSet ? rules.items('a list of rules').map(readRule) : undefined,
      sources: body
        .get('sources')
        .items('a list of ServiceAccounts')
        .map((item) => readAccount(item, ref.namespace)),
    };
  });
}

function readAccount(field: Field, namespace: string): NamespacedName {
  if (field.get('kind').value !== 'ServiceAccount') field.get('kind').refuse('ServiceAccount');
  return {
    namespace: field.get('namespace').text('the name of a namespace') ?? namespace,
    name: field.get('name').requiredText('the name of a ServiceAccount'),
  };
}

function readPort(field: Field): number | string | undefined {
  if (typeof field.value !== 'string') return field.integer(1, 65535);
  return /^\d+$/.test(field.value) ? Number(field.value) : field.text("a port's name");
}

function readRule(field: Field): TrafficRule {
  const kind = field.get('kind').oneOf(['HTTPRouteGroup', 'TCPRoute', 'UDPRoute']);
  if (!field.get('kind').isSet) field.get('kind').refuse('HTTPRouteGroup or TCPRoute');
  return {
    kind: kind ?? 'UDPRoute',
    name: field.get('name').requiredText('the name of an object'),
    matches: field
      .get('matches')
      .items('a list of names')
      .map((item) => item.requiredText('the name of a match')),
  };
}
