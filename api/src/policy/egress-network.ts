/** EgressNetwork of policy.linkerd.io: what clients may do with addresses outside the cluster. */
import { Field, readObject, readSpec } from '../field.ts';
import { EGRESS_NETWORKS } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import { type NetworkMatch, readNetworks } from './network.ts';

export interface EgressNetwork {
  readonly ref: ObjectRef;
  readonly trafficPolicy: 'Allow' | 'Deny';
  /** Not set: everything outside the cluster's networks. */
  readonly networks?: readonly NetworkMatch[];
  /** Retries, timeouts, balancing and opaque ports, for who reads them. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseEgressNetwork(object: KubeObject): EgressNetwork {
  return readObject(object, readFields(object));
}

/**
 * As much of it as can be read, such that nothing is allowed that the whole would forbid: what says neither Allow nor Deny
 * denies; where anything of it cannot be read, one that denies does so everywhere outside the cluster, and one that allows
 * does so in the networks alone that can be read.
 */
export function readEgressNetwork(object: KubeObject): { network: EgressNetwork; problems: readonly string[] } {
  const problems: string[] = [];
  const network = readFields(object)(new Field('', object, problems));
  if (problems.length === 0) return { network, problems };
  const networks = network.trafficPolicy === 'Deny' ? undefined : (network.networks ?? []);
  return { network: { ...network, networks }, problems };
}

const readFields =
  (object: KubeObject) =>
  (root: Field): EgressNetwork => {
    const spec = readSpec(root).only('trafficPolicy', 'networks');
    const policy = spec.get('trafficPolicy');
    const trafficPolicy =
      policy.oneOf(['Allow', 'Deny']) ?? (policy.isSet ? undefined : policy.refuse('Allow or Deny'));
    const field = spec.get('networks');
    if (Array.isArray(field.value) && field.value.length === 0) field.refuse('at least one network, or no such field');
    return {
      ref: objectRef(object, EGRESS_NETWORKS),
      trafficPolicy: trafficPolicy ?? 'Deny',
      networks: field.isSet ? readNetworks(field) : undefined,
      annotations: object.metadata.annotations ?? {},
    };
  };
