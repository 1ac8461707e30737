/** Durations in milliseconds, as annotations and the fields of routes write them. */

const UNITS_MS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
/** A longer one is a mistake, and would not fit the wire's nanoseconds everywhere. */
const DURATION_MS_MAX = 10 * 365 * 86_400_000;

/** A whole number with its unit (`ms`, `s`, `m`, `h`, `d`), or `0`; undefined where it is neither. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const match = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text);
  const ms = match ? Number(match[1]) * UNITS_MS[match[2]!]! : undefined;
  return ms !== undefined && ms <= DURATION_MS_MAX ? ms : undefined;
}

/** Go's form, `1h2m0.5s`, which holds the Gateway API's (GEP-2257); no sign. */
export function parseGoDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(?:\d{1,12}(?:\.\d{0,9})?(?:ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, value, unit] of text.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)) ms += Number(value) * UNITS_MS[unit!]!;
  return ms <= DURATION_MS_MAX ? ms : undefined;
}
