/**
 * TrafficSplit of the Service Mesh Interface, v1alpha1 to v1alpha4: the requests of one Service shared by others; all of
 * them, or (from v1alpha3 on) those that route groups match.
 */
import { type Field, readObject } from '../field.ts';
import { HTTP_ROUTE_GROUPS, TRAFFIC_SPLITS } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { groupOf, type ObjectRef, objectRef } from '../object-ref.ts';
import { readWeight } from '../service-profile.ts';

export interface TrafficSplit {
  readonly ref: ObjectRef;
  /** Name of the Service that clients call, in the split's own namespace. */
  readonly service: string;
  /** Names of HTTPRouteGroups in the split's own namespace, any of which takes a request; none: every request is shared. */
  readonly groups: readonly string[];
  readonly backends: readonly SplitBackend[];
}

export interface SplitBackend {
  /** Name of a Service in the split's own namespace. */
  readonly service: string;
  /** A weight of 1 is 10,000. */
  readonly weight: number;
}

const SERVICE_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseTrafficSplit(object: KubeObject): TrafficSplit {
  return readObject(object, (root) => {
    const spec = root.get('spec');
    const ref = objectRef(object, TRAFFIC_SPLITS);
    const backends = spec.get('backends').items();
    if (backends.length === 0) spec.get('backends').refuse('a list of at least one backend');
    return {
      ref,
      service: readName(spec.get('service'), ref.namespace),
      groups: spec.get('matches').items('a list of HTTPRouteGroups').map(readGroup),
      backends: backends.map((backend) => ({
        service: readName(backend.get('service'), ref.namespace),
        weight: readWeight(backend.get('weight')),
      })),
    };
  });
}

/** To take a reference for another one would share requests that were not meant. */
function readGroup(field: Field): string {
  const group = field.get('apiGroup').text('specs.smi-spec.io') ?? groupOf(HTTP_ROUTE_GROUPS.apiVersion);
  if (group !== groupOf(HTTP_ROUTE_GROUPS.apiVersion)) field.get('apiGroup').refuse('specs.smi-spec.io');
  if (field.get('kind').value !== 'HTTPRouteGroup') field.get('kind').refuse('HTTPRouteGroup');
  return field.get('name').requiredText('the name of an HTTPRouteGroup');
}

/** A name, or the DNS name that clients use: `web.shop.svc.cluster.local`. */
function readName(field: Field, namespace: string): string {
  const allowed = `the name of a Service of namespace ${namespace}`;
  const [name = '', ...rest] = field.requiredText(allowed).split('.');
  if (name === '' && rest.length === 0) return name;
  const isHere = rest.length === 0 || (rest[0] === namespace && (rest[1] ?? 'svc') === 'svc');
  if (!SERVICE_NAME.test(name) || !isHere) field.refuse(allowed);
  return name;
}
