/** What `stat` and `edges` have in common: over which time, in which namespace, in which form. */
import { MeshError } from '@tulle/api';
import { durationMs } from '@tulle/control-plane/injector/annotation-values.ts';
import type { Command } from 'commander';

export interface WindowOptions {
  allNamespaces?: boolean;
  timeWindow: string;
  output?: string;
}

/** Shorter than this a window says more about the moment than about the traffic. */
const WINDOW_MS_MIN = 1_000;
/** There is no history: a command waits as long as its window. */
const WINDOW_MS_MAX = 600_000;

export function addWindowOptions(command: Command): Command {
  return command
    .option('-A, --all-namespaces', 'of all namespaces')
    .option('-t, --time-window <duration>', 'how long to measure', '5s')
    .option('-o, --output <format>', 'table, wide or json');
}

/** Throws when it is no duration or out of bounds. */
export function windowMs(text: string): number {
  let ms: number;
  try {
    ms = durationMs(text);
  } catch (error) {
    throw new MeshError('INVALID_ARGUMENT', `--time-window ${text}: ${MeshError.from(error).message}`);
  }
  if (ms < WINDOW_MS_MIN || ms > WINDOW_MS_MAX) {
    throw new MeshError('INVALID_ARGUMENT', `--time-window ${text}: want at least 1s and at most 10m`);
  }
  return ms;
}

/** On a terminal, says that measuring takes its time, and wipes that when it is done. */
export async function measuring<T>(ms: number, work: Promise<T>): Promise<T> {
  if (!process.stderr.isTTY) return work;
  process.stderr.write(`measuring for ${ms / 1000} s …`);
  try {
    return await work;
  } finally {
    process.stderr.write('\r\u001b[K');
  }
}
