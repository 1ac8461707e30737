/** `tulle authz`: the authorizations of a workload, as the control plane resolves them. */
import { type KubeObject, MeshError, type Pod, SERVERS } from '@tulle/api';
import type { Client } from '@tulle/client';
import { type GlobalOptions, withClient } from '../globals.ts';
import { isMeshed } from '../mesh/mesh-pods.ts';
import { namedPods } from '../mesh/named-objects.ts';
import { outputFormat } from '../output/documents.ts';
import { renderTable } from '../output/table.ts';
import { authorizationRows } from './authorization-rows.ts';
import { readClusterView } from './cluster-view.ts';
import { PROXY_PORTS } from './seen-traffic.ts';

/** Names that one line shows. */
const NAMES_TOLD_MAX = 5;
const COLUMNS = ['ROUTE', 'SERVER', 'AUTHORIZATION_POLICY', 'SERVER_AUTHORIZATION'];

export async function authz(words: string[], globals: GlobalOptions, options: { output?: string }): Promise<void> {
  const format = outputFormat(options.output, ['table', 'json']);
  const { rows, notes } = await withClient(globals, async (client) => {
    const namespace = globals.namespace ?? client.config.namespace;
    const pods = await podsOf(client, words, namespace);
    const numbers = await serverPorts(client);
    const view = await readClusterView(client, globals.linkerdNamespace);
    const withPorts = pods.map(({ metadata: { namespace: ns = '', name } }) => {
      const containerPorts = view.workloads.pod(`${ns}/${name}`)?.containerPorts ?? [];
      const declared = new Set(containerPorts.map(({ port }) => port).filter((port) => !PROXY_PORTS.has(port)));
      return { namespace: ns, name, declared, ports: new Set([...declared, ...(numbers.get(ns) ?? [])]) };
    });
    const found = authorizationRows(view.inbound, withPorts);
    return { ...found, notes: [...unmeshed(pods), ...found.notes] };
  });
  for (const note of notes) process.stderr.write(`‼ ${note}\n`);
  if (format === 'json') {
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
    return;
  }
  const cells = rows.map(({ route, server, authorizationPolicy = '-', serverAuthorization = '-' }) => [
    route,
    server,
    authorizationPolicy,
    serverAuthorization,
  ]);
  process.stdout.write(
    renderTable(
      COLUMNS.map((title) => ({ title })),
      cells,
    ),
  );
}

async function podsOf(client: Client, words: readonly string[], namespace: string): Promise<Pod[]> {
  const pods = await namedPods(client, words, namespace);
  if (pods.length > 0) return pods;
  throw new MeshError('NOT_FOUND', `${words.join(' ')} in namespace ${namespace}: no pods, so nobody to authorize`);
}

function unmeshed(pods: readonly Pod[]): string[] {
  const names = pods.filter((pod) => !isMeshed(pod)).map(({ metadata }) => metadata.name);
  if (names.length === 0) return [];
  const told = names.slice(0, NAMES_TOLD_MAX).join(', ');
  const more = names.length > NAMES_TOLD_MAX ? ` and ${names.length - NAMES_TOLD_MAX} more` : '';
  return [`without a proxy, so that everybody is let in: ${told}${more}`];
}

/** Ports that Servers give by number, by namespace: containers need not declare them. */
async function serverPorts(client: Client): Promise<Map<string, number[]>> {
  const ports = new Map<string, number[]>();
  const servers = await client.list<KubeObject>(SERVERS).catch((error) => {
    if (MeshError.from(error).code === 'NOT_FOUND') return { items: [] };
    throw error;
  });
  for (const { metadata, spec } of servers.items) {
    if (typeof spec?.port !== 'number') continue;
    const namespace = metadata.namespace ?? '';
    ports.set(namespace, [...(ports.get(namespace) ?? []), spec.port]);
  }
  return ports;
}
