/** The demo's figures as one document: five workloads, four edges, and what is wrong with them. */
import { type Edge, type GoldenMetrics, goldenMetrics, type ProxyWindow, trafficEdges } from '@tulle/api';
import { edges as expectedEdges, NAMESPACE, workloadNames } from './manifests.ts';
import type { Memory, Scrapes } from './scraper.ts';

export interface StartTimes {
  cluster: number;
  controlPlane: number;
  application: number;
  firstMetrics: number;
}

export interface WorkloadRow {
  namespace: string;
  name: string;
  role: 'server' | 'client';
  successRate: number | null;
  rps: number | null;
  latencyMs: { p50: number; p95: number; p99: number } | null;
  tcpConnections: number;
}

export interface EdgeRow {
  client: string;
  server: string;
  clientId: string | null;
  serverId: string | null;
  tls: 'mutual' | 'none';
}

export interface Report {
  workloads: WorkloadRow[];
  edges: EdgeRow[];
  memoryBytes?: Memory;
  startMs?: StartTimes;
  /** Why an edge is not mutual; not part of the document. */
  reasons: string[];
}

/** The two ends of an edge may differ by this share: requests are under way while they are read. */
const COUNT_TOLERANCE = 0.02;
/** Below this many requests, one that is under way is more than the share. */
const COUNT_SLACK = 2;

export function worksOut(before: Scrapes, after: Scrapes, startMs?: StartTimes, memoryBytes?: Memory): Report {
  const windowS = (after.atMs - before.atMs) / 1000;
  const windows = after.proxies
    .filter((proxy) => proxy.namespace === NAMESPACE)
    .map((proxy) => windowOf(proxy, before));
  const workloads = workloadNames.map((name) => workloadRow(name, windows, windowS));
  const seen = trafficEdges(windows);
  const reasons: string[] = [];
  const edges = expectedEdges.map(({ client, server }) => {
    const edge = seen.find((e) => e.client.name === client && e.server.name === server);
    const reason = whyNotMutual(client, server, edge);
    if (reason) reasons.push(reason);
    const tls = reason ? ('none' as const) : ('mutual' as const);
    return { client, server, clientId: edge?.clientId ?? null, serverId: edge?.serverId ?? null, tls };
  });
  const document: Report = {
    workloads,
    edges,
    ...(memoryBytes ? { memoryBytes } : {}),
    ...(startMs ? { startMs } : {}),
    reasons,
  };
  // The reasons go to stderr when the run fails; the document on stdout has the figures alone.
  Object.defineProperty(document, 'reasons', { enumerable: false });
  return document;
}

/** What keeps this from being a mesh at work: an edge that is not mutual, a workload without traffic. */
export function checkReport(report: Report, options: { isCountAgreementNeeded?: boolean } = {}): string[] {
  const { isCountAgreementNeeded = true } = options;
  const problems = report.workloads
    .filter((row) => !hasTraffic(row))
    .map((row) => `workload ${row.name} has no traffic`);
  const reasons = isCountAgreementNeeded
    ? report.reasons
    : report.reasons.filter((reason) => !reason.includes('counted'));
  return [...problems, ...reasons];
}

function hasTraffic(row: WorkloadRow): boolean {
  return row.rps !== null ? row.rps > 0 : row.tcpConnections > 0;
}

function windowOf(after: ProxyWindow['after'], before: Scrapes): ProxyWindow {
  const earlier = before.proxies.find((proxy) => proxy.pod === after.pod);
  return earlier ? { before: earlier, after } : { after };
}

function workloadRow(name: string, windows: ProxyWindow[], windowS: number): WorkloadRow {
  const own = windows.filter((window) => window.after.workload.name === name);
  const isServer = expectedEdges.some((edge) => edge.server === name);
  const metrics: GoldenMetrics = goldenMetrics(own, isServer ? 'inbound' : 'outbound', windowS);
  return { namespace: NAMESPACE, name, role: isServer ? 'server' : 'client', ...metrics };
}

function identityOf(workload: string): string {
  return `${workload}.${NAMESPACE}.serviceaccount.identity.linkerd.cluster.local`;
}

function whyNotMutual(client: string, server: string, edge: Edge | undefined): string | undefined {
  const name = `edge ${client} → ${server}`;
  if (!edge) return `${name}: no traffic seen`;
  const { clientId, serverId, clientCount, serverCount, noTlsReason } = edge;
  if (serverId !== identityOf(server)) return `${name}: server identity is ${serverId ?? `none (${noTlsReason})`}`;
  if (clientId !== identityOf(client)) return `${name}: client identity is ${clientId ?? 'none'}`;
  const difference = Math.abs(clientCount - serverCount);
  if (difference > Math.max(COUNT_SLACK, COUNT_TOLERANCE * Math.max(clientCount, serverCount))) {
    return `${name}: the client's proxies counted ${clientCount}, the server's ${serverCount}`;
  }
  return undefined;
}
