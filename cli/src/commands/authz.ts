/** `tulle authz`: who may call a workload. */
import type { Command } from 'commander';
import { globalOptions, withGlobalOptions } from '../globals.ts';

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('authz'))
    .description('List the authorizations that are in force on the ports of a workload')
    .argument('<resource...>', 'such as deploy/web or po/web-1')
    .option('-o, --output <format>', 'table or json')
    .action(async (words: string[]) => {
      const { authz } = await import('../policy/authz.ts');
      await authz(words, globalOptions(command), command.opts());
    });
}
