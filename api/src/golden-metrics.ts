/**
 * Golden metrics from two scrapes of each proxy: success rate, requests per second and latency percentiles of a set of proxies, and
 * who calls whom with which identities. Counters and histogram quantiles are worked out as PromQL's increase() and histogram_quantile()
 * do. Probes of the node agent are left out: they are not the workload's traffic.
 */
import type { Sample } from './metrics-text.ts';

/** One proxy's metrics at one time. */
export interface ProxyScrape {
  namespace: string;
  pod: string;
  /** The workload that owns the pod, such as `{ kind: 'deployment', name: 'web' }`. */
  workload: { kind: string; name: string };
  /** The proxy's own identity, as peers see it. */
  identity: string;
  samples: Sample[];
}

/** One proxy at the start (absent when it had not started) and at the end of the window. */
export interface ProxyWindow {
  before?: ProxyScrape;
  after: ProxyScrape;
}

export interface GoldenMetrics {
  /** 0 to 1; null without answers in the window. */
  successRate: number | null;
  rps: number | null;
  /** Null without answers in the window. */
  latencyMs: { p50: number; p95: number; p99: number } | null;
  /** Open now. */
  tcpConnections: number;
}

export interface Edge {
  client: { namespace: string; kind: string; name: string };
  server: { namespace: string; kind: string; name: string };
  /** What the server's proxies saw; null when they saw nobody by name. */
  clientId: string | null;
  /** What the client's proxies saw; null when nobody was authenticated. */
  serverId: string | null;
  /** Requests (connections, for opaque traffic) that the client's proxies counted in the window, and the server's. */
  clientCount: number;
  serverCount: number;
  isOpaque: boolean;
  /** Why the client's proxy did not use TLS, in its words; null when it did. */
  noTlsReason: string | null;
}

export interface EdgeOptions {
  /** What destinations are known by: the first of these that a series has as `dst_…`. */
  labels?: readonly string[];
  /** Destinations without a proxy among `windows` too. */
  includesUnmeshed?: boolean;
}

export type Direction = 'inbound' | 'outbound';
type Filter = (labels: Record<string, string>) => boolean;

const WORKLOAD_LABELS = ['deployment', 'statefulset', 'daemonset', 'job', 'cronjob', 'replicaset', 'pod'];
const QUANTILES = { p50: 0.5, p95: 0.95, p99: 0.99 } as const;

/** Golden metrics of all proxies in `windows` together. `where` narrows the series, to one destination say. */
export function goldenMetrics(
  windows: ProxyWindow[],
  direction: Direction,
  windowS: number,
  where: Filter = () => true,
): GoldenMetrics {
  const wanted: Filter = (labels) => labels.direction === direction && !isNotTraffic(labels) && where(labels);
  let success = 0;
  let failure = 0;
  const buckets = new Map<number, number>();
  let tcpConnections = 0;
  const peer = direction === 'inbound' ? 'src' : 'dst';
  for (const window of windows) {
    forEachIncrease(window, 'response_total', wanted, (labels, increase) => {
      if (labels.classification === 'failure') failure += increase;
      else success += increase;
    });
    forEachIncrease(window, 'response_latency_ms_bucket', wanted, (labels, increase) => {
      const bound = labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le);
      buckets.set(bound, (buckets.get(bound) ?? 0) + increase);
    });
    for (const { name, labels, value } of window.after.samples) {
      if (name === 'tcp_open_connections' && labels.peer === peer && wanted(labels)) tcpConnections += value;
    }
  }
  const total = success + failure;
  if (total === 0) return { successRate: null, rps: null, latencyMs: null, tcpConnections };
  const [p50, p95, p99] = Object.values(QUANTILES).map((q) => histogramQuantile(q, buckets));
  return {
    successRate: success / total,
    rps: total / windowS,
    latencyMs: { p50: p50 ?? 0, p95: p95 ?? 0, p99: p99 ?? 0 },
    tcpConnections,
  };
}

/** Who called whom among the proxies in `windows`, from both ends: an edge is there when the client's proxy has sent to it. */
export function trafficEdges(
  windows: ProxyWindow[],
  { labels = WORKLOAD_LABELS, includesUnmeshed = false }: EdgeOptions = {},
): Edge[] {
  const byWorkload = new Map<string, ProxyWindow[]>();
  for (const window of windows) {
    const key = workloadKey(window.after.namespace, window.after.workload.name);
    byWorkload.set(key, [...(byWorkload.get(key) ?? []), window]);
  }
  const edges = new Map<string, Edge>();
  for (const window of windows) {
    for (const sent of outboundCounts(window, labels)) {
      if (includesUnmeshed || byWorkload.has(workloadKey(sent.namespace, sent.name)))
        addSent(edges, window.after, sent);
    }
  }
  for (const edge of edges.values()) addReceived(edge, byWorkload);
  return [...edges.values()].sort((a, b) => edgeKey(a).localeCompare(edgeKey(b)));
}

/** How much the counters of a family rose in the window, those of probes too where `where` lets them. */
export function counterIncrease(windows: readonly ProxyWindow[], family: string, where: Filter): number {
  let total = 0;
  for (const window of windows) {
    forEachIncrease(window, family, where, (_, increase) => {
      total += increase;
    });
  }
  return total;
}

