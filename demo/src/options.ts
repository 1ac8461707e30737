/** The command line of `npm run demo`. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { MeshError } from '@tulle/api';

export interface Options {
  /** How long to run after the first metrics; undefined until stopped. */
  forMs?: number;
  output: 'table' | 'json';
  /** The cluster keeps everything it writes in here. */
  stateDir: string;
  /** The folder with `dist/`. */
  root: string;
}

const DURATION = /^(\d+)(ms|s|m|h)$/;
const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

const USAGE = 'usage: npm run demo -- [--for 20s] [-o table|json] [--state-dir DIR]';

export function parseOptions(args: string[]): Options {
  const root = join(import.meta.dirname, '..');
  const { values } = parseArgsOrUsage(args);
  const output = values.output ?? 'table';
  if (output !== 'table' && output !== 'json') {
    throw new MeshError('INVALID_ARGUMENT', `--output ${output}: not one of table, json\n${USAGE}`);
  }
  if (output === 'json' && values.for === undefined) {
    throw new MeshError('INVALID_ARGUMENT', `-o json prints when the run ends: say how long with --for\n${USAGE}`);
  }
  return {
    output,
    stateDir: values['state-dir'] ?? join(root, '.tulle/demo'),
    root,
    ...(values.for === undefined ? {} : { forMs: parseDuration(values.for) }),
  };
}

function parseArgsOrUsage(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        for: { type: 'string' },
        output: { type: 'string', short: 'o' },
        'state-dir': { type: 'string' },
      },
    });
  } catch (error) {
    throw new MeshError('INVALID_ARGUMENT', `${error instanceof Error ? error.message : error}\n${USAGE}`);
  }
}

function parseDuration(text: string): number {
  const match = DURATION.exec(text);
  const milliseconds = Number(match?.[1]) * (UNIT_MS[match?.[2] ?? ''] ?? Number.NaN);
  if (!(milliseconds > 0))
    throw new MeshError('INVALID_ARGUMENT', `--for ${text}: not a duration such as 20s\n${USAGE}`);
  return milliseconds;
}
