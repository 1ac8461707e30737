/** Roles, bindings, webhook configurations and the kinds that are only asked, never stored. */

import { isDeepStrictEqual } from 'node:util';
import { type FieldError, invalidValue, required } from '../apiserver/status.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { defineResource } from './define.ts';
import { dnsSubdomain, pathSegment } from './names.ts';
import type { Column, Resource } from './resource.ts';

const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1', nameRule: pathSegment } as const;

const roleColumns: Column[] = [
  nameColumn,
  { name: 'Created At', value: (object) => object.metadata.creationTimestamp },
];

const bindingColumns: Column[] = [
  nameColumn,
  { name: 'Role', value: (object) => `${object.roleRef?.kind}/${object.roleRef?.name}` },
  ageColumn,
  ...(['User', 'Group', 'ServiceAccount'] as const).map(
    (kind): Column => ({
      name: `${kind}s`,
      priority: 1,
      value: (object) =>
        (object.subjects ?? [])
          .filter((subject: Fields) => subject.kind === kind)
          .map((subject: Fields) => (kind === 'ServiceAccount' ? `${subject.namespace}/${subject.name}` : subject.name))
          .join(', '),
    }),
  ),
];

function validateRole(object: Fields): FieldError[] {
  const errors: FieldError[] = [];
  for (const [i, rule] of (object.rules ?? []).entries()) {
    if ((rule.verbs ?? []).length === 0)
      errors.push(required(`rules[${i}].verbs`, 'verbs must contain at least one value'));
    if ((rule.nonResourceURLs ?? []).length > 0) {
      if (object.kind === 'Role')
        errors.push(
          invalidValue(
            `rules[${i}].nonResourceURLs`,
            rule.nonResourceURLs,
            'namespaced rules cannot apply to non-resource URLs',
          ),
        );
      continue;
    }
    if ((rule.apiGroups ?? []).length === 0)
      errors.push(required(`rules[${i}].apiGroups`, 'resource rules must supply at least one api group'));
    if ((rule.resources ?? []).length === 0)
      errors.push(required(`rules[${i}].resources`, 'resource rules must supply at least one resource'));
  }
  return errors;
}

function applyBindingDefaults(object: Fields): void {
  const group = 'rbac.authorization.k8s.io';
  if (object.roleRef !== undefined) object.roleRef.apiGroup ??= group;
  for (const subject of object.subjects ?? []) {
    if (subject.kind === 'ServiceAccount') subject.apiGroup ??= undefined;
    else subject.apiGroup ??= group;
    if (subject.apiGroup === undefined) delete subject.apiGroup;
  }
}

function validateBinding(object: Fields): FieldError[] {
  const errors: FieldError[] = [];
  for (const [i, subject] of (object.subjects ?? []).entries()) {
    if (!['User', 'Group', 'ServiceAccount'].includes(subject.kind)) {
      errors.push({
        reason: 'FieldValueNotSupported',
        message: `Unsupported value: ${JSON.stringify(subject.kind)}: supported values: "ServiceAccount", "User", "Group"`,
        field: `subjects[${i}].kind`,
      });
    } else if (subject.kind === 'ServiceAccount' && !subject.namespace && object.kind === 'ClusterRoleBinding') {
      errors.push(required(`subjects[${i}].namespace`));
    }
  }
  return errors;
}

function immutableRoleRef(object: Fields, old: StoredObject): FieldError[] {
  return isDeepStrictEqual(object.roleRef, old.roleRef)
    ? []
    : [invalidValue('roleRef', object.roleRef, 'cannot change roleRef')];
}

export const roles: Resource = defineResource({
  ...rbac,
  kind: 'Role',
  plural: 'roles',
  namespaced: true,
  validate: validateRole,
  columns: roleColumns,
});
export const clusterRoles: Resource = defineResource({
  ...rbac,
  kind: 'ClusterRole',
  plural: 'clusterroles',
  namespaced: false,
  validate: validateRole,
  columns: roleColumns,
});
const bindings = {
  ...rbac,
  applyDefaults: applyBindingDefaults,
  validate: validateBinding,
  validateUpdate: immutableRoleRef,
  columns: bindingColumns,
};
export const roleBindings: Resource = defineResource({
  ...bindings,
  kind: 'RoleBinding',
  plural: 'rolebindings',
  namespaced: true,
});
export const clusterRoleBindings: Resource = defineResource({
  ...bindings,
  kind: 'ClusterRoleBinding',
  plural: 'clusterrolebindings',
  namespaced: false,
});

const admission = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  namespaced: false,
  categories: ['api-extensions'],
  hasGeneration: true,
  columns: [
    nameColumn,
    { name: 'Webhooks', type: 'integer', value: (object) => object.webhooks?.length ?? 0 },
    ageColumn,
  ] as Column[],
} as const;

