/** Building and applying the `add` operations of a JSON Patch (RFC 6902), all that injection needs. */

export interface AddOperation {
  op: 'add';
  path: string;
  value: unknown;
}

/** One segment of a JSON pointer, escaped. */
export const pointer = (segment: string): string => segment.replaceAll('~', '~0').replaceAll('/', '~1');

/** Applies `add` operations to a copy of `target`. Every parent must be there, as RFC 6902 has it. */
export function applyAdds<T>(target: T, patch: readonly AddOperation[]): T {
  const copy = structuredClone(target);
  for (const { path, value } of patch) {
    const segments = path
      .slice(1)
      .split('/')
      .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = segments.pop()!;
    let parent: any = copy;
    for (const segment of segments) parent = parent?.[segment];
    if (parent === null || typeof parent !== 'object') throw new TypeError(`apply patch: ${path} has no parent`);
    const added = structuredClone(value);
    if (!Array.isArray(parent)) parent[last] = added;
    else parent.splice(last === '-' ? parent.length : Number(last), 0, added);
  }
  return copy;
}
