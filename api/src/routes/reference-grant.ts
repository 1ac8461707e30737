/** ReferenceGrant of gateway.networking.k8s.io: what objects of other namespaces may name in this one. */
import { readObject } from '../field.ts';
import { REFERENCE_GRANTS } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';

export interface ReferenceGrant {
  readonly ref: ObjectRef;
  readonly from: readonly { readonly group: string; readonly kind: string; readonly namespace: string }[];
  /** Without a name: every object of the kind. */
  readonly to: readonly { readonly group: string; readonly kind: string; readonly name?: string }[];
}

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseReferenceGrant(object: KubeObject): ReferenceGrant {
  const ref = objectRef(object, REFERENCE_GRANTS);
  return readObject(object, (root) => {
    const group = (value: unknown) => (value === undefined || value === 'core' ? '' : String(value));
    const from = root
      .get('spec')
      .get('from')
      .items()
      .map((item) => ({
        group: group(item.get('group').value),
        kind: item.get('kind').requiredText('a kind'),
        namespace: item.get('namespace').requiredText('the name of a namespace'),
      }));
    const to = root
      .get('spec')
      .get('to')
      .items()
      .map((item) => ({
        group: group(item.get('group').value),
        kind: item.get('kind').requiredText('a kind'),
        name: item.get('name').text('the name of an object'),
      }));
    return { ref, from, to };
  });
}

/** Whether the grant, which stands in the target's namespace, lets the route name the target. */
export function isGranted(
  grant: ReferenceGrant,
  route: ObjectRef,
  target: { group: string; kind: string; namespace: string; name: string },
): boolean {
  return (
    grant.ref.namespace === target.namespace &&
    grant.from.some(
      ({ group, kind, namespace }) => group === route.group && kind === route.kind && namespace === route.namespace,
    ) &&
    grant.to.some(
      ({ group, kind, name }) =>
        group === target.group && kind === target.kind && (name === undefined || name === target.name),
    )
  );
}
