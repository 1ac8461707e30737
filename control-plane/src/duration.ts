/** Durations as flags write them. */
import { parseGoDuration as parse } from '@tulle/api/duration.ts';

/** Go's form, `24h0m0s`, of at least `msMin`; in milliseconds, undefined where it is not one. */
export function parseGoDuration(text: string, msMin = 1): number | undefined {
  const ms = parse(text);
  return ms !== undefined && ms >= msMin ? ms : undefined;
}
