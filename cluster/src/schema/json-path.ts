/** The part of Kubernetes' JSONPath that printer columns use: fields, indexes, wildcards and equality filters. */

type Step =
  | { field: string }
  | { index: number }
  | { all: true }
  | { filter: { path: Step[]; operator: string; value: unknown } };

/** Parses `.spec.items[?(@.type=="Ready")].status`; undefined when it uses anything else. */
export function parseJsonPath(text: string): Step[] | undefined {
  const steps: Step[] = [];
  let rest = text
    .trim()
    .replace(/^\{(.*)\}$/, '$1')
    .replace(/^\$/, '');
  while (rest !== '') {
    const field = /^\.((?:[^.[\]\\]|\\.)+)/.exec(rest);
    const quoted = /^\[['"]([^'"]+)['"]\]/.exec(rest);
    const index = /^\[(-?\d+)\]/.exec(rest);
    const all = /^(?:\[\*\]|\.\*)/.exec(rest);
    const filter =
      /^\[\?\(\s*@((?:\.[^\s=!<>)]+|\[['"][^'"]+['"]\])+)\s*(==|!=)\s*(?:"([^"]*)"|'([^']*)'|([\w.-]+))\s*\)\]/.exec(
        rest,
      );
    const match = all ?? field ?? quoted ?? index ?? filter;
    if (match === null) return undefined;
    if (all !== null) steps.push({ all: true });
    else if (field !== null) steps.push({ field: field[1]!.replaceAll(/\\(.)/g, '$1') });
    else if (quoted !== null) steps.push({ field: quoted[1]! });
    else if (index !== null) steps.push({ index: Number(index[1]) });
    else if (filter !== null) {
      const path = parseJsonPath(filter[1]!);
      if (path === undefined) return undefined;
      steps.push({ filter: { path, operator: filter[2]!, value: filter[3] ?? filter[4] ?? filter[5] } });
    }
    rest = rest.slice(match[0].length);
  }
  return steps;
}

/** All values that the path leads to. */
export function readJsonPath(root: unknown, steps: readonly Step[]): unknown[] {
  let values: unknown[] = [root];
  for (const step of steps) {
    values = values.flatMap((value) => {
      if (typeof value !== 'object' || value === null) return [];
      if ('all' in step) return Object.values(value);
      if ('index' in step)
        return Array.isArray(value) ? [value.at(step.index)].filter((item) => item !== undefined) : [];
      if ('filter' in step) {
        const { path, operator, value: wanted } = step.filter;
        const items: unknown[] = Array.isArray(value) ? value : Object.values(value);
        return items.filter(
          (item) => readJsonPath(item, path).some((found) => String(found) === wanted) === (operator === '=='),
        );
      }
      const found = (value as Record<string, unknown>)[step.field];
      return found === undefined ? [] : [found];
    });
  }
  return values;
}
