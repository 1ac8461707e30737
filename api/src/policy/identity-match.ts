/** Which identities a policy means: every one (`*`), those below a suffix (`*.ns.…`), one name, or one SPIFFE id. */
import type { Field } from '../field.ts';

export type IdentityMatch =
  /** The labels after `*.`; none: every identity. */
  { readonly kind: 'suffix'; readonly parts: readonly string[] } | { readonly kind: 'exact'; readonly name: string };

const ALLOWED = '*, a suffix such as *.ns.serviceaccount.identity.linkerd.cluster.local, a name or a spiffe:// URI';
const DNS_LIKE = /^(?:\*|[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
/** https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md */
const SPIFFE = /^spiffe:\/\/[a-z0-9._-]+(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)*$/;
const SPIFFE_CHARACTERS_MAX = 2048;

export function readIdentity(field: Field): IdentityMatch | undefined {
  const match = typeof field.value === 'string' ? parseIdentityMatch(field.value) : undefined;
  return match ?? field.refuse(ALLOWED);
}

/** Undefined where the text is no identity. */
export function parseIdentityMatch(text: string): IdentityMatch | undefined {
  if (text.startsWith('spiffe://')) {
    return text.length <= SPIFFE_CHARACTERS_MAX && SPIFFE.test(text) ? { kind: 'exact', name: text } : undefined;
  }
  if (!DNS_LIKE.test(text)) return undefined;
  if (text === '*') return { kind: 'suffix', parts: [] };
  return text.startsWith('*.') ? { kind: 'suffix', parts: text.slice(2).split('.') } : { kind: 'exact', name: text };
}

/** Whether a client's identity is meant, as proxies decide it: a SPIFFE id is never meant by a suffix. */
export function identityMatches(match: IdentityMatch, identity: string): boolean {
  if (match.kind === 'exact') return match.name === identity;
  if (identity.includes('://')) return false;
  return match.parts.length === 0 || identity.endsWith(`.${match.parts.join('.')}`);
}
