/** MeshTLSAuthentication of policy.linkerd.io: clients by the identity that mutual TLS proves. */
import { type Field, readObject, readSpec } from '../field.ts';
import { MESH_TLS_AUTHENTICATIONS } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import { type IdentityMatch, readIdentity } from './identity-match.ts';
import { type NamespacedName, readTargetRef } from './target-ref.ts';

export interface MeshTLSAuthentication {
  readonly ref: ObjectRef;
  /** One of these, of `serviceAccounts` or of `namespaces` must hold; never all empty. */
  readonly identities: readonly IdentityMatch[];
  readonly serviceAccounts: readonly NamespacedName[];
  /** Every ServiceAccount of these. */
  readonly namespaces: readonly string[];
}

const SERVICE_ACCOUNT = { group: '', kind: 'ServiceAccount' } as const;
const NAMESPACE = { group: '', kind: 'Namespace' } as const;

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseMeshTLSAuthentication(object: KubeObject): MeshTLSAuthentication {
  return readObject(object, (root) => {
    const ref = objectRef(object, MESH_TLS_AUTHENTICATIONS);
    const spec = readSpec(root).only('identities', 'identityRefs');
    const identities = spec.get('identities');
    const refs = spec.get('identityRefs');
    if (identities.isSet === refs.isSet) {
      (identities.isSet ? refs : identities).refuse('one of identities and identityRefs');
    }
    for (const field of [identities, refs]) if (isEmptyList(field)) field.refuse('at least one');
    const serviceAccounts: NamespacedName[] = [];
    const namespaces: string[] = [];
    for (const item of refs.items()) {
      const found = readTargetRef(item, [SERVICE_ACCOUNT, NAMESPACE]);
      if (found?.target === SERVICE_ACCOUNT) {
        serviceAccounts.push({ namespace: found.namespace ?? ref.namespace, name: found.name });
      } else if (found?.namespace !== undefined) item.get('namespace').refuse('nothing for a Namespace');
      else if (found) namespaces.push(found.name);
    }
    return {
      ref,
      identities: identities.items().flatMap((item) => readIdentity(item) ?? []),
      serviceAccounts,
      namespaces,
    };
  });
}

function isEmptyList(field: Field): boolean {
  return Array.isArray(field.value) && field.value.length === 0;
}
