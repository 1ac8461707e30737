/** `tulle policy suggest`: prints the policies that let in just the callers that proxies have seen. */
import {
  AUTHORIZATION_POLICIES,
  DAEMON_SETS,
  DEPLOYMENTS,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  MeshError,
  type Pod,
  type ProxyScrape,
  SERVERS,
  STATEFUL_SETS,
} from '@tulle/api';
import type { Client } from '@tulle/client';
import { type InboundServer, inboundServer } from '@tulle/control-plane/policy/inbound/inbound-server.ts';
import { stringify } from 'yaml';
import { type GlobalOptions, withClient } from '../globals.ts';
import { belongsTo, listPods } from '../mesh/mesh-pods.ts';
import { namedObjects, requireNamespace } from '../mesh/named-objects.ts';
import { reportFailed, scrapeOnce } from '../mesh/scrape.ts';
import { outputFormat, printDocuments } from '../output/documents.ts';
import { type ClusterView, readClusterView } from './cluster-view.ts';
import { type PortNow, type Suggestion, suggestPolicies } from './suggestion.ts';

export interface SuggestOptions {
  allNamespaces?: boolean;
  output?: string;
}

export async function suggest(words: string[], globals: GlobalOptions, options: SuggestOptions): Promise<void> {
  const format = outputFormat(options.output, ['yaml', 'json']);
  const { suggestions, leftOut } = await withClient(globals, async (client) => {
    const namespace = options.allNamespaces ? undefined : (globals.namespace ?? client.config.namespace);
    const { scrapes, pods } = await scrapeResources(client, words, namespace);
    const view = await readClusterView(client, globals.linkerdNamespace);
    return suggestPolicies({
      scrapes,
      pods,
      selectors: await workloadSelectors(client, namespace),
      portOf: portsOf(view),
      existing: await existingPolicies(client, namespace),
    });
  });
  for (const text of leftOut) process.stderr.write(`‼ nothing suggested for ${text}\n`);
  if (suggestions.length === 0) {
    throw new MeshError(
      'NOT_FOUND',
      'no proxy of these has let anybody in lately: is there traffic, and are the pods in the mesh?',
    );
  }
  const text =
    format === 'json'
      ? printDocuments(
          suggestions.map(({ object }) => object),
          'json',
        )
      : suggestions.map(document).join('');
  process.stdout.write(text);
}

/** What the proxies of the resources (all of the namespace where none are named) have counted until now. */
export async function scrapeResources(client: Client, words: readonly string[], namespace: string | undefined) {
  const pods = await listPods(client, namespace);
  if (pods.length === 0 && namespace !== undefined) await requireNamespace(client, namespace);
  const named = words.length > 0 ? await namedObjects(client, words, namespace) : undefined;
  const chosen = pods.filter((pod) => named?.some(({ resource, object }) => belongsTo(pod, resource, object)) ?? true);
  const { scrapes, failed } = await scrapeOnce(client, chosen);
  reportFailed(failed);
  return { pods, scrapes: scrapes as ProxyScrape[] };
}

function portsOf(view: ClusterView) {
  return ({ metadata }: Pod, port: number): PortNow => {
    const ref = { kind: 'Pod', namespace: metadata.namespace ?? '', name: metadata.name } as const;
    const server = inboundServer(view.inbound, ref, port);
    const routes = [...(server?.httpRoutes ?? []), ...(server?.grpcRoutes ?? [])];
    return {
      ...(server && typeof server.source !== 'string' ? { server: server.source.name } : {}),
      routes: routes.flatMap(({ source }) => (typeof source === 'string' ? [] : [source])),
      isOpaque: server?.protocol === 'opaque',
      openBy: server ? openBy(server) : [],
    };
  };
}

function openBy({ authorizations, httpRoutes, grpcRoutes }: InboundServer): string[] {
  const all = [...authorizations, ...[...httpRoutes, ...grpcRoutes].flatMap((route) => route.authorizations)];
  const names = all.flatMap(({ source }) => {
    if (source === 'probe') return [];
    return [typeof source === 'string' ? `accessPolicy ${source}` : `${source.kind} ${source.name}`];
  });
  return [...new Set(names)];
}

/** None of a kind that the cluster lacks. */
async function existingPolicies(client: Client, namespace: string | undefined): Promise<KubeObject[]> {
  const lists = [SERVERS, AUTHORIZATION_POLICIES, MESH_TLS_AUTHENTICATIONS].map(async (kind) => {
    try {
      const { items } = await client.list<KubeObject>(kind, namespace ? { namespace } : {});
      return items.map((item) => ({ ...item, kind: kind.kind }));
    } catch (error) {
      if (MeshError.from(error).code === 'NOT_FOUND') return [];
      throw error;
    }
  });
  return (await Promise.all(lists)).flat();
}

async function workloadSelectors(client: Client, namespace: string | undefined) {
  const selectors = new Map<string, Record<string, string>>();
  for (const kind of [DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS]) {
    const { items } = await client.list<KubeObject>(kind, namespace ? { namespace } : {});
    for (const { metadata, spec } of items) {
      const labels = spec?.selector?.matchLabels;
      if (labels) selectors.set(`${metadata.namespace}/${kind.kind.toLowerCase()}/${metadata.name}`, labels);
    }
  }
  return selectors;
}

function document({ object, notes }: Suggestion): string {
  const comments = notes
    .flatMap(wrapped)
    .map((line) => `# ${line}\n`)
    .join('');
  return `---\n${comments}${stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })}`;
}

const COMMENT_CHARACTERS_MAX = 78;

function wrapped(text: string): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= COMMENT_CHARACTERS_MAX) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}
