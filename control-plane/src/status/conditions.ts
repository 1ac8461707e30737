/** Conditions of policy objects: those that there are, with their reasons, and how new ones are laid over old ones. */

export interface Condition {
  type: 'Accepted' | 'ResolvedRefs';
  status: 'True' | 'False';
  reason: string;
  message: string;
}

/** As an API server holds it. */
export interface WrittenCondition extends Condition {
  lastTransitionTime?: string;
  observedGeneration?: number;
}

const condition =
  (type: Condition['type'], status: Condition['status'], reason: string) =>
  (message = ''): Condition => ({ type, status, reason, message });

export const accepted = condition('Accepted', 'True', 'Accepted');
export const noMatchingParent = condition('Accepted', 'False', 'NoMatchingParent');
export const routeConflicted = condition('Accepted', 'False', 'RouteReasonConflicted');
export const unsupportedValue = condition('Accepted', 'False', 'UnsupportedValue');
export const noMatchingTarget = condition('Accepted', 'False', 'NoMatchingTarget');
export const rateLimitAlreadyExists = condition('Accepted', 'False', 'RateLimitReasonAlreadyExists');
export const egressNetworkOverlap = condition('Accepted', 'False', 'EgressReasonNetworkOverlap');
export const invalidParameters = condition('Accepted', 'False', 'InvalidParameters');
export const resolvedRefs = condition('ResolvedRefs', 'True', 'ResolvedRefs');
export const backendNotFound = condition('ResolvedRefs', 'False', 'BackendNotFound');
export const invalidKind = condition('ResolvedRefs', 'False', 'InvalidKind');
export const refNotPermitted = condition('ResolvedRefs', 'False', 'RefNotPermitted');

/** Conditions to write: the time of a transition is `now`, or the old one where the status is as it was. */
export function written(
  wanted: readonly Condition[],
  old: readonly WrittenCondition[],
  generation: number | undefined,
  now: string,
): WrittenCondition[] {
  return wanted.map((one) => {
    const before = old.find(({ type }) => type === one.type);
    return {
      ...one,
      lastTransitionTime: (before?.status === one.status && before.lastTransitionTime) || now,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  });
}

/** Whether both say the same, apart from times and the order of fields. */
export function saysTheSame(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (name, inner) => {
    if (name === 'lastTransitionTime') return undefined;
    if (!inner || typeof inner !== 'object' || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1)));
  });
}
