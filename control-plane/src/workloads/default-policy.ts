/** Who may speak to a port that no policy resource selects: one of six defaults, named in annotations and flags. */

export const DEFAULT_POLICIES = [
  'all-unauthenticated',
  'all-authenticated',
  'cluster-unauthenticated',
  'cluster-authenticated',
  'deny',
  'audit',
] as const;
export type DefaultPolicy = (typeof DEFAULT_POLICIES)[number];

/** Undefined where the text names none. */
export function parseDefaultPolicy(text: string): DefaultPolicy | undefined {
  return DEFAULT_POLICIES.find((policy) => policy === text);
}
