/** Numbers that a manifest may give as a share, such as `maxSurge: 25%`. */

export type IntOrPercent = number | string | undefined;

/** The number itself, or the share of `total`; `fallback` stands for a value that is absent or malformed. */
export function resolveIntOrPercent(
  value: IntOrPercent,
  total: number,
  rounding: 'up' | 'down',
  fallback: IntOrPercent = 0,
): number {
  if (typeof value === 'number') return value;
  const percent = /^(\d+)%$/.exec(value ?? '')?.[1];
  if (percent === undefined) return value === fallback ? 0 : resolveIntOrPercent(fallback, total, rounding, 0);
  const share = (Number(percent) * total) / 100;
  return rounding === 'up' ? Math.ceil(share) : Math.floor(share);
}
