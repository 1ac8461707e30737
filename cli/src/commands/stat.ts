/** `tulle stat`: success rate, requests per second and latency of workloads, read from the proxies themselves. */
import { type KubeObject, MeshError } from '@tulle/api';
import type { Client } from '@tulle/client';
import type { Command } from 'commander';
import { type GlobalOptions, globalOptions, withClient, withGlobalOptions } from '../globals.ts';
import { belongsTo, isAlive, type isMeshed, listPods } from '../mesh/mesh-pods.ts';
import { getNamed, requireNamespace } from '../mesh/named-objects.ts';
import { parseResource, parseResources, type Resource } from '../mesh/resource.ts';
import { reportFailed, scrapeWindow } from '../mesh/scrape.ts';
import { type StatRow, statRows } from '../mesh/stat-rows.ts';
import { addWindowOptions, measuring, type WindowOptions, windowMs } from '../mesh/window-options.ts';
import { outputFormat } from '../output/documents.ts';
import { statJson, statTable } from '../output/stat-table.ts';

interface StatOptions extends WindowOptions {
  to?: string;
  toNamespace?: string;
  from?: string;
  fromNamespace?: string;
  selector?: string;
  unmeshed?: boolean;
}

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('stat'))
    .argument('<resource...>', 'such as deploy, deploy/web, pods, namespaces, services, all')
    .description('Show success rate, requests per second and latency of resources')
    .option('--to <resource>', 'only what they send to this resource')
    .option('--to-namespace <namespace>', 'namespace of --to')
    .option('--from <resource>', 'only what they receive from this resource')
    .option('--from-namespace <namespace>', 'namespace of --from')
    .option('-l, --selector <selector>', 'only resources with these labels')
    .option('--unmeshed', 'resources without a proxy too');
  addWindowOptions(command).action((words: string[]) => stat(words, globalOptions(command), command.opts()));
}

async function stat(words: string[], globals: GlobalOptions, options: StatOptions): Promise<void> {
  const format = outputFormat(options.output, ['table', 'wide', 'json']);
  const forMs = windowMs(options.timeWindow);
  const resources = parseResources(words);
  if (options.to && options.from) throw new MeshError('INVALID_ARGUMENT', '--to and --from exclude each other');
  const rows = await withClient(globals, async (client) => {
    const home = globals.namespace ?? client.config.namespace;
    const peer = (word: string | undefined, namespace: string | undefined) =>
      word ? { ...parseResource(word), namespace: namespace ?? home } : undefined;
    const [to, from] = [peer(options.to, options.toNamespace), peer(options.from, options.fromNamespace)];
    const scope = options.allNamespaces ? undefined : home;
    const found = await listObjects(client, resources, scope, options);
    if (scope && found.every(({ objects }) => objects.length === 0)) await requireNamespace(client, scope);
    const isAnywhere =
      from !== undefined || found.some(({ resource }) => ['namespace', 'service'].includes(resource.label));
    const pods = await listPods(client, isAnywhere ? undefined : scope);
    const asked = isAnywhere
      ? pods
      : pods.filter((pod) =>
          found.some(({ resource, objects }) => objects.some((object) => belongsTo(pod, resource, object))),
        );
    const { windows, seconds, failed } = await measuring(forMs, scrapeWindow(client, asked, forMs));
    reportFailed(failed);
    return found.flatMap(({ resource, objects }) =>
      statRows({ type: resource, objects, pods, windows, seconds, ...(to ? { to } : {}), ...(from ? { from } : {}) }),
    );
  });
  const shown = rows.filter((row) => options.unmeshed || isShown(row, resources));
  if (format === 'json') return void process.stdout.write(statJson(shown));
  if (!shown.length)
    throw new MeshError(
      'NOT_FOUND',
      `no meshed ${words[0]} found; --unmeshed shows those without a proxy, -A all namespaces`,
    );
  const table = {
    isWide: format === 'wide',
    hasNamespace: Boolean(options.allNamespaces),
    hasKind: new Set(shown.map(({ kind }) => kind)).size > 1,
  };
  process.stdout.write(statTable(shown, table));
}

/** What was named is shown, meshed or not; of a whole type only what has a proxy or, for Services, traffic. */
function isShown({ kind, name, meshed, metrics }: StatRow, resources: readonly Resource[]): boolean {
  if (resources.some((resource) => resource.label === kind && resource.name === name)) return true;
  return meshed ? meshed.proxies > 0 : metrics.rps !== null || metrics.tcpConnections > 0;
}

async function listObjects(
  client: Client,
  resources: readonly Resource[],
  namespace: string | undefined,
  { selector }: StatOptions,
) {
  const byType = new Map<string, Resource[]>();
  for (const resource of resources) byType.set(resource.label, [...(byType.get(resource.label) ?? []), resource]);
  return Promise.all(
    [...byType.values()].map(async (ofType) => {
      const resource = ofType[0]!;
      const isNamespaced = resource.kind.namespaced;
      const names = ofType.flatMap(({ name }) => name ?? []);
      if (names.length && (namespace || !isNamespaced)) {
        const objects = names.map((name) =>
          getNamed(client, { ...resource, name }, isNamespaced ? namespace : undefined),
        );
        return { resource, objects: await Promise.all(objects) };
      }
      const { items } = await client
        .list<KubeObject>(resource.kind, {
          ...(namespace && isNamespaced ? { namespace } : {}),
          ...(selector ? { labelSelector: selector } : {}),
        })
        .catch(absentKind(resources.length > 1));
      const named = names.length ? items.filter(({ metadata }) => names.includes(metadata.name)) : items;
      const isEnded = (object: KubeObject) =>
        resource.label === 'pod' && !isAlive(object as Parameters<typeof isMeshed>[0]);
      return { resource, objects: named.filter((object) => !isEnded(object)).sort(byName) };
    }),
  );
}

/** Of `all` types some may be missing in a cluster. */
const absentKind = (isOneOfMany: boolean) => (error: unknown) => {
  if (isOneOfMany && MeshError.from(error).code === 'NOT_FOUND')
    return { items: [] as KubeObject[], resourceVersion: '' };
  throw error;
};

const byName = (a: KubeObject, b: KubeObject) =>
  `${a.metadata.namespace}/${a.metadata.name}`.localeCompare(`${b.metadata.namespace}/${b.metadata.name}`);
