/** Server of policy.linkerd.io, v1alpha1 to v1beta3: a port of the workloads that a selector means, closed by default. */
import { type Field, readObject, readSpec } from '../field.ts';
import { SERVERS } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type LabelSelector, type Labels, readLabelSelector } from '../label-selector.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';

export const ACCESS_POLICIES = [
  'all-unauthenticated',
  'all-authenticated',
  'cluster-unauthenticated',
  'cluster-authenticated',
  'deny',
  'audit',
] as const;
/** Who may speak to a port, beside those that authorizations name. */
export type AccessPolicy = (typeof ACCESS_POLICIES)[number];

export type ServerProtocol = 'detect' | 'http1' | 'http2' | 'grpc' | 'opaque' | 'tls';

export interface Server {
  readonly ref: ObjectRef;
  /** By which ServerAuthorizations may select it. */
  readonly labels: Labels;
  readonly workloads: WorkloadSelector;
  /** A number, or the name of a port of the workload. */
  readonly port: number | string;
  readonly protocol: ServerProtocol;
  readonly accessPolicy: AccessPolicy;
}

export interface WorkloadSelector {
  readonly kind: 'Pod' | 'ExternalWorkload';
  readonly selector: LabelSelector;
}

const PROTOCOLS = {
  unknown: 'detect',
  'HTTP/1': 'http1',
  'HTTP/2': 'http2',
  gRPC: 'grpc',
  opaque: 'opaque',
  TLS: 'tls',
} as const satisfies Record<string, ServerProtocol>;
const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as (keyof typeof PROTOCOLS)[];

/** Of its spec, in all versions. */
export const SERVER_FIELDS = ['podSelector', 'externalWorkloadSelector', 'port', 'proxyProtocol', 'accessPolicy'];
const PORT = "1 to 65535 or a port's name";
const ONE_SELECTOR = 'one of podSelector and externalWorkloadSelector';

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseServer(object: KubeObject): Server {
  return readObject(object, (root) => {
    const spec = readSpec(root).only(...SERVER_FIELDS);
    return {
      ref: objectRef(object, SERVERS),
      labels: object.metadata.labels ?? {},
      workloads: readWorkloads(spec),
      port: readPort(spec.get('port')) ?? 0,
      protocol: PROTOCOLS[spec.get('proxyProtocol').oneOf(PROTOCOL_NAMES) ?? 'unknown'],
      accessPolicy: spec.get('accessPolicy').oneOf(ACCESS_POLICIES) ?? 'deny',
    };
  });
}

function readWorkloads(spec: Field): WorkloadSelector {
  const pods = spec.get('podSelector');
  const external = spec.get('externalWorkloadSelector');
  if (pods.isSet === external.isSet) (pods.isSet ? external : pods).refuse(ONE_SELECTOR);
  return external.isSet && !pods.isSet
    ? { kind: 'ExternalWorkload', selector: readLabelSelector(external) }
    : { kind: 'Pod', selector: readLabelSelector(pods) };
}

function readPort(field: Field): number | string | undefined {
  if (typeof field.value !== 'string') return field.isSet ? field.integer(1, 65535, PORT) : field.refuse(PORT);
  return field.value === '' || /^\d+$/.test(field.value) ? field.refuse(PORT) : field.value;
}
