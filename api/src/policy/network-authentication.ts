/** NetworkAuthentication of policy.linkerd.io: clients by their address. */
import { readObject, readSpec } from '../field.ts';
import { NETWORK_AUTHENTICATIONS } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import { type NetworkMatch, readNetworks } from './network.ts';

export interface NetworkAuthentication {
  readonly ref: ObjectRef;
  /** One of them must hold; never empty. */
  readonly networks: readonly NetworkMatch[];
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseNetworkAuthentication(object: KubeObject): NetworkAuthentication {
  return readObject(object, (root) => {
    const field = readSpec(root).only('networks').get('networks');
    if (!field.isSet || (Array.isArray(field.value) && field.value.length === 0)) field.refuse('at least one network');
    return { ref: objectRef(object, NETWORK_AUTHENTICATIONS), networks: readNetworks(field) };
  });
}
