/** Whether labels match a LabelSelector, as controllers and policies ask of objects in their stores. */

import type { LabelSelector } from '@tulle/api';

/** An empty selector matches everything, an absent one nothing. An operator that is unknown matches nothing. */
export function matchesSelector(
  selector: LabelSelector | undefined,
  labels: Record<string, string> | undefined = {},
): boolean {
  if (!selector) return false;
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return matchesLabels(matchLabels, labels) && matchExpressions.every((expression) => meets(expression, labels));
}

/** Whether every label that is asked for is there, as a Service's selector asks. */
export function matchesLabels(
  wanted: Record<string, string>,
  labels: Record<string, string> | undefined = {},
): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

type Requirement = NonNullable<LabelSelector['matchExpressions']>[number];

function meets({ key, operator, values = [] }: Requirement, labels: Record<string, string>): boolean {
  const value = labels[key];
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return false;
  }
}
