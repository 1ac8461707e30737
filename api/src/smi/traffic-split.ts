/** TrafficSplit of the Service Mesh Interface, v1alpha1 to v1alpha4: the traffic of one Service shared by others. */
import { type Field, readObject } from '../field.ts';
import { TRAFFIC_SPLITS } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import { readWeight } from '../service-profile.ts';

export interface TrafficSplit {
  readonly ref: ObjectRef;
  /** Name of the Service that clients call, in the split's own namespace. */
  readonly service: string;
  readonly backends: readonly SplitBackend[];
}

export interface SplitBackend {
  /** Name of a Service in the split's own namespace. */
  readonly service: string;
  /** A weight of 1 is 10,000. */
  readonly weight: number;
}

const SERVICE = 'the name of a Service';
const SERVICE_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseTrafficSplit(object: KubeObject): TrafficSplit {
  return readObject(object, (root) => {
    const spec = root.get('spec');
    const matches = spec.get('matches');
    // To split all requests where only some were meant would send the others astray.
    if (matches.items().length > 0) matches.refuse('nothing: a split of some requests is an HTTPRoute here');
    const backends = spec.get('backends').items();
    if (backends.length === 0) spec.get('backends').refuse('a list of at least one backend');
    return {
      ref: objectRef(object, TRAFFIC_SPLITS),
      service: readName(spec.get('service')),
      backends: backends.map((backend) => ({
        service: readName(backend.get('service')),
        weight: readWeight(backend.get('weight')),
      })),
    };
  });
}

function readName(field: Field): string {
  const name = field.requiredText(SERVICE);
  if (name !== '' && !SERVICE_NAME.test(name)) field.refuse(SERVICE);
  return name;
}
