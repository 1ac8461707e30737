/** Rules that kinds with a pod template share. */
import { isDeepStrictEqual } from 'node:util';
import { labelSelectorPredicate } from '../apiserver/selector.ts';
import { type FieldError, invalidValue } from '../apiserver/status.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { validateLabels } from './validate-metadata.ts';
import { oneOf, validatePodSpec } from './validate-pod-spec.ts';

/** The spec, made when it is not there. */
export function specOf(object: Fields): Fields {
  object.spec ??= {};
  return object.spec;
}

export function validateWorkload(object: Fields, restartPolicies: readonly string[]): FieldError[] {
  const { spec } = object;
  const errors: FieldError[] = [];
  if (spec.replicas < 0)
    errors.push(invalidValue('spec.replicas', spec.replicas, 'must be greater than or equal to 0'));
  if (spec.minReadySeconds < 0)
    errors.push(invalidValue('spec.minReadySeconds', spec.minReadySeconds, 'must be greater than or equal to 0'));
  const { selector, template } = spec;
  if (selector !== undefined) {
    errors.push(...validateLabels(selector.matchLabels, 'spec.selector.matchLabels'));
    const isEmpty =
      Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0;
    if (isEmpty) errors.push(invalidValue('spec.selector', {}, 'empty selector is invalid for deployment'));
    else if (template !== undefined && !labelSelectorPredicate(selector)(template.metadata?.labels)) {
      errors.push(
        invalidValue(
          'spec.template.metadata.labels',
          template.metadata?.labels ?? null,
          '`selector` does not match template `labels`',
        ),
      );
    }
  }
  errors.push(...validateTemplate(template, 'spec.template', restartPolicies));
  return errors;
}

export function validateTemplate(
  template: Fields | undefined,
  path: string,
  restartPolicies: readonly string[],
): FieldError[] {
  if (template === undefined) return [];
  const errors = validateLabels(template.metadata?.labels, `${path}.labels`);
  const spec = template.spec ?? {};
  errors.push(...validatePodSpec(spec, `${path}.spec`));
  if (['Always', 'OnFailure', 'Never'].includes(spec.restartPolicy))
    oneOf(errors, `${path}.spec.restartPolicy`, spec.restartPolicy, restartPolicies);
  return errors;
}

export function immutableSelector(object: Fields, old: StoredObject): FieldError[] {
  if (isDeepStrictEqual(object.spec.selector, old.spec.selector)) return [];
  return [invalidValue('spec.selector', object.spec.selector, 'field is immutable')];
}

export function countOrPercent(errors: FieldError[], field: string, value: unknown): void {
  if (value === undefined) return;
  if (typeof value === 'number') {
    if (value < 0) errors.push(invalidValue(field, value, 'must be greater than or equal to 0'));
  } else if (!/^[0-9]+%$/.test(String(value))) {
    errors.push(
      invalidValue(
        field,
        value,
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
      ),
    );
  }
}

export const isZero = (value: unknown) => value === 0 || value === '0%';