/** PromQL's histogram_quantile: linear within a bucket, the highest finite bound for the last one. */
export function histogramQuantile(q: number, buckets: Map<number, number>): number {
  const bounds = [...buckets.keys()].sort((a, b) => a - b);
  const total = buckets.get(Number.POSITIVE_INFINITY) ?? buckets.get(bounds.at(-1) ?? 0) ?? 0;
  if (total === 0) return 0;
  const rank = q * total;
  let lowerBound = 0;
  let lowerCount = 0;
  for (const bound of bounds) {
    const count = buckets.get(bound) ?? 0;
    if (count >= rank) {
      if (bound === Number.POSITIVE_INFINITY) return lowerBound;
      if (count === lowerCount) return bound;
      return lowerBound + ((bound - lowerBound) * (rank - lowerCount)) / (count - lowerCount);
    }
    lowerBound = bound;
    lowerCount = count;
  }
  return lowerBound;
}

/** Calls back with each counter's rise in the window; a counter that fell was reset with its proxy and counts from zero. */
function forEachIncrease(
  window: ProxyWindow,
  family: string,
  wanted: Filter,
  visit: (labels: Record<string, string>, increase: number) => void,
): void {
  const earlier = new Map<string, number>();
  for (const sample of window.before?.samples ?? []) {
    if (sample.name === family && wanted(sample.labels)) earlier.set(seriesKey(sample.labels), sample.value);
  }
  for (const { name, labels, value } of window.after.samples) {
    if (name !== family || !wanted(labels)) continue;
    const start = earlier.get(seriesKey(labels)) ?? 0;
    const increase = value >= start ? value - start : value;
    if (increase > 0) visit(labels, increase);
  }
}

interface Sent {
  namespace: string;
  kind: string;
  name: string;
  serverId: string | null;
  noTlsReason: string | null;
  count: number;
  isOpaque: boolean;
}

/** What one proxy sent, by destination workload: requests where there were any, connections for the rest. */
function outboundCounts(window: ProxyWindow, workloadLabels: readonly string[]): Sent[] {
  const sent: Sent[] = [];
  const isOutbound: Filter = (labels) => labels.direction === 'outbound' && labels.dst_namespace !== undefined;
  const add = (labels: Record<string, string>, count: number, isOpaque: boolean) => {
    const kind = workloadLabels.find((label) => labels[`dst_${label}`]);
    if (!kind) return;
    sent.push({
      namespace: labels.dst_namespace ?? '',
      kind,
      name: labels[`dst_${kind}`] ?? '',
      serverId: labels.tls === 'true' ? (labels.server_id ?? null) : null,
      noTlsReason: labels.tls === 'true' ? null : (labels.no_tls_reason ?? 'unknown'),
      count,
      isOpaque,
    });
  };
  forEachIncrease(window, 'response_total', isOutbound, (labels, increase) => add(labels, increase, false));
  const withRequests = new Set(sent.map((s) => `${s.namespace}/${s.name}`));
  for (const { name, labels, value } of window.after.samples) {
    if (name !== 'tcp_open_total' || labels.peer !== 'dst' || !isOutbound(labels) || value === 0) continue;
    const kind = workloadLabels.find((label) => labels[`dst_${label}`]);
    if (kind && !withRequests.has(`${labels.dst_namespace}/${labels[`dst_${kind}`]}`)) add(labels, value, true);
  }
  return sent;
}

function addSent(edges: Map<string, Edge>, from: ProxyScrape, sent: Sent): void {
  const client = { namespace: from.namespace, ...from.workload };
  const server = { namespace: sent.namespace, kind: sent.kind, name: sent.name };
  const key = edgeKey({ client, server });
  const edge = edges.get(key) ?? {
    client,
    server,
    clientId: null,
    serverId: sent.serverId,
    clientCount: 0,
    serverCount: 0,
    isOpaque: sent.isOpaque,
    noTlsReason: null,
  };
  edge.clientCount += sent.count;
  edge.isOpaque &&= sent.isOpaque;
  // One call without TLS is enough to say that the edge is not protected.
  if (sent.serverId === null) edge.serverId = null;
  edge.noTlsReason ??= sent.noTlsReason;
  edges.set(key, edge);
}

/** The other end of an edge: what the server's proxies counted from the client's identity. */
function addReceived(edge: Edge, byWorkload: Map<string, ProxyWindow[]>): void {
  const clients = byWorkload.get(workloadKey(edge.client.namespace, edge.client.name)) ?? [];
  const identities = new Set(clients.map((window) => window.after.identity));
  const isFromClient: Filter = (labels) => labels.direction === 'inbound' && identities.has(labels.client_id ?? '');
  for (const window of byWorkload.get(workloadKey(edge.server.namespace, edge.server.name)) ?? []) {
    if (!edge.isOpaque) {
      forEachIncrease(window, 'response_total', isFromClient, (labels, increase) => {
        edge.serverCount += increase;
        edge.clientId = labels.client_id ?? null;
      });
      continue;
    }
    for (const { name, labels, value } of window.after.samples) {
      if (name !== 'tcp_open_total' || labels.peer !== 'src' || !isFromClient(labels)) continue;
      edge.serverCount += value;
      edge.clientId = labels.client_id ?? null;
    }
  }
}

function isNotTraffic(labels: Record<string, string>): boolean {
  return labels.route_name === 'probe' || labels.srv_port === '4191' || labels.target_port === '4191';
}

function workloadKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

function edgeKey({ client, server }: Pick<Edge, 'client' | 'server'>): string {
  return `${client.namespace}/${client.name}>${server.namespace}/${server.name}`;
}

function seriesKey(labels: Record<string, string>): string {
  return Object.keys(labels)
    .sort()
    .map((name) => `${name}=${labels[name]}`)
    .join('\n');
}
