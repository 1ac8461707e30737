/** Validation of metadata, the same for every kind. */
import { type FieldError, forbiddenField, invalidValue, required } from '../apiserver/status.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { labelValueRule, qualifiedNameRule } from './names.ts';
import type { Resource } from './resource.ts';

/** The real API server's limit on all annotations of an object together. */
export const ANNOTATIONS_BYTES_MAX = 256 * 1024;

export function validateMetadata(object: Fields, resource: Resource, old?: StoredObject): FieldError[] {
  const { metadata } = object;
  const errors: FieldError[] = [];
  if (typeof metadata.name !== 'string' || metadata.name === '') {
    errors.push(required('metadata.name', 'name or generateName is required'));
  } else if (old === undefined) {
    const problem = resource.nameRule(metadata.name);
    if (problem !== undefined) errors.push(invalidValue('metadata.name', metadata.name, problem));
  }
  errors.push(...validateLabels(metadata.labels, 'metadata.labels'));
  let annotationBytes = 0;
  for (const [key, value] of Object.entries<string>(metadata.annotations ?? {})) {
    annotationBytes += key.length + value.length;
    const problem = qualifiedNameRule(key.toLowerCase());
    if (problem !== undefined) errors.push(invalidValue('metadata.annotations', key, problem));
  }
  if (annotationBytes > ANNOTATIONS_BYTES_MAX) {
    errors.push({
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${ANNOTATIONS_BYTES_MAX} bytes`,
      field: 'metadata.annotations',
    });
  }
  for (const [i, owner] of (metadata.ownerReferences ?? []).entries()) {
    for (const field of ['apiVersion', 'kind', 'name', 'uid']) {
      if (!owner[field]) errors.push(required(`metadata.ownerReferences[${i}].${field}`, 'must not be empty'));
    }
  }
  const controllers = (metadata.ownerReferences ?? []).filter((owner: Fields) => owner.controller === true);
  if (controllers.length > 1) {
    errors.push(
      invalidValue(
        'metadata.ownerReferences',
        controllers.map((owner: Fields) => owner.name),
        'Only one reference can have Controller set to true',
      ),
    );
  }
  for (const [i, finalizer] of (metadata.finalizers ?? []).entries()) {
    const problem = qualifiedNameRule(finalizer);
    if (problem !== undefined) errors.push(invalidValue(`metadata.finalizers[${i}]`, finalizer, problem));
    if (old?.metadata.deletionTimestamp !== undefined && !old.metadata.finalizers?.includes(finalizer)) {
      errors.push(
        forbiddenField(
          'metadata.finalizers',
          `no new finalizers can be added if the object is being deleted, found new finalizers []string{${JSON.stringify(finalizer)}}`,
        ),
      );
    }
  }
  return errors;
}

export function validateLabels(labels: Record<string, string> | undefined, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(labels ?? {})) {
    const keyProblem = qualifiedNameRule(key);
    if (keyProblem !== undefined) errors.push(invalidValue(field, key, keyProblem));
    const valueProblem = labelValueRule(value);
    if (valueProblem !== undefined) errors.push(invalidValue(field, value, valueProblem));
  }
  return errors;
}
