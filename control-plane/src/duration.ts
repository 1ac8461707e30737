/** Durations as annotations and flags write them. */

const UNITS_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** A longer one is a mistake, and would not fit the wire's nanoseconds everywhere. */
const DURATION_MS_MAX = 10 * 365 * 86_400_000;

/** A whole number with its unit (`ms`, `s`, `m`, `h`, `d`), or `0`; in milliseconds, undefined where it is neither. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const match = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text);
  const ms = match ? Number(match[1]) * UNITS_MS[match[2]!]! : undefined;
  return ms !== undefined && ms <= DURATION_MS_MAX ? ms : undefined;
}

/** Go's form, `24h0m0s`: one or more of them, the sum of which is at least `msMin`. */
export function parseGoDuration(text: string, msMin = 1): number | undefined {
  const parts = /^(?:\d+(?:ms|s|m|h))+$/.test(text) ? (text.match(/\d+(?:ms|s|m|h)/g) ?? []) : [];
  const values = parts.map(parseDuration);
  if (values.length === 0 || values.some((value) => value === undefined)) return undefined;
  const ms = values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
  return ms >= msMin ? ms : undefined;
}
