/**
 * AuthorizationPolicy of policy.linkerd.io: who may reach a Server, a route of one, or every Server of the namespace.
 */
import { readObject, readSpec } from '../field.ts';
import { AUTHORIZATION_POLICIES } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import { GATEWAY_GROUP, type NamespacedName, POLICY_GROUP, readTargetRef } from './target-ref.ts';

export interface AuthorizationPolicy {
  readonly ref: ObjectRef;
  /** In the policy's own namespace. */
  readonly target: AuthorizationTarget;
  /** All of them must hold; none of them: everybody is let in. */
  readonly required: readonly RequiredAuthentication[];
}

const TARGETS = [
  { group: POLICY_GROUP, kind: 'Server' },
  { group: '', kind: 'Namespace' },
  { group: POLICY_GROUP, kind: 'HTTPRoute' },
  { group: GATEWAY_GROUP, kind: 'HTTPRoute' },
  { group: GATEWAY_GROUP, kind: 'GRPCRoute' },
] as const;
export type AuthorizationTarget = (typeof TARGETS)[number] & { readonly name: string };

const AUTHENTICATIONS = [
  { group: POLICY_GROUP, kind: 'MeshTLSAuthentication' },
  { group: POLICY_GROUP, kind: 'NetworkAuthentication' },
  { group: '', kind: 'ServiceAccount' },
] as const;
export type RequiredAuthentication = { readonly kind: (typeof AUTHENTICATIONS)[number]['kind'] } & NamespacedName;

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseAuthorizationPolicy(object: KubeObject): AuthorizationPolicy {
  return readObject(object, (root) => {
    const ref = objectRef(object, AUTHORIZATION_POLICIES);
    const spec = readSpec(root).only('targetRef', 'requiredAuthenticationRefs');
    const targetField = spec.get('targetRef');
    const target = readTargetRef(targetField, TARGETS);
    if (target?.target.kind === 'Namespace' && target.name !== ref.namespace) {
      targetField.get('name').refuse(`${ref.namespace}, the policy's own namespace`);
    }
    if (target?.namespace !== undefined && target.namespace !== ref.namespace) {
      targetField.get('namespace').refuse(`${ref.namespace}, the policy's own namespace`);
    }

    const list = spec.get('requiredAuthenticationRefs');
    if (!list.isSet) list.refuse('a list of authentications, empty to let in everybody');
    const required: RequiredAuthentication[] = [];
    for (const item of list.items('a list of authentications')) {
      const found = readTargetRef(item, AUTHENTICATIONS);
      if (!found) continue;
      const { kind } = found.target;
      if (required.some((other) => isSameQuestion(other.kind, kind))) {
        item.refuse('at most one NetworkAuthentication, and one MeshTLSAuthentication or ServiceAccount');
      }
      required.push({ kind, namespace: found.namespace ?? ref.namespace, name: found.name });
    }
    return { ref, target: { ...(target?.target ?? TARGETS[0]), name: target?.name ?? '' }, required };
  });
}

/** Both ask who the client is, or both where it is. */
function isSameQuestion(a: RequiredAuthentication['kind'], b: RequiredAuthentication['kind']): boolean {
  return (a === 'NetworkAuthentication') === (b === 'NetworkAuthentication');
}
