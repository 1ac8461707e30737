/** `tulle diagnostics`: what the control plane tells proxies, and the raw metrics of proxies and control plane. */
import type { Command } from 'commander';
import { globalOptions, withGlobalOptions } from '../globals.ts';

export function register(program: Command): void {
  const group = program.command('diagnostics').alias('diag').description('Ask the control plane what it tells proxies');
  const add = (name: string, alias: string, what: string) => {
    const command = withGlobalOptions(group.command(name)).description(what);
    return alias ? command.alias(alias) : command;
  };
  const asking = (command: Command) =>
    command
      .option('--token <context>', 'what the asking proxy says of itself')
      .option('--destination-pod <name>', 'ask this pod of the control plane');

  const endpoints = asking(
    add('endpoints', 'ep', 'Show the endpoints of authorities, such as web.shop.svc.cluster.local:80'),
  )
    .argument('<authority...>')
    .option('-o, --output <format>', 'table or json')
    .action(async (authorities: string[]) => {
      const { printEndpoints } = await import('../diagnostics/endpoints.ts');
      await printEndpoints(authorities, globalOptions(endpoints), endpoints.opts());
    });
  const profile = asking(add('profile', '', 'Show the profile of an authority or address'))
    .argument('<address>')
    .action(async (address: string) => {
      const { printProfile } = await import('../diagnostics/profile.ts');
      await printProfile(address, globalOptions(profile), profile.opts());
    });
  const policy = asking(add('policy', '', 'Show the policy of a port: inbound of a pod, outbound to a service'))
    .argument('<resource>', 'po/NAME, svc/NAME or externalworkload/NAME')
    .argument('<port>')
    .option('-o, --output <format>', 'yaml or json')
    .action(async (resource: string, port: string) => {
      const { printPolicy } = await import('../diagnostics/policy.ts');
      await printPolicy(resource, port, globalOptions(policy), policy.opts());
    });
  const proxyMetrics = add('proxy-metrics', '', 'Print the metrics of the proxies of a resource')
    .argument('<resource...>', 'such as deploy/web or po/web-1')
    .option('--obfuscate', 'replace names by hashes')
    .action(async (words: string[]) => {
      const { printProxyMetrics } = await import('../diagnostics/metrics.ts');
      await printProxyMetrics(words, globalOptions(proxyMetrics), proxyMetrics.opts());
    });
  const controllerMetrics = add('controller-metrics', 'cp-metrics', 'Print the metrics of the control plane')
    .option('-w, --wait <duration>', 'how long to wait for an answer', '30s')
    .action(async () => {
      const { printControllerMetrics } = await import('../diagnostics/metrics.ts');
      await printControllerMetrics(globalOptions(controllerMetrics));
    });
}
