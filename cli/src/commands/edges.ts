/** `tulle edges`: who calls whom, and whether both ends have proven who they are. */
import { type Edge, MeshError, type Pod, type ProxyWindow, trafficEdges } from '@tulle/api';
import type { Command } from 'commander';
import { type GlobalOptions, globalOptions, withClient, withGlobalOptions } from '../globals.ts';
import { listPods } from '../mesh/mesh-pods.ts';
import { requireNamespace } from '../mesh/named-objects.ts';
import { parseResource } from '../mesh/resource.ts';
import { reportFailed, scrapeWindow } from '../mesh/scrape.ts';
import { addWindowOptions, measuring, type WindowOptions, windowMs } from '../mesh/window-options.ts';
import { outputFormat } from '../output/documents.ts';
import { SYMBOLS } from '../output/symbols.ts';
import { renderTable } from '../output/table.ts';

export function register(program: Command): void {
  const command = withGlobalOptions(program.command('edges'))
    .argument('<resource>', 'such as deploy, pods, namespaces')
    .description('Show connections between resources and the identities of both ends');
  addWindowOptions(command).action((word: string) => edges(word, globalOptions(command), command.opts()));
}

async function edges(word: string, globals: GlobalOptions, options: WindowOptions): Promise<void> {
  const format = outputFormat(options.output, ['table', 'wide', 'json']);
  const forMs = windowMs(options.timeWindow);
  const { label, name } = parseResource(word);
  if (label === 'service')
    throw new MeshError(
      'INVALID_ARGUMENT',
      'edges are between workloads: want deploy, pods, namespaces or another workload',
    );
  const found = await withClient(globals, async (client) => {
    const home =
      options.allNamespaces || label === 'namespace' ? undefined : (globals.namespace ?? client.config.namespace);
    // Either end may be in another namespace.
    const pods = await listPods(client);
    if (home && !pods.some(({ metadata }) => metadata.namespace === home)) await requireNamespace(client, home);
    const { windows, failed } = await measuring(forMs, scrapeWindow(client, pods, forMs));
    reportFailed(failed);
    return trafficEdges(grouped(windows, pods, label), { labels: [label], includesUnmeshed: true }).filter(
      ({ client: from, server: to }) =>
        (home === undefined || from.namespace === home || to.namespace === home) &&
        (name === undefined || from.name === name || to.name === name),
    );
  });
  if (format === 'json') return void process.stdout.write(edgesJson(found));
  if (!found.length)
    throw new MeshError(
      'NOT_FOUND',
      'no edges found: nothing meshed was called while measuring; -t measures longer, -A looks at all namespaces',
    );
  process.stdout.write(edgesTable(found, format === 'wide'));
}

/** The proxies, each under the name that a resource of this type has for it. */
function grouped(windows: readonly ProxyWindow[], pods: readonly Pod[], label: string): ProxyWindow[] {
  const byName = new Map(pods.map((pod) => [`${pod.metadata.namespace}/${pod.metadata.name}`, pod]));
  return windows.flatMap(({ before, after }) => {
    const pod = byName.get(`${after.namespace}/${after.pod}`);
    const name =
      label === 'pod'
        ? after.pod
        : label === 'namespace'
          ? after.namespace
          : pod?.metadata.labels?.[`linkerd.io/proxy-${label}`];
    if (!name) return [];
    return [{ ...(before ? { before } : {}), after: { ...after, workload: { kind: label, name } } }];
  });
}

const isMutual = ({ clientId, serverId }: Edge) => clientId !== null && serverId !== null;
/** Account and namespace, enough to know it by. */
const short = (identity: string | null) => identity?.replace(/\.serviceaccount\.identity\..*$/, '') ?? '';
const reasonOf = ({ noTlsReason, serverId }: Edge) =>
  noTlsReason ?? (serverId === null ? 'no server identity' : 'client not seen by the server');

function edgesTable(found: readonly Edge[], isWide: boolean): string {
  const titles = ['SRC', 'DST', 'SRC_NS', 'DST_NS', ...(isWide ? ['CLIENT_ID', 'SERVER_ID'] : []), 'SECURED'];
  return renderTable(
    titles.map((title) => ({ title })),
    found.map((edge) => [
      edge.client.name,
      edge.server.name,
      edge.client.namespace,
      edge.server.namespace,
      ...(isWide ? [short(edge.clientId), short(edge.serverId)] : []),
      isMutual(edge) ? SYMBOLS.success : reasonOf(edge),
    ]),
  );
}

function edgesJson(found: readonly Edge[]): string {
  const documents = found.map((edge) => ({
    src: edge.client.name,
    src_namespace: edge.client.namespace,
    dst: edge.server.name,
    dst_namespace: edge.server.namespace,
    client_id: edge.clientId ?? '',
    server_id: edge.serverId ?? '',
    no_tls_reason: isMutual(edge) ? '' : reasonOf(edge),
  }));
  return `${JSON.stringify(documents, null, 2)}\n`;
}
