/** The kind CustomResourceDefinition; custom-resource.ts makes served kinds of them. */
import { type FieldError, invalidValue, required } from '../apiserver/status.ts';
import type { Fields } from '../store/stored-object.ts';
import { nameColumn } from './columns.ts';
import { defineResource } from './define.ts';
import { dns1035Label, dnsSubdomain } from './names.ts';
import type { Resource } from './resource.ts';
import { oneOf } from './validate-pod-spec.ts';

export const customResourceDefinitions: Resource = defineResource({
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  namespaced: false,
  shortNames: ['crd', 'crds'],
  categories: ['api-extensions'],
  applyDefaults: (object) => {
    const { spec } = object;
    if (spec === undefined) return;
    spec.conversion ??= { strategy: 'None' };
    const { names } = spec;
    if (names === undefined) return;
    names.singular ??= names.kind?.toLowerCase();
    names.listKind ??= `${names.kind}List`;
  },
  prepareCreate: (object) => {
    object.status = {};
  },
  validate,
  validateUpdate: (object, old) => {
    const errors: FieldError[] = [];
    for (const field of ['group', 'scope']) {
      if (object.spec[field] !== old.spec[field])
        errors.push(invalidValue(`spec.${field}`, object.spec[field], 'field is immutable'));
    }
    for (const field of ['plural', 'kind']) {
      if (object.spec.names?.[field] !== old.spec.names[field])
        errors.push(invalidValue(`spec.names.${field}`, object.spec.names?.[field], 'field is immutable'));
    }
    return errors;
  },
  columns: [nameColumn, { name: 'Created At', value: (object) => object.metadata.creationTimestamp }],
});

function validate(object: Fields): FieldError[] {
  const errors: FieldError[] = [];
  const { spec, metadata } = object;
  if (spec === undefined) return errors;
  const { names, versions, group } = spec;
  if (names?.plural && group && metadata.name !== `${names.plural}.${group}`) {
    errors.push(invalidValue('metadata.name', metadata.name, 'must be spec.names.plural+"."+spec.group'));
  }
  const groupProblem = group ? dnsSubdomain(group) : undefined;
  if (groupProblem !== undefined) errors.push(invalidValue('spec.group', group, groupProblem));
  oneOf(errors, 'spec.scope', spec.scope, ['Cluster', 'Namespaced']);
  oneOf(errors, 'spec.conversion.strategy', spec.conversion?.strategy, ['None', 'Webhook']);
  if (spec.conversion?.strategy === 'Webhook') {
    errors.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: this API server converts only with strategy None',
      field: 'spec.conversion.strategy',
    });
  }
  for (const field of ['plural', 'singular']) {
    const problem = names?.[field] ? dns1035Label(names[field]) : undefined;
    if (problem !== undefined) errors.push(invalidValue(`spec.names.${field}`, names[field], problem));
  }
  if ((versions ?? []).length === 0) errors.push(required('spec.versions', 'must have at least one version'));
  const storing = (versions ?? []).filter((version: Fields) => version.storage === true);
  if (storing.length !== 1)
    errors.push(
      invalidValue(
        'spec.versions',
        versions?.map((v: Fields) => v.name),
        'must have exactly one version marked as storage version',
      ),
    );
  for (const [i, version] of (versions ?? []).entries()) {
    const at = `spec.versions[${i}]`;
    const schema = version.schema?.openAPIV3Schema;
    if (schema === undefined) errors.push(required(`${at}.schema.openAPIV3Schema`, 'schemas are required'));
    else validateSchema(errors, schema, `${at}.schema.openAPIV3Schema`, 0);
  }
  return errors;
}

/** Nesting of schemas; structural ones are trees of a few levels. */
const SCHEMA_DEPTH_MAX = 64;

/** The rules of structural schemas that a mistake is likely to break. */
function validateSchema(errors: FieldError[], schema: Fields, path: string, depth: number): void {
  if (typeof schema !== 'object' || schema === null || depth > SCHEMA_DEPTH_MAX) {
    errors.push(invalidValue(path, schema, 'must be a schema'));
    return;
  }
  const isOpen =
    schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (!schema.type && !isOpen)
    errors.push(
      required(
        `${path}.type`,
        depth === 0 ? 'must not be empty at the root' : 'must not be empty for specified object fields',
      ),
    );
  if (depth === 0 && schema.type !== undefined && schema.type !== 'object')
    errors.push(invalidValue(`${path}.type`, schema.type, 'must be object at the root'));
  if (schema.properties !== undefined && schema.additionalProperties !== undefined) {
    errors.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: additionalProperties and properties are mutual exclusive',
      field: `${path}.additionalProperties`,
    });
  }
  if (schema.$ref !== undefined)
    errors.push({ reason: 'FieldValueForbidden', message: 'Forbidden: $ref is not supported', field: `${path}.$ref` });
  if (schema.type === 'array' && schema.items === undefined)
    errors.push(required(`${path}.items`, 'must be specified'));
  if (schema['x-kubernetes-list-type'] === 'map' && (schema['x-kubernetes-list-map-keys'] ?? []).length === 0) {
    errors.push(required(`${path}.x-kubernetes-list-map-keys`, 'must not be empty if x-kubernetes-list-type is map'));
  }
  if (typeof schema.pattern === 'string') {
    try {
      new RegExp(schema.pattern);
    } catch (error) {
      errors.push(
        invalidValue(
          `${path}.pattern`,
          schema.pattern,
          `must be a valid regular expression: ${(error as Error).message}`,
        ),
      );
    }
  }
  for (const [name, property] of Object.entries<Fields>(schema.properties ?? {}))
    validateSchema(errors, property, `${path}.properties[${name}]`, depth + 1);
  if (schema.items !== undefined) validateSchema(errors, schema.items, `${path}.items`, depth + 1);
  if (typeof schema.additionalProperties === 'object')
    validateSchema(errors, schema.additionalProperties, `${path}.additionalProperties`, depth + 1);
}
