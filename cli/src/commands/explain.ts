/** `tulle explain`: what happens to a request, and which field of which object says so. */
import type { Command } from 'commander';
import { globalOptions, withGlobalOptions } from '../globals.ts';

const append = (value: string, list: string[] = []) => [...list, value];

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('explain'))
    .description('Show what proxies do with a request, and which field of which object says so')
    .argument(
      '<resource>',
      'a Service, a pod, an EgressNetwork or a host outside: web, po/web-1, egressnetwork/all, https://example.com',
    )
    .argument('[method]', 'of the request, such as GET')
    .argument('[path]', 'of the request; for gRPC /package.Service/Method')
    .option('--port <port>', 'of the Service or pod, where it has several')
    .option('--from <client>', 'a namespace, po/NAME or sa/NAME; po/NAMESPACE/NAME for another namespace')
    .option('-H, --header <header>', "of the request, 'name: value'; may be repeated", append)
    .option('-o, --output <format>', 'text or json')
    .action(async (resource: string, method?: string, path?: string) => {
      const { explainRequest } = await import('../policy/explain.ts');
      const words = [resource, ...(method ? [method] : []), ...(path ? [path] : [])];
      await explainRequest(words, globalOptions(command), command.opts());
    });
}
