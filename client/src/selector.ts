/** Whether labels match a LabelSelector, as controllers and policies ask of objects in their stores. */

import type { LabelSelector } from '@tulle/api';
import { meets } from '@tulle/api/label-selector.ts';

/** An empty selector matches everything, an absent one nothing. An operator that is unknown matches nothing. */
export function matchesSelector(
  selector: LabelSelector | undefined,
  labels: Record<string, string> | undefined = {},
): boolean {
  if (!selector) return false;
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return (
    matchesLabels(matchLabels, labels) &&
    matchExpressions.every(
      ({ key, operator, values = [] }) => OPERATORS.has(operator) && meets(labels[key], operator, values),
    )
  );
}

/** Whether every label that is asked for is there, as a Service's selector asks. */
export function matchesLabels(
  wanted: Record<string, string>,
  labels: Record<string, string> | undefined = {},
): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

/** Of a LabelSelector; those that compare numbers are of node affinity alone. */
const OPERATORS = new Set(['In', 'NotIn', 'Exists', 'DoesNotExist']);
