/** Routes as they are written: each rule that has a name is a route of its own, because metadata is of a route. */
import type { PolicyRoute } from './outbound-policy.ts';

/** The rules without names stay together where no other stands between them, so the order of all of them stays. */
export function bySection<R extends { section?: string }>(
  routes: readonly PolicyRoute<R>[],
): (PolicyRoute<R> & { section?: string })[] {
  return routes.flatMap((route) => {
    const parts: { section?: string; rules: R[] }[] = [];
    for (const rule of route.rules) {
      const last = parts.at(-1);
      if (last && last.section === undefined && rule.section === undefined) last.rules.push(rule);
      else parts.push({ section: rule.section, rules: [rule] });
    }
    // One without rules takes nothing, and shows that it is there.
    return parts.length > 0 ? parts.map((part) => ({ ...route, ...part })) : [{ ...route }];
  });
}
