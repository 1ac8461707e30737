/** Checks and how they are run: in order, tried again where waiting may help, and none after one whose failure is fatal. */
import { setTimeout as delay } from 'node:timers/promises';
import { MeshError } from '@tulle/api';
import type { CheckContext } from './context.ts';

export interface Check {
  description: string;
  /** Anchor of the page that says what to do. */
  anchor: string;
  /** A failure makes every later check useless. */
  isFatal?: boolean;
  /** A failure is worth knowing, and no more. */
  isWarning?: boolean;
  /** What fails now may be right in a moment: try again until the deadline. */
  isRetried?: boolean;
  /** Throws when it fails, `Skip` when it does not apply. */
  run(context: CheckContext): Promise<void>;
}

export interface Category {
  name: string;
  checks: readonly Check[];
}

export type Verdict = 'success' | 'warning' | 'error';

export interface CheckResult {
  description: string;
  hint: string;
  result: Verdict;
  error?: string;
}

export interface CategoryResult {
  name: string;
  checks: CheckResult[];
}

/** Thrown by a check that does not apply: it is not shown. */
export class Skip extends Error {}

export interface CheckObserver {
  onCategory?(name: string): void;
  onWaiting?(description: string, error: string): void;
  onResult?(result: CheckResult): void;
  onCategoryEnd?(name: string): void;
}

/** Where what a check means and what to do is written. */
export const HINT_BASE_URL = 'docs/checks.md#';
const RETRY_MS = 5_000;

/** Categories without a check that applies are left out. */
export async function runChecks(
  categories: readonly Category[],
  context: CheckContext,
  deadlineMs: number,
  observer: CheckObserver = {},
): Promise<CategoryResult[]> {
  const results: CategoryResult[] = [];
  for (const category of categories) {
    const done: CategoryResult = { name: category.name, checks: [] };
    for (const check of category.checks) {
      const result = await runCheck(check, context, deadlineMs, observer);
      if (!result) continue;
      if (done.checks.length === 0) {
        results.push(done);
        observer.onCategory?.(category.name);
      }
      done.checks.push(result);
      observer.onResult?.(result);
      if (result.result === 'error' && check.isFatal) {
        observer.onCategoryEnd?.(category.name);
        return results;
      }
    }
    if (done.checks.length) observer.onCategoryEnd?.(category.name);
  }
  return results;
}

async function runCheck(
  check: Check,
  context: CheckContext,
  deadlineMs: number,
  observer: CheckObserver,
): Promise<CheckResult | undefined> {
  const { description, anchor } = check;
  for (;;) {
    try {
      await check.run(context);
      return { description, hint: '', result: 'success' };
    } catch (thrown) {
      if (thrown instanceof Skip) return undefined;
      const error = MeshError.from(thrown).message;
      if (check.isRetried && context.nowMs() + RETRY_MS <= deadlineMs) {
        observer.onWaiting?.(description, error);
        context.forget();
        await delay(RETRY_MS);
        continue;
      }
      const result = check.isWarning ? 'warning' : 'error';
      return { description, hint: `${HINT_BASE_URL}${anchor}`, result, error };
    }
  }
}
