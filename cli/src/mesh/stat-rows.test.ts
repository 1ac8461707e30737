import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KubeObject, type Pod, type ProxyWindow, parseMetricsText } from '@tulle/api';
import { statJson, statTable } from '../output/stat-table.ts';
import { parseResource, parseResources } from './resource.ts';
import { type StatInput, statRows } from './stat-rows.ts';

function pod(name: string, app: string, isMeshed = true): Pod {
  return {
    metadata: { name, namespace: 'shop', labels: { app, ...(isMeshed ? { 'linkerd.io/proxy-deployment': app } : {}) } },
    spec: { containers: isMeshed ? [{ name: 'app' }, { name: 'linkerd-proxy' }] : [{ name: 'app' }] },
    status: { phase: 'Running' },
  };
}

function deployment(name: string): KubeObject {
  return { metadata: { name, namespace: 'shop' }, spec: { selector: { matchLabels: { app: name } } } };
}

/** What a proxy counts between two scrapes, from `before` to `after` successes and half as many failures. */
function window(podName: string, direction: string, before: number, after: number, extra = ''): ProxyWindow {
  const labels = `direction="${direction}"${extra}`;
  const scrape = (count: number) => ({
    namespace: 'shop',
    pod: podName,
    workload: { kind: 'deployment', name: podName },
    identity: podName,
    samples: parseMetricsText(
      [
        `response_total{${labels},classification="success"} ${count}`,
        `response_total{${labels},classification="failure"} ${count / 2}`,
        `response_latency_ms_bucket{${labels},le="10"} ${count}`,
        `response_latency_ms_bucket{${labels},le="20"} ${count * 1.5}`,
        `response_latency_ms_bucket{${labels},le="+Inf"} ${count * 1.5}`,
        `tcp_open_connections{${labels},peer="${direction === 'inbound' ? 'src' : 'dst'}"} 3`,
        `tcp_read_bytes_total{${labels},peer="${direction === 'inbound' ? 'src' : 'dst'}"} ${count * 10}`,
      ].join('\n'),
    ),
  });
  return { before: scrape(before), after: scrape(after) };
}

const pods = [pod('web-1', 'web'), pod('web-2', 'web', false), pod('db-1', 'db')];
const input: StatInput = {
  type: parseResource('deploy'),
  objects: [deployment('web'), deployment('db')],
  pods,
  windows: [
    window('web-1', 'inbound', 100, 120),
    window('web-1', 'outbound', 0, 8, ',dst_namespace="shop",dst_deployment="db",dst_service="db"'),
  ],
  seconds: 10,
};

test('rates are of the window, of all pods of a workload, as the server sees them', () => {
  const [web, db] = statRows(input);
  assert.deepEqual(web?.meshed, { proxies: 1, pods: 2 });
  assert.equal(web?.metrics.successRate, 20 / 30);
  assert.equal(web?.metrics.rps, 3);
  assert.equal(web?.readBytesPerS, 20);
  assert.equal(db?.metrics.rps, null);
});

test('--to and --from take what the client sees', () => {
  const [to] = statRows({
    ...input,
    objects: [deployment('web')],
    to: { ...parseResource('deploy/db'), namespace: 'shop' },
  });
  assert.equal(to?.metrics.rps, 1.2);
  const [from] = statRows({
    ...input,
    objects: [deployment('db')],
    from: { ...parseResource('deploy/web'), namespace: 'shop' },
  });
  assert.equal(from?.metrics.rps, 1.2);
  const [other] = statRows({
    ...input,
    objects: [deployment('web')],
    to: { ...parseResource('deploy/x'), namespace: 'shop' },
  });
  assert.equal(other?.metrics.rps, null);
});

test('a Service is what its clients see of it', () => {
  const service: KubeObject = { metadata: { name: 'db', namespace: 'shop' }, spec: { selector: { app: 'db' } } };
  const [row] = statRows({ ...input, type: parseResource('svc'), objects: [service] });
  assert.equal(row?.metrics.rps, 1.2);
  assert.equal(row?.meshed, undefined);
});

test('the table has the columns and forms that are known from viz', () => {
  const lines = statTable(statRows(input), { isWide: false, hasNamespace: false, hasKind: false }).split('\n');
  assert.equal(lines[0], 'NAME   MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN');
  assert.equal(lines[1], 'web       1/2    66.67%   3.0rps           8ms          19ms          20ms          3');
  assert.equal(lines[2], 'db        1/1         -        -             -             -             -          0');
  const wide = statTable(statRows({ ...input, type: parseResource('po'), objects: [pods[0]!] }), {
    isWide: true,
    hasNamespace: true,
    hasKind: true,
  });
  assert.match(
    wide,
    /^NAMESPACE {3}NAME +STATUS +MESHED .*READ_BYTES\/SEC +WRITE_BYTES\/SEC\nshop +pod\/web-1 +Running +1\/1 .* 20.0B\/s +0.0B\/s\n$/,
  );
});

test('JSON has the keys that are known from viz', () => {
  const [web] = JSON.parse(statJson(statRows(input)));
  assert.deepEqual(web, {
    namespace: 'shop',
    kind: 'deployment',
    name: 'web',
    meshed: '1/2',
    success: 20 / 30,
    rps: 3,
    latency_ms_p50: 8,
    latency_ms_p95: 19,
    latency_ms_p99: 20,
    tcp_open_connections: 3,
    tcp_read_bytes_rate: 20,
    tcp_write_bytes_rate: 0,
  });
});

test('resources are named as kubectl has them', () => {
  assert.equal(parseResource('deployments.apps'.split('.')[0]!).label, 'deployment');
  assert.deepEqual(
    parseResources(['po', 'a', 'b']).map(({ label, name }) => `${label}/${name}`),
    ['pod/a', 'pod/b'],
  );
  assert.deepEqual(
    parseResources(['sts/a', 'ds/b']).map(({ label, name }) => `${label}/${name}`),
    ['statefulset/a', 'daemonset/b'],
  );
  for (const words of [['frobs'], ['deploy/'], []])
    assert.throws(() => parseResources(words), { code: 'INVALID_ARGUMENT' });
});
