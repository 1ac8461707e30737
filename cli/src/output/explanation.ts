/** How an explanation is shown: for each proxy on the way, what it does and, to the right, which object and field says so. */
import type { Explanation, Fact } from '../policy/explanation.ts';
import { colors } from './colors.ts';

/** Values longer than this do not push the origins of all the others to the right. */
const VALUE_CHARACTERS_MAX = 64;
const TONES: Record<NonNullable<Fact['tone']>, (text: string) => string> = {
  good: colors.green,
  bad: colors.red,
  quiet: colors.dim,
};

export function explanationText({ title, sections }: Explanation): string {
  const facts = sections.flatMap((section) => section.facts);
  const labels = Math.max(...facts.map(({ label }) => label.length));
  const values = Math.max(
    0,
    ...facts.map(({ value }) => value.length).filter((length) => length <= VALUE_CHARACTERS_MAX),
  );
  const line = ({ label, value, from, tone }: Fact, last: string | undefined) => {
    const head = `  ${colors.dim((label === last ? '' : label).padEnd(labels))}   `;
    const shown = tone ? TONES[tone](value) : value;
    if (!from) return `${head}${shown}\n`;
    const origin = colors.dim(from.field ? `${from.object} ${from.field}` : from.object);
    if (value.length > VALUE_CHARACTERS_MAX)
      return `${head}${shown}\n${' '.repeat(labels + 5 + values + 3)}${origin}\n`;
    return `${head}${shown}${' '.repeat(values - value.length + 3)}${origin}\n`;
  };
  const blocks = sections.map(({ title: name, facts: own }) => {
    const lines = own.map((fact, i) => line(fact, own[i - 1]?.label));
    return `\n${colors.bold(name)}\n${lines.join('')}`;
  });
  return `${colors.bold(title)}\n${blocks.join('')}`;
}
