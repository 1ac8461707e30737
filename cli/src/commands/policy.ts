/** `tulle policy`: policies from the traffic that proxies have seen, and what policies would do to it. */
import type { Command } from 'commander';
import { globalOptions, withGlobalOptions } from '../globals.ts';

export function register(program: Command): void {
  const group = program.command('policy').description('Suggest policies from traffic, and try them on it');
  const suggest = withGlobalOptions(group.command('suggest'))
    .description('Print the policies that let in just the callers that proxies have seen')
    .argument('[resource...]', 'such as deploy/web; without it all of the namespace')
    .option('-A, --all-namespaces', 'of all namespaces')
    .option('-o, --output <format>', 'yaml or json')
    .action(async (words: string[]) => {
      const command = await import('../policy/suggest.ts');
      await command.suggest(words, globalOptions(suggest), suggest.opts());
    });
  const test = withGlobalOptions(group.command('test'))
    .description(
      'Say what the resources in a file would have refused or let in; exit 1 where something that passed would not',
    )
    .argument('<file>', 'a manifest, - for standard input')
    .option('--delete', 'try what it would be like without these resources')
    .option('-o, --output <format>', 'table or json')
    .action(async (file: string) => {
      const command = await import('../policy/test.ts');
      await command.testPolicies(file, globalOptions(test), test.opts());
    });
}
