/** The options that every command has, and the connection to a cluster that they describe. */
import { MeshError } from '@tulle/api';
import type { Client } from '@tulle/client';
import type { Command } from 'commander';

export interface GlobalOptions {
  linkerdNamespace: string;
  /** Of what is asked about; the kubeconfig's where the command says so. */
  namespace?: string;
  kubeconfig?: string;
  context?: string;
  as?: string;
  asGroup?: string[];
  apiAddr?: string;
  verbose: boolean;
}

const append = (value: string, list: string[] = []) => [...list, value];

/** Adds the global options to a command; they may stand before or after its name. */
export function withGlobalOptions(command: Command): Command {
  return command
    .option(
      '-L, --linkerd-namespace <namespace>',
      'namespace of the control plane (env LINKERD_NAMESPACE, default linkerd)',
    )
    .option('--cni-namespace <namespace>', 'namespace of the CNI plugin (default linkerd-cni)')
    .option('-n, --namespace <namespace>', 'namespace of what is asked about')
    .option('--kubeconfig <file>', 'kubeconfig file to use (env KUBECONFIG, default ~/.kube/config)')
    .option('--context <name>', 'context of the kubeconfig to use')
    .option('--as <user>', 'user to impersonate')
    .option('--as-group <group>', 'group to impersonate, may be repeated', append)
    .option('--api-addr <host:port>', 'address of the API server, instead of the one in the kubeconfig')
    .option('--verbose', 'say more on standard error');
}

/** Throws when a value cannot be right, before anything is asked of a cluster. */
export function globalOptions(command: Command): GlobalOptions {
  const raw = command.optsWithGlobals();
  const linkerdNamespace: string = raw.linkerdNamespace ?? process.env.LINKERD_NAMESPACE ?? 'linkerd';
  for (const [flag, name] of [
    ['--linkerd-namespace', linkerdNamespace],
    ['--cni-namespace', raw.cniNamespace],
    ['--namespace', raw.namespace],
  ]) {
    if (name !== undefined && !/^(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name)) {
      throw new MeshError('INVALID_ARGUMENT', `${flag} "${name}": not the name of a namespace`);
    }
  }
  return { ...raw, linkerdNamespace, verbose: Boolean(raw.verbose) };
}

/** Runs `use` with a client, and closes it. */
export async function withClient<T>(globals: GlobalOptions, use: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect(globals);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

export async function connect(globals: GlobalOptions): Promise<Client> {
  const { createClient, loadKubeconfig } = await import('@tulle/client');
  const { kubeconfig, context, as, asGroup, apiAddr } = globals;
  const config = loadKubeconfig({
    ...(kubeconfig ? { path: kubeconfig } : {}),
    ...(context ? { context } : {}),
  });
  return createClient({
    ...config,
    ...(apiAddr ? { server: apiAddr.includes('://') ? apiAddr : `https://${apiAddr}` } : {}),
    ...(as ? { asUser: as } : {}),
    ...(asGroup ? { asGroups: asGroup } : {}),
  });
}
