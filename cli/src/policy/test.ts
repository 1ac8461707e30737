/** `tulle policy test`: what resources in a file would have done to the callers that proxies have seen. */
import { type Kind, type KubeObject, MeshError, type ProxyScrape } from '@tulle/api';
import { groupOf } from '@tulle/api/object-ref.ts';
import type { Client } from '@tulle/client';
import { checkPolicy } from '@tulle/control-plane/admission/rules.ts';
import type { Document } from 'yaml';
import { type GlobalOptions, withClient } from '../globals.ts';
import { requireNamespace } from '../mesh/named-objects.ts';
import { outputFormat } from '../output/documents.ts';
import { readManifest } from '../workload/documents.ts';
import { objectsIn } from '../workload/workload.ts';
import { readClusterView } from './cluster-view.ts';
import { addUp, type SeenCaller, seenCallers } from './seen-traffic.ts';
import { scrapeResources } from './suggest.ts';
import { type TrialRow, triedKind, tryPolicies } from './trial.ts';
import { trialJson, trialTable } from './trial-table.ts';

export interface TestOptions {
  /** Try what it would be like without the resources. */
  delete?: boolean;
  output?: string;
}

/** Exits with 1 when something that was let in would be refused. */
export async function testPolicies(file: string, globals: GlobalOptions, options: TestOptions): Promise<void> {
  const format = outputFormat(options.output, ['table', 'json']);
  const documents = await readManifest(file);
  const rows = await withClient(globals, async (client) => {
    const home = globals.namespace ?? client.config.namespace;
    const type = options.delete ? 'delete' : 'set';
    const objects = readPolicies(documents, home, type);
    const [view, { scrapes }] = await Promise.all([
      readClusterView(client, globals.linkerdNamespace),
      scrapeResources(client, [], undefined),
    ]);
    // Policies decide in their own namespace; elsewhere only what changes is worth a line.
    const namespaces = new Set(objects.map(({ metadata }) => metadata.namespace));
    const { aged, notes } = await compareWithCluster(client, objects, type);
    const trial = tryPolicies(view, perWorkload(scrapes), aged, type);
    for (const note of notes) process.stderr.write(`‼ ${note}\n`);
    return trial
      .filter(({ caller, change }) => change !== 'none' || namespaces.has(caller.namespace))
      .map((row) => ({ ...row, workload: workloadOf(scrapes, row) }));
  });
  if (rows.some(({ change }) => change === 'refused')) process.exitCode = 1;
  process.stdout.write(format === 'json' ? trialJson(rows) : trialTable(rows));
}

/** @throws MeshError `INVALID_ARGUMENT` when the API server would refuse one of them. */
export function readPolicies(
  documents: readonly Document[],
  namespace: string,
  type: 'set' | 'delete' = 'set',
): KubeObject[] {
  const objects = documents.flatMap(objectsIn).map(({ object }) => object as KubeObject);
  const problems = objects.flatMap((object) => {
    const { kind = '', apiVersion = '' } = object;
    if (!object.metadata?.name) return [`${kind || 'an object'}: found no name in metadata`];
    const { metadata } = object;
    metadata.namespace ??= namespace;
    const group = groupOf(apiVersion);
    if (type === 'delete') return [];
    if (!/^(policy\.linkerd\.io|gateway\.networking\.k8s\.io)$/.test(group) || kind === 'ReferenceGrant') return [];
    const { refusal } = checkPolicy(group, kind, object);
    return refusal === undefined ? [] : [`${kind} ${metadata.namespace}/${metadata.name}: ${refusal}`];
  });
  if (problems.length > 0) throw new MeshError('INVALID_ARGUMENT', problems.join('\n'));
  return objects;
}

/** The objects with the age of those that they would change, which decides between rivals, and what is odd about them. */
export async function compareWithCluster(
  client: Pick<Client, 'get'>,
  objects: readonly KubeObject[],
  type: 'set' | 'delete',
) {
  const notes: string[] = [];
  const made = new Set(objects.flatMap(({ kind, metadata }) => (kind === 'Namespace' ? [metadata.name] : [])));
  for (const namespace of new Set(objects.map(({ metadata }) => metadata.namespace!))) {
    if (made.has(namespace)) continue;
    await requireNamespace(client, namespace).catch((error) => notes.push(MeshError.from(error).message));
  }
  const aged = objects.map(async (object) => {
    const kind = triedKind(object);
    const name = `${object.kind} ${object.metadata.namespace}/${object.metadata.name}`;
    if (!kind) notes.push(`not tried: ${name} decides on no caller`);
    else if (type === 'set') notes.push(...warningsOf(object).map((warning) => `${name}: ${warning}`));
    const present = kind && (await existing(client, kind, object));
    if (kind && !present && type === 'delete') notes.push(`${name} is not in the cluster`);
    const { creationTimestamp: _, ...metadata } = object.metadata;
    const created = present?.metadata.creationTimestamp;
    return { ...object, metadata: { ...metadata, ...(created ? { creationTimestamp: created } : {}) } } as KubeObject;
  });
  return { aged: await Promise.all(aged), notes };
}

const warningsOf = (object: KubeObject) =>
  checkPolicy(groupOf(object.apiVersion ?? ''), object.kind ?? '', object).warnings;

async function existing(
  client: Pick<Client, 'get'>,
  kind: Kind,
  { metadata }: KubeObject,
): Promise<KubeObject | undefined> {
  try {
    return await client.get<KubeObject>(kind, metadata.name, metadata.namespace);
  } catch (error) {
    if (MeshError.from(error).code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** One row for each caller of a workload: all its pods have the same policies. */
function perWorkload(scrapes: readonly ProxyScrape[]): SeenCaller[] {
  const workloads = new Map(scrapes.map(({ namespace, pod, workload }) => [`${namespace}/${pod}`, workload]));
  const keyOf = ({ namespace, pod, port }: SeenCaller) => {
    const workload = workloads.get(`${namespace}/${pod}`)!;
    return `${namespace}/${workload.kind}/${workload.name}/${port}`;
  };
  return [...addUp(seenCallers(scrapes), keyOf).values()].flat();
}

function workloadOf(scrapes: readonly ProxyScrape[], { caller }: TrialRow): string {
  const scrape = scrapes.find(({ namespace, pod }) => namespace === caller.namespace && pod === caller.pod);
  return `${scrape?.workload.kind}/${scrape?.workload.name}`;
}
