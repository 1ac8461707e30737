/** References of policies to other objects: `{ group, kind, name, namespace }`, groups and kinds in any case. */
import type { Field } from '../field.ts';

export const NAMESPACE = 'the name of a namespace';
export const POLICY_GROUP = 'policy.linkerd.io';
export const GATEWAY_GROUP = 'gateway.networking.k8s.io';

/** What may be referred to: a group, empty for the core group, and a kind in its own spelling. */
export interface RefKind {
  readonly group: string;
  readonly kind: string;
}

export interface NamespacedName {
  readonly namespace: string;
  readonly name: string;
}

/** The reference and which of `allowed` it means; undefined, and refused, where it means none of them. */
export function readTargetRef<T extends RefKind>(
  field: Field,
  allowed: readonly T[],
): { target: T; name: string; namespace: string | undefined } | undefined {
  const names = `a reference to one of ${allowed.map(kindText).join(', ')}`;
  if (!field.only('group', 'kind', 'name', 'namespace').object(names))
    return field.isSet ? undefined : field.refuse(names);
  const kind = field.get('kind').requiredText(allowed.map((each) => each.kind).join(', '));
  const group = canonicalGroup(field.get('group').value ?? '');
  const name = field.get('name').requiredText('the name of an object');
  const given = field.get('namespace');
  // An empty one is the referring object's own, as the schemas say.
  const namespace = given.value === '' ? undefined : given.text(NAMESPACE);
  if (kind === '' || name === '') return undefined;
  const target = allowed.find((each) => each.group === group && each.kind.toLowerCase() === kind.toLowerCase());
  return target ? { target, name, namespace } : field.refuse(names);
}

/** `core` is another word for the core group. */
function canonicalGroup(value: unknown): string {
  const group = typeof value === 'string' ? value.toLowerCase() : '?';
  return group === 'core' ? '' : group;
}

function kindText({ group, kind }: RefKind): string {
  return group === '' ? kind : `${kind}.${group}`;
}
