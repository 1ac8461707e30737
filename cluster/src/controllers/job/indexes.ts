/** The completion indexes of an indexed Job, written as `0-2,5`. */

import type { Pod } from '@tulle/api';

export const COMPLETION_INDEX = 'batch.kubernetes.io/job-completion-index';
/** More than a Job may have. */
const INDEX_MAX = 100_000;

export function indexOf(pod: Pod): number | undefined {
  const text = pod.metadata.annotations?.[COMPLETION_INDEX];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

export function parseIndexes(text: string | undefined): Set<number> {
  const indexes = new Set<number>();
  for (const part of (text ?? '').split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) continue;
    const last = Math.min(INDEX_MAX, Number(match[2] ?? match[1]));
    for (let index = Number(match[1]); index <= last; index++) indexes.add(index);
  }
  return indexes;
}

export function formatIndexes(indexes: Set<number>): string {
  const parts: string[] = [];
  const sorted = [...indexes].sort((a, b) => a - b);
  for (let from = 0; from < sorted.length; ) {
    let to = from;
    while (sorted[to + 1] === (sorted[to] as number) + 1) to++;
    parts.push(to === from ? `${sorted[from]}` : `${sorted[from]}${to === from + 1 ? ',' : '-'}${sorted[to]}`);
    from = to + 1;
  }
  return parts.join(',');
}
