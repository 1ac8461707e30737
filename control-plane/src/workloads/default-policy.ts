/** Who may speak to a port that no policy resource selects: one of six defaults, named in annotations and flags. */
import { ACCESS_POLICIES, type AccessPolicy } from '@tulle/api/policy/server.ts';

export const DEFAULT_POLICIES = ACCESS_POLICIES;
export type DefaultPolicy = AccessPolicy;

/** Undefined where the text names none. */
export function parseDefaultPolicy(text: string): DefaultPolicy | undefined {
  return DEFAULT_POLICIES.find((policy) => policy === text);
}
