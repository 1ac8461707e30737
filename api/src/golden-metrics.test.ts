/** Golden metrics against figures worked out by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goldenMetrics, histogramQuantile, type ProxyScrape, trafficEdges } from './golden-metrics.ts';
import { parseMetricsText } from './metrics-text.ts';

function scrape(name: string, text: string): ProxyScrape {
  const workload = { kind: 'deployment', name };
  return {
    namespace: 'shop',
    pod: `${name}-1`,
    workload,
    identity: `${name}.shop.id`,
    samples: parseMetricsText(text),
  };
}

test('reads labels with every escape, values of every form, and skips comments', () => {
  const text =
    '# HELP a b\n# TYPE a counter\na{x="1,\\"2\\"}",y="\\\\\\n"} 3 1700000000\nb 1.5e3\nc{le="+Inf"} +Inf\n# EOF\n';
  assert.deepEqual(parseMetricsText(text), [
    { name: 'a', labels: { x: '1,"2"}', y: '\\\n' }, value: 3 },
    { name: 'b', labels: {}, value: 1500 },
    { name: 'c', labels: { le: '+Inf' }, value: Number.POSITIVE_INFINITY },
  ]);
});

test('names the line that is malformed', () => {
  for (const line of ['a{x="1} 2', 'a{x=1} 2', 'a notanumber', 'a{x="1"}']) {
    assert.throws(() => parseMetricsText(line), { message: /malformed line/ }, line);
  }
});

test('counts a window as PromQL does, a restarted proxy from zero, probes not at all', () => {
  const labels = 'direction="inbound",target_port="8080"';
  const before = scrape('web', `response_total{${labels},classification="success"} 100\n`);
  const after = scrape(
    'web',
    [
      `response_total{${labels},classification="success"} 190`,
      `response_total{${labels},classification="failure"} 10`,
      `response_total{${labels},route_name="probe",classification="success"} 1000`,
      `response_latency_ms_bucket{${labels},le="1"} 50`,
      `response_latency_ms_bucket{${labels},le="10"} 100`,
      `response_latency_ms_bucket{${labels},le="+Inf"} 100`,
      'tcp_open_connections{direction="inbound",peer="src"} 3',
      'tcp_open_connections{direction="outbound",peer="dst"} 9',
    ].join('\n'),
  );
  const metrics = goldenMetrics([{ before, after }], 'inbound', 10);
  assert.equal(metrics.successRate, 0.9);
  assert.equal(metrics.rps, 10);
  assert.deepEqual(metrics.latencyMs, { p50: 1, p95: 9.1, p99: 9.82 });
  assert.equal(metrics.tcpConnections, 3);
  const restarted = scrape('web', `response_total{${labels},classification="success"} 40\n`);
  assert.equal(goldenMetrics([{ before, after: restarted }], 'inbound', 10).rps, 4);
});

test('a quantile in the last bucket is the highest finite bound', () => {
  const buckets = new Map([
    [1, 1],
    [5, 2],
    [Number.POSITIVE_INFINITY, 10],
  ]);
  assert.equal(histogramQuantile(0.99, buckets), 5);
});

test('an edge has what each end saw, and one call without TLS takes its protection away', () => {
  const sent = 'direction="outbound",dst_namespace="shop",dst_deployment="api"';
  const client = scrape('web', `response_total{${sent},tls="true",server_id="api.shop.id",classification="success"} 7`);
  const server = scrape('api', 'response_total{direction="inbound",tls="true",client_id="web.shop.id"} 7');
  const [edge] = trafficEdges([{ after: client }, { after: server }]);
  assert.equal(edge?.clientId, 'web.shop.id');
  assert.equal(edge?.serverId, 'api.shop.id');
  assert.equal(edge?.clientCount, 7);
  assert.equal(edge?.serverCount, 7);
  const plain = `${sent},tls="no_identity",no_tls_reason="not_provided_by_service_discovery",classification="success"`;
  client.samples.push(...parseMetricsText(`response_total{${plain}} 1`));
  const [mixed] = trafficEdges([{ after: client }, { after: server }]);
  assert.equal(mixed?.serverId, null);
  assert.equal(mixed?.noTlsReason, 'not_provided_by_service_discovery');
});

test('opaque traffic is counted by its connections', () => {
  const sent =
    'direction="outbound",peer="dst",dst_namespace="shop",dst_deployment="store",tls="true",server_id="store.shop.id"';
  const client = scrape('voting', `tcp_open_total{${sent}} 2`);
  const server = scrape(
    'store',
    'tcp_open_total{direction="inbound",peer="src",tls="true",client_id="voting.shop.id"} 2',
  );
  const [edge] = trafficEdges([{ after: client }, { after: server }]);
  assert.deepEqual([edge?.isOpaque, edge?.clientCount, edge?.serverCount], [true, 2, 2]);
});

test('edges may be of pods, and of destinations without a proxy', () => {
  const sent = 'direction="outbound",dst_namespace="shop",dst_deployment="api",dst_pod="api-1"';
  const client = scrape('web', `response_total{${sent},tls="no_identity",no_tls_reason="loopback"} 3`);
  assert.deepEqual(trafficEdges([{ after: client }]), []);
  const [edge] = trafficEdges([{ after: client }], { labels: ['pod'], includesUnmeshed: true });
  assert.deepEqual(edge?.server, { namespace: 'shop', kind: 'pod', name: 'api-1' });
  assert.equal(edge?.noTlsReason, 'loopback');
});
