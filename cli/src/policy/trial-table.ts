/** What a trial of policies came to, as people and programs read it. Fits a terminal of 80 columns where names are short. */
import { colors } from '../output/colors.ts';
import { renderTable } from '../output/table.ts';
import { countText, type SeenCaller, serviceAccountOf } from './seen-traffic.ts';
import { sourceText, type TrialRow } from './trial.ts';

export type WorkloadTrialRow = TrialRow & { workload: string };
type Row = WorkloadTrialRow;

const RESULTS: Record<TrialRow['change'], (row: Row) => string> = {
  refused: () => colors.red('× refused'),
  depends: () => colors.yellow('‼ depends'),
  allowed: () => colors.green('+ let in'),
  none: ({ after }) => (after.verdict === 'allow' ? `${colors.green('√')} passes` : colors.dim('· refused before')),
};
const ORDER: TrialRow['change'][] = ['refused', 'depends', 'allowed', 'none'];

export function trialTable(rows: readonly Row[]): string {
  if (rows.length === 0) return 'no proxy has seen a caller lately: there is nothing to try these resources on\n';
  const sorted = [...rows].sort((a, b) => ORDER.indexOf(a.change) - ORDER.indexOf(b.change));
  const groups = new Map<string, Row[]>();
  for (const row of sorted) {
    const { namespace, port } = row.caller;
    const title = `${namespace} ${row.workload}, port ${port}`;
    groups.set(title, [...(groups.get(title) ?? []), row]);
  }
  const ordered = [...groups.values()].flat();
  const cells = ordered.map((row) => [
    `  ${RESULTS[row.change](row)}`,
    callerText(row.caller),
    countText(row.caller.allowed + row.caller.denied, row.caller.unit),
  ]);
  const [, ...lines] = renderTable([{ title: '' }, { title: '' }, { title: '', isRight: true }], cells).split('\n');
  const lineOf = new Map(ordered.map((row, i) => [row, lines[i]!]));
  const blocks = [...groups].map(([title, group]) => {
    const told = group.map((row) => `${lineOf.get(row)}\n    ${colors.dim(reasonText(row))}\n`);
    return `${colors.bold(title)}\n${told.join('')}`;
  });
  return `${blocks.join('\n')}\n${summary(rows)}`;
}

function summary(rows: readonly Row[]): string {
  const of = (change: TrialRow['change']) => rows.filter((row) => row.change === change).length;
  const passed = rows.filter(({ before }) => before.verdict === 'allow').length;
  const parts = [
    `${of('refused')} of ${passed} callers that pass now would be refused.`,
    ...(of('allowed') ? [`${of('allowed')} that were refused would pass.`] : []),
    ...(of('depends') ? [`${of('depends')} depend on paths, headers or addresses that metrics do not tell.`] : []),
    'Who has been silent for ten minutes is not known.',
  ];
  return parts.map((part) => `${part}\n`).join('');
}

function reasonText(row: Row): string {
  return row.after.verdict === 'allow' ? row.by : `${row.by}: ${row.after.reason}${probeNote(row)}`;
}

/** Metrics do not tell the kubelet's TCP probes from clients; probes only connect, and that goes on to work. */
function probeNote({ caller, change }: Row): string {
  const isLikeProbe = caller.clientId === undefined && caller.unit === 'connections';
  return change === 'refused' && isLikeProbe ? " (or the kubelet's TCP probes, which still connect)" : '';
}

function callerText({ clientId, isTls, namespace }: SeenCaller): string {
  if (clientId === undefined) return isTls ? 'TLS without an identity' : 'without an identity';
  const account = serviceAccountOf(clientId);
  if (!account) return clientId;
  return account.namespace === namespace ? `sa/${account.name}` : `sa/${account.name} of ${account.namespace}`;
}

export function trialJson(rows: readonly Row[]): string {
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
