/** How golden metrics are shown: as a table, wide with bytes, or as JSON. */
import type { StatRow } from '../mesh/stat-rows.ts';
import { colors } from './colors.ts';
import { type Column, renderTable } from './table.ts';

export interface StatTableOptions {
  isWide: boolean;
  hasNamespace: boolean;
  /** `kind/name`, where rows are of several kinds. */
  hasKind: boolean;
}

export function statTable(rows: readonly StatRow[], { isWide, hasNamespace, hasKind }: StatTableOptions): string {
  const hasStatus = rows.some(({ status }) => status !== undefined);
  const right = (title: string): Column => ({ title, isRight: true });
  const columns: Column[] = [
    ...(hasNamespace ? [{ title: 'NAMESPACE' }] : []),
    { title: 'NAME' },
    ...(hasStatus ? [{ title: 'STATUS' }] : []),
    ...['MESHED', 'SUCCESS', 'RPS', 'LATENCY_P50', 'LATENCY_P95', 'LATENCY_P99', 'TCP_CONN'].map(right),
    ...(isWide ? ['READ_BYTES/SEC', 'WRITE_BYTES/SEC'].map(right) : []),
  ];
  return renderTable(
    columns,
    rows.map((row) => [
      ...(hasNamespace ? [row.namespace] : []),
      hasKind ? `${row.kind}/${row.name}` : row.name,
      ...(hasStatus ? [row.status ?? '-'] : []),
      row.meshed ? `${row.meshed.proxies}/${row.meshed.pods}` : '-',
      ...figures(row, isWide),
    ]),
  );
}

function figures({ meshed, metrics, readBytesPerS, writeBytesPerS }: StatRow, isWide: boolean): string[] {
  const { successRate, rps, latencyMs, tcpConnections } = metrics;
  const ms = (value: number | undefined) => (value === undefined ? '-' : `${Math.round(value)}ms`);
  const hasProxies = meshed === undefined || meshed.proxies > 0;
  const bytes = (value: number) => (hasProxies ? `${value.toFixed(1)}B/s` : '-');
  return [
    successRate === null ? '-' : rateColor(successRate)(`${(successRate * 100).toFixed(2)}%`),
    rps === null ? '-' : `${rps.toFixed(1)}rps`,
    ms(latencyMs?.p50),
    ms(latencyMs?.p95),
    ms(latencyMs?.p99),
    hasProxies ? String(tcpConnections) : '-',
    ...(isWide ? [bytes(readBytesPerS), bytes(writeBytesPerS)] : []),
  ];
}

function rateColor(rate: number): (text: string) => string {
  if (rate >= 0.995) return colors.green;
  return rate >= 0.9 ? colors.yellow : colors.red;
}

export function statJson(rows: readonly StatRow[]): string {
  const documents = rows.map(({ namespace, kind, name, meshed, metrics, readBytesPerS, writeBytesPerS }) => ({
    namespace,
    kind,
    name,
    ...(meshed ? { meshed: `${meshed.proxies}/${meshed.pods}` } : {}),
    success: metrics.successRate,
    rps: metrics.rps,
    latency_ms_p50: metrics.latencyMs ? Math.round(metrics.latencyMs.p50) : null,
    latency_ms_p95: metrics.latencyMs ? Math.round(metrics.latencyMs.p95) : null,
    latency_ms_p99: metrics.latencyMs ? Math.round(metrics.latencyMs.p99) : null,
    tcp_open_connections: metrics.tcpConnections,
    tcp_read_bytes_rate: readBytesPerS,
    tcp_write_bytes_rate: writeBytesPerS,
  }));
  return `${JSON.stringify(documents, null, 2)}\n`;
}
