/** Role-based access control: what roles and bindings in the store allow a user to do. */
import type { User } from '../authentication/authenticator.ts';
import type { Store } from '../store/store.ts';
import type { Fields } from '../store/stored-object.ts';

export interface AccessAttributes {
  user: User;
  verb: string;
  /** Undefined for paths that are not of a resource. */
  resource?: {
    group: string;
    plural: string;
    subresource: string;
    namespace?: string | undefined;
    name?: string | undefined;
  };
  path?: string;
}

export interface Decision {
  isAllowed: boolean;
  reason: string;
}

export const SUPERUSERS_GROUP = 'system:masters';

export interface Authorizer {
  authorize(attributes: AccessAttributes): Decision;
  /** All rules that apply to the user in the namespace. */
  rulesOf(user: User, namespace: string): Fields[];
}

export function createAuthorizer(store: Store): Authorizer {
  function* grants(user: User, namespace: string | undefined): Generator<{ rules: Fields[]; binding: string }> {
    for (const { object } of store.list('clusterrolebindings.rbac.authorization.k8s.io')) {
      if (bindsTo(object, user, undefined))
        yield {
          rules: rulesFor(object.roleRef, undefined),
          binding: `ClusterRoleBinding "${object.metadata.name}" of ${object.roleRef.kind} "${object.roleRef.name}"`,
        };
    }
    if (namespace === undefined) return;
    for (const { object } of store.list('rolebindings.rbac.authorization.k8s.io', namespace)) {
      if (bindsTo(object, user, namespace))
        yield {
          rules: rulesFor(object.roleRef, namespace),
          binding: `RoleBinding "${object.metadata.name}/${namespace}" of ${object.roleRef.kind} "${object.roleRef.name}"`,
        };
    }
  }
  function rulesFor(roleRef: Fields, namespace: string | undefined): Fields[] {
    const entry =
      roleRef.kind === 'ClusterRole'
        ? store.get('clusterroles.rbac.authorization.k8s.io', roleRef.name)
        : namespace === undefined
          ? undefined
          : store.get('roles.rbac.authorization.k8s.io', `${namespace}/${roleRef.name}`);
    return entry?.object.rules ?? [];
  }
  return {
    authorize: (attributes) => {
      const { user, resource } = attributes;
      if (user.groups.includes(SUPERUSERS_GROUP)) return { isAllowed: true, reason: '' };
      for (const { rules, binding } of grants(user, resource?.namespace)) {
        if (rules.some((rule) => allows(rule, attributes)))
          return { isAllowed: true, reason: `RBAC: allowed by ${binding} to ${user.name}` };
      }
      return { isAllowed: false, reason: '' };
    },
    rulesOf: (user, namespace) => {
      if (user.groups.includes(SUPERUSERS_GROUP)) {
        return [
          { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
          { verbs: ['*'], nonResourceURLs: ['*'] },
        ];
      }
      return [...grants(user, namespace)].flatMap(({ rules }) => rules);
    },
  };
}

function bindsTo(binding: Fields, user: User, namespace: string | undefined): boolean {
  return (binding.subjects ?? []).some((subject: Fields) => {
    switch (subject.kind) {
      case 'User':
        return subject.name === user.name;
      case 'Group':
        return user.groups.includes(subject.name);
      case 'ServiceAccount':
        return user.name === `system:serviceaccount:${subject.namespace ?? namespace}:${subject.name}`;
      default:
        return false;
    }
  });
}

function allows(rule: Fields, { verb, resource, path }: AccessAttributes): boolean {
  if (!matches(rule.verbs, verb)) return false;
  if (resource === undefined) {
    return (rule.nonResourceURLs ?? []).some(
      (pattern: string) =>
        pattern === '*' || pattern === path || (pattern.endsWith('*') && path!.startsWith(pattern.slice(0, -1))),
    );
  }
  if (!matches(rule.apiGroups, resource.group)) return false;
  const full = resource.subresource === '' ? resource.plural : `${resource.plural}/${resource.subresource}`;
  const isResource = (rule.resources ?? []).some(
    (pattern: string) =>
      pattern === '*' || pattern === full || (resource.subresource !== '' && pattern === `*/${resource.subresource}`),
  );
  if (!isResource) return false;
  const names: string[] = rule.resourceNames ?? [];
  return names.length === 0 || (resource.name !== undefined && names.includes(resource.name));
}

function matches(list: string[] | undefined, value: string): boolean {
  return list?.includes('*') === true || list?.includes(value) === true;
}
