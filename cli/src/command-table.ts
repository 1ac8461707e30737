/** Which commands there are. Each is loaded only when it is asked for, so that the command line starts fast. */
import type { Command } from 'commander';

export interface CommandModule {
  /** Adds the command to the program. */
  register(program: Command): void;
}

export interface CommandEntry {
  name: string;
  alias?: string;
  summary: string;
  load(): Promise<CommandModule>;
}

export const COMMANDS: readonly CommandEntry[] = [
  { name: 'cluster', summary: 'run a Kubernetes cluster on this machine', load: () => import('./commands/cluster.ts') },
  {
    name: 'install',
    summary: 'print the manifests of the control plane, for kubectl apply',
    load: () => import('./commands/install.ts'),
  },
  {
    name: 'inject',
    summary: 'add the proxy, or the annotation that asks for it, to manifests',
    load: () => import('./commands/inject.ts'),
  },
  { name: 'check', summary: 'check cluster, control plane and proxies', load: () => import('./commands/check.ts') },
  { name: 'stat', summary: 'show golden metrics of workloads', load: () => import('./commands/stat.ts') },
  { name: 'edges', summary: 'show who calls whom, and with which identity', load: () => import('./commands/edges.ts') },
  { name: 'identity', summary: "show the certificates of pods' proxies", load: () => import('./commands/identity.ts') },
  {
    name: 'diagnostics',
    alias: 'diag',
    summary: 'ask the control plane what it tells proxies',
    load: () => import('./commands/diagnostics.ts'),
  },
  {
    name: 'authz',
    summary: 'list the authorizations in force on a workload',
    load: () => import('./commands/authz.ts'),
  },
  {
    name: 'profile',
    summary: 'print a ServiceProfile from a template, OpenAPI or protobuf',
    load: () => import('./commands/profile.ts'),
  },
  {
    name: 'explain',
    summary: 'show what happens to a request, and which object says so',
    load: () => import('./commands/explain.ts'),
  },
  {
    name: 'policy',
    summary: 'suggest policies from traffic, and try them on it',
    load: () => import('./commands/policy.ts'),
  },
  { name: 'uninject', summary: 'take the proxy out of manifests', load: () => import('./commands/uninject.ts') },
  {
    name: 'version',
    summary: 'print the versions of command line and mesh',
    load: () => import('./commands/version.ts'),
  },
  {
    name: 'completion',
    summary: 'print a completion script for a shell',
    load: () => import('./commands/completion.ts'),
  },
];

/** Commands of Linkerd that are still to come, and what they come with. */
export const LATER: Readonly<Record<string, string>> = {
  upgrade: 'the charts; until then `tulle install` keeps the certificates of an installed control plane',
  uninstall: 'the charts; until then: tulle install | kubectl delete -f -',
  prune: 'the charts',
  'install-cni': 'the CNI plugin',
  multicluster: 'multicluster',
  viz: 'the dashboard; `tulle stat` and `tulle edges` need no extension',
  dashboard: 'the dashboard',
  tap: 'live views of requests',
  top: 'live views of requests',
  routes: 'live views of requests',
};

/** Global options that take a value, so that the value is not taken for the command. */
const VALUE_OPTIONS = new Set([
  '-n',
  '--namespace',
  '-L',
  '--linkerd-namespace',
  '--cni-namespace',
  '--kubeconfig',
  '--context',
  '--as',
  '--as-group',
  '--api-addr',
]);

/** The command that the arguments name, if any; an alias as the name that it stands for. */
export function commandIn(argv: readonly string[]): string | undefined {
  const words = argv[0] === 'help' ? argv.slice(1) : argv;
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i]!;
    if (VALUE_OPTIONS.has(word)) i += 1;
    else if (!word.startsWith('-')) return COMMANDS.find(({ alias }) => alias === word)?.name ?? word;
  }
  return undefined;
}
