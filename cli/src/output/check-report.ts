/** Results of checks as they come in, as a table of all or of what is wrong, or as JSON at the end. */
import type { CategoryResult, CheckObserver, CheckResult } from '../checks/check.ts';
import { colors } from './colors.ts';
import { SYMBOLS } from './symbols.ts';

const isOk = (categories: readonly CategoryResult[]) =>
  categories.every(({ checks }) => checks.every(({ result }) => result !== 'error'));

export const statusLine = (categories: readonly CategoryResult[]): string =>
  `Status check results are ${isOk(categories) ? SYMBOLS.success : SYMBOLS.error}\n`;

/** Writes a category's head, then a line per check; with `isShort` only what is no success. */
export function tableObserver(write: (text: string) => void, isShort: boolean, isTerminal: boolean): CheckObserver {
  let head = '';
  const clear = isTerminal ? '\r\u001b[K' : '';
  return {
    onCategory(name) {
      head = `${colors.bold(name)}\n${'-'.repeat(name.length)}\n`;
      if (isShort) return;
      write(clear + head);
      head = '';
    },
    onWaiting(description, error) {
      if (isTerminal) write(`${clear}${colors.dim(`… ${description}: ${error.split('\n')[0]}`)}`);
    },
    onResult(result) {
      if (isShort && result.result === 'success') return;
      write(clear + head + resultLines(result));
      head = '';
    },
    onCategoryEnd() {
      if (!isShort || head === '') write('\n');
      head = '';
    },
  };
}

function resultLines({ result, description, error, hint }: CheckResult): string {
  const line = `${SYMBOLS[result]} ${description}\n`;
  if (result === 'success') return line;
  const indented = (error ?? '')
    .split('\n')
    .map((text) => `    ${text}\n`)
    .join('');
  return `${line}${indented}    see ${hint} for hints\n`;
}

export function checkJson(categories: readonly CategoryResult[]): string {
  const document = {
    success: isOk(categories),
    categories: categories.map(({ name, checks }) => ({
      categoryName: name,
      checks: checks.map(({ description, hint, error, result }) => ({
        description,
        ...(hint ? { hint } : {}),
        ...(error ? { error } : {}),
        result,
      })),
    })),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
