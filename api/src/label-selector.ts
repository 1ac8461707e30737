/** Label selectors of resources: which labels an object must have to be meant. */
import type { Field } from './field.ts';

export interface LabelSelector {
  /** All of them must hold; none of them: every object is meant. */
  readonly requirements: readonly LabelRequirement[];
}

export interface LabelRequirement {
  readonly key: string;
  readonly operator: (typeof OPERATORS)[number];
  readonly values: readonly string[];
}

export type Labels = Readonly<Record<string, string>>;

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;

/**
 * `matchLabels` and `matchExpressions` of a field that is set; what cannot be read of it is left out and refused.
 * Labels that stand right in the selector count like those in `matchLabels` where `hasBareLabels`, and are refused
 * elsewhere: without them it would mean more objects than its author did.
 */
export function readLabelSelector(field: Field, { hasBareLabels = false } = {}): LabelSelector {
  if (!field.object('a label selector')) return { requirements: [] };
  const bare = field.keys().filter((key) => key !== 'matchLabels' && key !== 'matchExpressions');
  if (!hasBareLabels) for (const key of bare) field.get(key).refuse('nothing but matchLabels and matchExpressions');
  const labels = field.get('matchLabels');
  const expressions = field.get('matchExpressions');
  const requirements = [
    ...labels.keys().flatMap((key) => readLabel(key, labels.get(key))),
    ...bare.flatMap((key) => readLabel(key, field.get(key))),
    ...expressions.items().flatMap(readExpression),
  ];
  // Labels that slipped out from under their heading: without them it would mean everything.
  for (const part of hasBareLabels ? [labels, expressions] : []) {
    if (requirements.length === 0 && part.value === null) part.refuse('what to select by, or no such field');
  }
  return { requirements };
}

function readLabel(key: string, field: Field): LabelRequirement[] {
  if (typeof field.value === 'string') return [{ key, operator: 'In', values: [field.value] }];
  field.refuse('a text');
  return [];
}

function readExpression(field: Field): LabelRequirement[] {
  const key = field.get('key').requiredText('the key of a label');
  const operator = field.get('operator').isSet
    ? field.get('operator').oneOf(OPERATORS)
    : field.get('operator').refuse(`one of ${OPERATORS.join(', ')}`);
  const items = field.get('values').items('a list of texts');
  const values = items.flatMap((item) =>
    typeof item.value === 'string' ? [item.value] : (item.refuse('a text') ?? []),
  );
  const needsValues = operator === 'In' || operator === 'NotIn';
  if (needsValues && items.length === 0) field.get('values').refuse(`a list of values for ${operator}`);
  if (operator && !needsValues && items.length > 0) field.get('values').refuse(`nothing for ${operator}`);
  const isComplete = key !== '' && operator !== undefined && (!needsValues || values.length > 0);
  return isComplete ? [{ key, operator, values }] : [];
}

export function selectorMatches({ requirements }: LabelSelector, labels: Labels): boolean {
  return requirements.every(({ key, operator, values }) =>
    meets(Object.hasOwn(labels, key) ? labels[key] : undefined, operator, values),
  );
}

/** Whether a label's value, undefined where there is none, is as an operator of Kubernetes asks; never for an unknown one. */
export function meets(value: string | undefined, operator: string, values: readonly string[]): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && Number(value) > Number(values[0]);
    case 'Lt':
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}
