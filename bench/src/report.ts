/** Medians and spreads of the rounds, as JSON and as tables. */
import type { Contender } from './contender.ts';
import type { Sample } from './rounds.ts';

/** `spread` is half the range between the quartiles. */
export interface Figure {
  median: number;
  spread: number;
}

export interface CaseReport {
  case: string;
  contender: string;
  perSecond: Figure;
  p50Us: Figure;
  p99Us: Figure;
  clientUs: Figure;
  serverUs: Figure;
  pairUs: Figure;
  /** CPU of the pair by that of the floor's in the same round; null for the direct path. */
  timesFloor: Figure | null;
  /** Latency beyond the direct path's in the same round. */
  addedP50Us: Figure;
  addedP99Us: Figure;
}

export interface ContenderReport {
  name: string;
  binaryBytes?: number;
  startToReadyMs?: Figure;
  idleRssBytes?: { client: number; server: number };
  endRssBytes?: { client: number; server: number };
}

export interface Report {
  rounds: number;
  seconds: number;
  contenders: ContenderReport[];
  cases: CaseReport[];
}

export function figure(values: number[]): Figure {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), spread: (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 2 };
}

function quantile(sorted: number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? 0;
  const high = sorted[Math.ceil(at)] ?? low;
  return low + (high - low) * (at - Math.floor(at));
}

export function summarize(samples: Sample[], contenders: Contender[]): CaseReport[] {
  const reports: CaseReport[] = [];
  for (const name of new Set(samples.map((sample) => sample.case))) {
    const of = (contender: string) =>
      samples.filter((sample) => sample.case === name && sample.contender === contender);
    const [direct, floor] = [of('direct'), of('floor')];
    for (const contender of contenders) {
      const own = of(contender.name);
      const each = (value: (sample: Sample, at: number) => number) => figure(own.map(value));
      const pair = (sample: Sample) => sample.clientUs + sample.serverUs;
      const added = (key: 'p50' | 'p99') =>
        each((sample, at) => sample.latencyUs[key] - (direct[at]?.latencyUs[key] ?? 0));
      reports.push({
        case: name,
        contender: contender.name,
        perSecond: each((sample) => sample.perSecond),
        p50Us: each((sample) => sample.latencyUs.p50),
        p99Us: each((sample) => sample.latencyUs.p99),
        clientUs: each((sample) => sample.clientUs),
        serverUs: each((sample) => sample.serverUs),
        pairUs: each(pair),
        timesFloor:
          contender.kind === 'direct' || floor.length === 0
            ? null
            : each((sample, at) => pair(sample) / (floor[at] ? pair(floor[at]) : Number.NaN)),
        addedP50Us: added('p50'),
        addedP99Us: added('p99'),
      });
    }
  }
  return reports;
}

export function renderTables(report: Report): string {
  const rows = report.cases.map((item) => [
    item.case,
    item.contender,
    item.perSecond.median.toFixed(0),
    render(item.p50Us),
    render(item.p99Us),
    render(item.clientUs),
    render(item.serverUs),
    item.timesFloor ? `${item.timesFloor.median.toFixed(2)} ±${item.timesFloor.spread.toFixed(2)}` : '-',
    render(item.addedP50Us),
    render(item.addedP99Us),
  ]);
  const head = [
    'case',
    'path',
    'req/s',
    'p50 µs',
    'p99 µs',
    'client CPU µs',
    'server CPU µs',
    '× floor',
    '+p50 µs',
    '+p99 µs',
  ];
  const proxies = report.contenders.filter((contender) => contender.startToReadyMs);
  const mib = (bytes = 0) => (bytes / 1024 / 1024).toFixed(2);
  const proxyRows = proxies.map((proxy) => [
    proxy.name,
    `${mib(proxy.binaryBytes)} MiB`,
    `${proxy.startToReadyMs?.median.toFixed(1)} ms`,
    `${mib(proxy.idleRssBytes?.client)} / ${mib(proxy.idleRssBytes?.server)} MiB`,
    `${mib(proxy.endRssBytes?.client)} / ${mib(proxy.endRssBytes?.server)} MiB`,
  ]);
  const proxyHead = ['proxy', 'binary', 'start to ready', 'RSS idle (client / server)', 'RSS after'];
  return `${table(head, rows)}\n\n${table(proxyHead, proxyRows)}\n`;
}

function render({ median, spread }: Figure): string {
  return `${median.toFixed(1)} ±${spread.toFixed(1)}`;
}

function table(head: string[], rows: string[][]): string {
  const widths = head.map((cell, at) => Math.max(cell.length, ...rows.map((row) => row[at]?.length ?? 0)));
  return [head, ...rows]
    .map((row) =>
      row.map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  '),
    )
    .join('\n');
}
