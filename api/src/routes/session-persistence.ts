/** Requests of one session go to one endpoint: `sessionPersistence` of a rule, as in the Gateway API (GEP-1619). */
import { parseGoDuration } from '../duration.ts';
import type { Field } from '../field.ts';
import type { ObjectRef } from '../object-ref.ts';
import { isHeaderName } from './http-match.ts';

export interface SessionPersistence {
  readonly kind: 'cookie' | 'header';
  readonly name: string;
  /** 0: a session does not end by itself. */
  readonly absoluteTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** A cookie that outlives the browser. */
  readonly isPermanent: boolean;
}

const NAME_CHARACTERS_MAX = 128;

export function readSessionPersistence(rule: Field, ref: ObjectRef, index: number): SessionPersistence | undefined {
  const field = rule.get('sessionPersistence');
  if (!field.object()) return undefined;
  const nameField = field.get('sessionName');
  const allowed = `the name of a cookie or header of at most ${NAME_CHARACTERS_MAX} characters`;
  const name = nameField.text(allowed);
  if (name !== undefined && (!isHeaderName(name) || name.length > NAME_CHARACTERS_MAX)) nameField.refuse(allowed);
  const kind = field.get('type').oneOf(['Cookie', 'Header']) === 'Header' ? 'header' : 'cookie';
  const lifetime = field.get('cookieConfig').get('lifetimeType');
  const isPermanent = lifetime.oneOf(['Session', 'Permanent']) === 'Permanent';
  const absolute = field.get('absoluteTimeout');
  const absoluteTimeoutMs = readTimeout(absolute);
  if (isPermanent && absoluteTimeoutMs === 0) absolute.refuse('a duration: a Permanent cookie needs one');
  return {
    kind,
    // Names differ by route and rule, so that the sessions of one do not displace those of another.
    name: name ?? `tulle-${ref.namespace}-${ref.name}-${index}`,
    absoluteTimeoutMs,
    idleTimeoutMs: readTimeout(field.get('idleTimeout')),
    isPermanent,
  };
}

function readTimeout(field: Field): number {
  const text = field.text('a duration such as 1h30m');
  if (text === undefined) return 0;
  return parseGoDuration(text) ?? field.refuse('a duration such as 1h30m') ?? 0;
}
