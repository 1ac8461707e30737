/** `tulle version`: of the command line, of the control plane, and with `--proxy` of the proxies. */
import { CONFIG_MAPS, type ConfigMap, MeshError, PODS, type Pod } from '@tulle/api';
import { VERSION } from '@tulle/control-plane/injector/values.ts';
import { parseLayer } from '@tulle/control-plane/injector/values-layers.ts';
import type { Command } from 'commander';
import { type GlobalOptions, globalOptions, withClient, withGlobalOptions } from '../globals.ts';

interface VersionOptions {
  client?: boolean;
  short?: boolean;
  proxy?: boolean;
}

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('version'))
    .description('Print the versions of command line and mesh')
    .option('--client', 'only the version of the command line')
    .option('--short', 'only the numbers')
    .option('--proxy', 'the versions of the proxies too')
    .action(() => printVersions(globalOptions(command), command.opts()));
}

async function printVersions(globals: GlobalOptions, options: VersionOptions): Promise<void> {
  const print = (title: string, version: string) =>
    process.stdout.write(options.short ? `${version}\n` : `${title} version: ${version}\n`);
  print('Client', VERSION);
  if (options.client) return;
  await withClient(globals, async (client) => {
    let server = 'unavailable';
    try {
      const config = await client.get<ConfigMap>(CONFIG_MAPS, 'linkerd-config', globals.linkerdNamespace);
      server = String(parseLayer(config.data?.values ?? '', 'linkerd-config').linkerdVersion ?? server);
    } catch (error) {
      if (!options.short) process.stderr.write(`${MeshError.from(error).message}\n`);
    }
    print('Server', server);
    if (!options.proxy) return;
    const { items } = await client.list<Pod>(PODS, {
      labelSelector: `linkerd.io/control-plane-ns=${globals.linkerdNamespace}`,
      ...(globals.namespace ? { namespace: globals.namespace } : {}),
    });
    const counts = new Map<string, number>();
    for (const { metadata } of items) {
      const version = metadata.annotations?.['linkerd.io/proxy-version'] ?? 'unknown';
      counts.set(version, (counts.get(version) ?? 0) + 1);
    }
    if (!counts.size) process.stdout.write('Proxy versions: unavailable\n');
    for (const [version, count] of [...counts].sort()) {
      process.stdout.write(options.short ? `${version}\n` : `Proxy version: ${version} (${count} pods)\n`);
    }
  });
}