function applyWebhookDefaults(object: Fields): void {
  for (const webhook of object.webhooks ?? []) {
    webhook.failurePolicy ??= 'Fail';
    webhook.matchPolicy ??= 'Equivalent';
    webhook.namespaceSelector ??= {};
    webhook.objectSelector ??= {};
    webhook.timeoutSeconds ??= 10;
    if (object.kind === 'MutatingWebhookConfiguration') webhook.reinvocationPolicy ??= 'Never';
    for (const rule of webhook.rules ?? []) rule.scope ??= '*';
    const { service } = webhook.clientConfig ?? {};
    if (service !== undefined) service.port ??= 443;
  }
}

function validateWebhooks(object: Fields): FieldError[] {
  const errors: FieldError[] = [];
  for (const [i, webhook] of (object.webhooks ?? []).entries()) {
    const at = `webhooks[${i}]`;
    if (webhook.name && webhook.name.split('.').length < 3)
      errors.push(
        invalidValue(`${at}.name`, webhook.name, 'should be a domain with at least three segments separated by dots'),
      );
    const { url, service } = webhook.clientConfig ?? {};
    if ((url === undefined) === (service === undefined))
      errors.push(required(`${at}.clientConfig`, 'exactly one of url or service is required'));
    if (url !== undefined && !/^https:\/\/[^/]+/.test(url))
      errors.push(invalidValue(`${at}.clientConfig.url`, url, "'https' is the only allowed URL scheme"));
    const choices: Record<string, readonly string[]> = {
      failurePolicy: ['Fail', 'Ignore'],
      matchPolicy: ['Equivalent', 'Exact'],
      sideEffects: ['None', 'NoneOnDryRun'],
    };
    for (const [field, supported] of Object.entries(choices)) {
      if (webhook[field] !== undefined && !supported.includes(webhook[field])) {
        errors.push({
          reason: 'FieldValueNotSupported',
          message: `Unsupported value: ${JSON.stringify(webhook[field])}: supported values: ${supported.map((s) => JSON.stringify(s)).join(', ')}`,
          field: `${at}.${field}`,
        });
      }
    }
    if (webhook.timeoutSeconds < 1 || webhook.timeoutSeconds > 30)
      errors.push(
        invalidValue(
          `${at}.timeoutSeconds`,
          webhook.timeoutSeconds,
          'the timeout value must be between 1 and 30 seconds',
        ),
      );
    if (!webhook.admissionReviewVersions?.includes('v1'))
      errors.push(
        invalidValue(
          `${at}.admissionReviewVersions`,
          webhook.admissionReviewVersions ?? [],
          'must include at least one of v1',
        ),
      );
    if ((webhook.matchConditions ?? []).length > 0)
      errors.push({
        reason: 'FieldValueForbidden',
        message: 'Forbidden: this API server has no match conditions',
        field: `${at}.matchConditions`,
      });
  }
  return errors;
}

const webhooks = {
  ...admission,
  nameRule: dnsSubdomain,
  applyDefaults: applyWebhookDefaults,
  validate: validateWebhooks,
};
export const mutatingWebhooks: Resource = defineResource({
  ...webhooks,
  kind: 'MutatingWebhookConfiguration',
  plural: 'mutatingwebhookconfigurations',
});
export const validatingWebhooks: Resource = defineResource({
  ...webhooks,
  kind: 'ValidatingWebhookConfiguration',
  plural: 'validatingwebhookconfigurations',
});

const review = { verbs: ['create'], hasStatus: false, hasGeneration: false } as const;
const authentication = { ...review, group: 'authentication.k8s.io', version: 'v1', namespaced: false } as const;
const authorization = { ...review, group: 'authorization.k8s.io', version: 'v1', namespaced: false } as const;

/** Kinds that are answered at once and stored nowhere. */
export const reviews: Resource[] = [
  defineResource({ ...authentication, kind: 'TokenReview', plural: 'tokenreviews' }),
  defineResource({ ...authentication, kind: 'SelfSubjectReview', plural: 'selfsubjectreviews' }),
  defineResource({ ...authorization, kind: 'SubjectAccessReview', plural: 'subjectaccessreviews' }),
  defineResource({ ...authorization, kind: 'SelfSubjectAccessReview', plural: 'selfsubjectaccessreviews' }),
  defineResource({ ...authorization, kind: 'SelfSubjectRulesReview', plural: 'selfsubjectrulesreviews' }),
  defineResource({
    ...authorization,
    kind: 'LocalSubjectAccessReview',
    plural: 'localsubjectaccessreviews',
    namespaced: true,
  }),
];
