/** The command line `tulle`: finds the command, loads only that one, runs it, and turns an error into a line and an exit code. */

import { MeshError } from '@tulle/api';
import { Command, CommanderError } from 'commander';
import { COMMANDS, commandIn, LATER } from './command-table.ts';
import { withGlobalOptions } from './globals.ts';
import { reportError } from './output/error.ts';

export async function main(argv: readonly string[]): Promise<void> {
  const program = withGlobalOptions(new Command('tulle'))
    .description('Tulle, an ultralight service mesh')
    .usage('COMMAND [options]')
    .showSuggestionAfterError()
    .exitOverride();
  const chosen = commandIn(argv);
  for (const entry of COMMANDS) {
    if (entry.name === chosen || chosen === 'completion') (await entry.load()).register(program);
    else program.command(entry.name).description(entry.summary);
  }
  try {
    const later = LATER[chosen ?? ''];
    if (later) throw new MeshError('UNIMPLEMENTED', `${chosen} is not here yet: it comes with ${later}`);
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else process.exitCode = reportError(error);
  }
}

// A reader that has had enough, such as `head`, is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
await main(process.argv.slice(2));
