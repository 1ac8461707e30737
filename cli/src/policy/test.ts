/** `tulle policy test`: what resources in a file would have done to the callers that proxies have seen. */
import { type KubeObject, MeshError, type ProxyScrape } from '@tulle/api';
import { groupOf } from '@tulle/api/object-ref.ts';
import { checkPolicy } from '@tulle/control-plane/admission/rules.ts';
import type { Document } from 'yaml';
import { type GlobalOptions, withClient } from '../globals.ts';
import { colors } from '../output/colors.ts';
import { outputFormat } from '../output/documents.ts';
import { renderTable } from '../output/table.ts';
import { readManifest } from '../workload/documents.ts';
import { objectsIn } from '../workload/workload.ts';
import { readClusterView } from './cluster-view.ts';
import { addUp, countText, type SeenCaller, seenCallers, serviceAccountOf } from './seen-traffic.ts';
import { scrapeResources } from './suggest.ts';
import { sourceText, type TrialRow, tryPolicies } from './trial.ts';

export interface TestOptions {
  output?: string;
}

/** Exits with 1 when something that was let in would be refused. */
export async function testPolicies(file: string, globals: GlobalOptions, options: TestOptions): Promise<void> {
  const format = outputFormat(options.output, ['table', 'json']);
  const documents = await readManifest(file);
  const rows = await withClient(globals, async (client) => {
    const home = globals.namespace ?? client.config.namespace;
    const objects = readPolicies(documents, home);
    const [view, { scrapes }] = await Promise.all([
      readClusterView(client, globals.linkerdNamespace),
      scrapeResources(client, [], undefined),
    ]);
    // Policies decide in their own namespace; elsewhere only what changes is worth a line.
    const namespaces = new Set(objects.map(({ metadata }) => metadata.namespace));
    return tryPolicies(view, perWorkload(scrapes), objects)
      .filter(({ caller, change }) => change !== 'none' || namespaces.has(caller.namespace))
      .map((row) => ({ ...row, workload: workloadOf(scrapes, row) }));
  });
  if (rows.some(({ change }) => change === 'refused')) process.exitCode = 1;
  process.stdout.write(format === 'json' ? trialJson(rows) : trialTable(rows));
}

/** @throws MeshError `INVALID_ARGUMENT` when the API server would refuse one of them. */
export function readPolicies(documents: readonly Document[], namespace: string): KubeObject[] {
  const objects = documents.flatMap(objectsIn).map(({ object }) => object as KubeObject);
  const problems = objects.flatMap((object) => {
    const { kind = '', apiVersion = '' } = object;
    if (!object.metadata?.name) return [`${kind || 'an object'}: found no name in metadata`];
    const { metadata } = object;
    metadata.namespace ??= namespace;
    const group = groupOf(apiVersion);
    if (!/^(policy\.linkerd\.io|gateway\.networking\.k8s\.io)$/.test(group) || kind === 'ReferenceGrant') return [];
    const { refusal } = checkPolicy(group, kind, object);
    return refusal === undefined ? [] : [`${kind} ${metadata.namespace}/${metadata.name}: ${refusal}`];
  });
  if (problems.length > 0) throw new MeshError('INVALID_ARGUMENT', problems.join('\n'));
  return objects;
}

type Row = TrialRow & { workload: string };

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

const RESULTS: Record<TrialRow['change'], (row: Row) => string> = {
  refused: () => colors.red('refused'),
  allowed: () => colors.green('let in'),
  depends: () => colors.yellow('depends on the request'),
  none: ({ after }) => colors.dim(after.verdict === 'allow' ? 'passes as before' : 'refused as before'),
};
const ORDER: TrialRow['change'][] = ['refused', 'depends', 'allowed', 'none'];

export function trialTable(rows: readonly Row[]): string {
  if (rows.length === 0) return 'no proxy has seen a caller lately: there is nothing to try these resources on\n';
  const sorted = [...rows].sort((a, b) => ORDER.indexOf(a.change) - ORDER.indexOf(b.change));
  const columns = ['RESULT', 'CALLER', 'OF', 'PORT', 'SEEN', 'BY'].map((title) => ({
    title,
    isRight: title === 'PORT',
  }));
  const table = renderTable(
    columns,
    sorted.map((row) => [
      RESULTS[row.change](row),
      callerText(row.caller),
      `${row.caller.namespace} ${row.workload}`,
      String(row.caller.port),
      countText(row.caller.allowed + row.caller.denied, row.caller.unit),
      row.after.verdict === 'allow' ? row.by : `${row.by}: ${row.after.reason}${probeNote(row)}`,
    ]),
  );
  const of = (change: TrialRow['change']) => rows.filter((row) => row.change === change).length;
  const passed = rows.filter(({ before }) => before.verdict === 'allow').length;
  const summary = [
    `${of('refused')} of ${passed} callers that pass now would be refused`,
    ...(of('allowed') ? [`${of('allowed')} that were refused would pass`] : []),
    ...(of('depends') ? [`${of('depends')} depend on paths and headers, which metrics do not tell`] : []),
  ];
  return `${table}\n${summary.join(', ')}. Who has been silent for ten minutes is not known.\n`;
}

/** Metrics do not tell the kubelet's TCP probes from clients; probes only connect, and that goes on to work. */
function probeNote({ caller, change }: Row): string {
  const isLikeProbe = caller.clientId === undefined && caller.unit === 'connections';
  return change === 'refused' && isLikeProbe ? " (or the kubelet's TCP probes, which still connect)" : '';
}

function trialJson(rows: readonly Row[]): string {
  const documents = rows.map(({ caller, before, after, change, by, workload }) => ({
    namespace: caller.namespace,
    workload,
    port: caller.port,
    client: caller.clientId ?? null,
    tls: caller.isTls,
    [caller.unit]: { allowed: caller.allowed, denied: caller.denied },
    change,
    before: { verdict: before.verdict, server: sourceText(before.server) },
    after: { verdict: after.verdict, server: sourceText(after.server), by, reason: after.reason },
  }));
  return `${JSON.stringify(documents, null, 2)}\n`;
}

function callerText({ clientId, isTls }: SeenCaller): string {
  if (clientId === undefined) return isTls ? 'TLS without an identity' : 'without an identity';
  const account = serviceAccountOf(clientId);
  return account ? `sa/${account.name} of ${account.namespace}` : clientId;
}
