/** The live picture: a table of workloads and one of edges, redrawn in place on a terminal, lines appended otherwise. */
import { setTimeout as delay } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import pc from 'picocolors';
import { NAMESPACE } from './manifests.ts';
import { type EdgeRow, type StartTimes, type WorkloadRow, worksOut } from './report.ts';
import type { Scraper, Scrapes } from './scraper.ts';

const REDRAW_MS = 1000;
/** Appended lines come less often than a redraw: they stay. */
const APPEND_MS = 5000;
/** Rates and percentiles are of this long. */
const WINDOW_MS = 10_000;

export interface LiveOptions {
  scraper: Scraper;
  kubeconfigPath: string;
  startMs: StartTimes;
  forMs?: number | undefined;
}

export async function showLive(options: LiveOptions, signal: AbortSignal): Promise<void> {
  const isTerminal = process.stdout.isTTY === true;
  const history: Scrapes[] = [await options.scraper.scrape()];
  const endsAt = options.forMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + options.forMs;
  process.stdout.write(intro(options));
  let drawnLines = 0;
  while (!signal.aborted && performance.now() < endsAt) {
    await delay(isTerminal ? REDRAW_MS : APPEND_MS, undefined, { signal }).catch(() => {});
    if (signal.aborted) break;
    const now = await options.scraper.scrape();
    history.push(now);
    while (history.length > 2 && now.atMs - (history[1]?.atMs ?? 0) >= WINDOW_MS) history.shift();
    const { workloads, edges } = worksOut(history[0] ?? now, now);
    const lines = [...workloadLines(workloads), '', ...edgeLines(edges), ''];
    if (isTerminal && drawnLines > 0) process.stdout.write(`\x1b[${drawnLines}A\x1b[0J`);
    process.stdout.write(`${lines.join('\n')}\n`);
    drawnLines = lines.length;
  }
}

function intro({ kubeconfigPath, startMs }: LiveOptions): string {
  const seconds = Object.values(startMs).reduce((sum, ms) => sum + ms, 0) / 1000;
  return `
${pc.bold('The mesh is up.')} From nothing to golden metrics in ${seconds.toFixed(1)} s. Ctrl-C ends it and leaves nothing behind.

${pc.dim('In another terminal:')}
  export KUBECONFIG=${kubeconfigPath}
  kubectl -n ${NAMESPACE} get pods
  npm run -s tulle -- check
  npm run -s tulle -- -n ${NAMESPACE} stat deploy
  npm run -s tulle -- -n ${NAMESPACE} edges deploy

`;
}

function workloadLines(rows: WorkloadRow[]): string[] {
  const header = ['WORKLOAD', '', 'SUCCESS', 'RPS', 'P50', 'P95', 'P99', 'TCP'];
  const cells = rows.map((row) => [
    row.name,
    row.role,
    successCell(row.successRate),
    row.rps === null ? '-' : row.rps.toFixed(1),
    milliseconds(row.latencyMs?.p50),
    milliseconds(row.latencyMs?.p95),
    milliseconds(row.latencyMs?.p99),
    String(row.tcpConnections),
  ]);
  return table(header, cells, 2);
}

function edgeLines(rows: EdgeRow[]): string[] {
  const header = ['EDGE', 'CLIENT IDENTITY', 'SERVER IDENTITY', 'TLS'];
  const cells = rows.map((row) => [
    `${row.client} → ${row.server}`,
    shortIdentity(row.clientId),
    shortIdentity(row.serverId),
    row.tls === 'mutual' ? pc.green('√ mutual') : pc.red('× none'),
  ]);
  return table(header, cells, header.length);
}

function successCell(rate: number | null): string {
  if (rate === null) return '-';
  const text = `${(rate * 100).toFixed(1)}%`;
  return rate >= 0.99 ? pc.green(text) : rate >= 0.9 ? pc.yellow(text) : pc.red(text);
}

function milliseconds(value: number | undefined): string {
  return value === undefined ? '-' : `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
}

/** `web.emojivote` of `web.emojivote.serviceaccount.identity.…`. */
function shortIdentity(identity: string | null): string {
  return identity === null ? '-' : identity.replace(/\.serviceaccount\.identity\..*$/, '');
}

/** Columns as wide as their widest cell; the first `leftColumns` align left, figures right. */
function table(header: string[], rows: string[][], leftColumns: number): string[] {
  const plain = stripVTControlCharacters;
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => plain(row[i] ?? '').length)));
  const line = (cells: string[]) =>
    cells
      .map((cell, i) => {
        const pad = ' '.repeat((widths[i] ?? 0) - plain(cell).length);
        return i < leftColumns ? cell + pad : pad + cell;
      })
      .join('   ')
      .trimEnd();
  return [pc.dim(line(header)), ...rows.map(line)];
}
