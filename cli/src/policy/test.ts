/** `tulle policy test`: what resources in a file would have done to the callers that proxies have seen. */
import { type KubeObject, MeshError, type ProxyScrape } from '@tulle/api';
import { groupOf } from '@tulle/api/object-ref.ts';
import { checkPolicy } from '@tulle/control-plane/admission/rules.ts';
import type { Document } from 'yaml';
import { type GlobalOptions, withClient } from '../globals.ts';
import { outputFormat } from '../output/documents.ts';
import { readManifest } from '../workload/documents.ts';
import { objectsIn } from '../workload/workload.ts';
import { readClusterView } from './cluster-view.ts';
import { addUp, type SeenCaller, seenCallers } from './seen-traffic.ts';
import { scrapeResources } from './suggest.ts';
import { isTried, type TrialRow, tryPolicies } from './trial.ts';
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
    const untried = objects.filter((object) => !isTried(object));
    const [view, { scrapes }] = await Promise.all([
      readClusterView(client, globals.linkerdNamespace),
      scrapeResources(client, [], undefined),
    ]);
    // Policies decide in their own namespace; elsewhere only what changes is worth a line.
    const namespaces = new Set(objects.map(({ metadata }) => metadata.namespace));
    const trial = tryPolicies(view, perWorkload(scrapes), objects, type);
    for (const { kind, metadata } of untried)
      process.stderr.write(`‼ not tried: ${kind} ${metadata.namespace}/${metadata.name} decides on no caller\n`);
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
