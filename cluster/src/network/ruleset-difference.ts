/** Old and new rules of Services → the commands of one nft transaction that leads from one to the other. Pure. */

import { TABLE } from './base-ruleset.ts';
import type { ServiceRules } from './service-rules.ts';

export const NO_RULES: ServiceRules = { chains: new Map(), sets: new Map(), elements: new Map() };

/** How many Services want each shared element; it goes when the last one does. */
export type ElementUses = Map<string, number>;

/**
 * Appends what leads from `old` to `next` to `commands`, in an order in which nothing is used before it is there or
 * deleted while it is used: run `add`, then `change`, then `remove` of all Services.
 */
export interface Commands {
  add: string[];
  change: string[];
  remove: string[];
}

export function addDifference(commands: Commands, old: ServiceRules, next: ServiceRules, uses: ElementUses): void {
  for (const [name, declaration] of next.sets) {
    if (old.sets.get(name) !== declaration) {
      if (old.sets.has(name))
        commands.remove.push(`delete set ${TABLE} ${name}`, `add set ${TABLE} ${name} { ${declaration} }`);
      else commands.add.push(`add set ${TABLE} ${name} { ${declaration} }`);
    }
  }
  for (const [name, lines] of next.chains) {
    const before = old.chains.get(name);
    if (before && before.join('\n') === lines.join('\n')) continue;
    commands.add.push(`add chain ${TABLE} ${name}`);
    if (before) commands.change.push(`flush chain ${TABLE} ${name}`);
    for (const line of lines) commands.change.push(`add rule ${TABLE} ${name} ${line}`);
  }
  for (const [element, value] of old.elements) {
    if (next.elements.get(element) === value) continue;
    const left = (uses.get(element) ?? 1) - 1;
    if (left > 0) uses.set(element, left);
    else {
      uses.delete(element);
      commands.change.push(`delete element ${elementText(element, '')}`);
    }
  }
  for (const [element, value] of next.elements) {
    if (old.elements.get(element) === value) continue;
    const count = uses.get(element) ?? 0;
    uses.set(element, count + 1);
    if (count === 0) commands.change.push(`add element ${elementText(element, value)}`);
  }
  // All chains are emptied before one is deleted: they may refer to each other.
  const gone = [...old.chains.keys()].filter((name) => !next.chains.has(name));
  for (const name of gone) commands.change.push(`flush chain ${TABLE} ${name}`);
  for (const name of gone) commands.remove.push(`delete chain ${TABLE} ${name}`);
  for (const name of old.sets.keys()) if (!next.sets.has(name)) commands.remove.push(`delete set ${TABLE} ${name}`);
}

function elementText(element: string, value: string): string {
  const [name = '', key = ''] = element.split('|');
  return `${TABLE} ${name} { ${key}${value ? ` : ${value}` : ''} }`;
}
