import assert from 'node:assert/strict';
import test from 'node:test';
import type { KubeObject } from '@tulle/api';
import { namespace, node, PROXY_CONTAINER, pod, service, slice } from '../testing/objects.ts';
import type { MeshSettings } from './endpoint.ts';
import { parsePortList } from './port-set.ts';
import { serviceEndpoints } from './service-endpoints.ts';
import { WorkloadIndex, type WorkloadKind } from './workload-index.ts';

const MESH: MeshSettings = {
  controllerNamespace: 'linkerd',
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  defaultOpaquePorts: parsePortList('3306,6379').ports,
  isH2UpgradeEnabled: true,
  outboundTransportMode: 'transport-header',
  isIpv6Enabled: true,
};

function indexOf(...objects: KubeObject[]): WorkloadIndex {
  const index = new WorkloadIndex();
  for (const object of objects) index.apply({ kind: object.kind as WorkloadKind, type: 'set', object });
  return index;
}

function endpointsOf(index: WorkloadIndex, port = 80, mesh: Partial<MeshSettings> = {}, hostname?: string) {
  const { endpoints } = serviceEndpoints(index, { ...MESH, ...mesh }, { serviceKey: 'app/web', port, hostname });
  return [...endpoints.values()];
}

const idsOf = (...args: Parameters<typeof endpointsOf>) =>
  endpointsOf(...args)
    .map(({ ip, port }) => `${ip}:${port}`)
    .sort();
const meshed = (annotations: Record<string, string> = {}, more: Parameters<typeof pod>[1] = {}) =>
  pod('web-1', { ip: '10.42.0.1', isMeshed: true, annotations, ...more });
const one = (port = 8080) => slice('web', [{ ip: '10.42.0.1', pod: 'web-1' }], { ports: [{ port }] });

test('leaves out endpoints that are not ready, on their way out, finished or not known', () => {
  const index = indexOf(
    service('web'),
    pod('a', { ip: '10.42.0.1' }),
    pod('b', { ip: '10.42.0.2', deletionTimestamp: '2026-01-01T00:00:00Z' }),
    pod('c', { ip: '10.42.0.3', status: { phase: 'Failed' } }),
    pod('d', { ip: '10.42.0.4', uid: 'new' }),
    slice('web', [
      { ip: '10.42.0.1', pod: 'a' },
      { ip: '10.42.0.2', pod: 'b' },
      { ip: '10.42.0.3', pod: 'c' },
      { ip: '10.42.0.4', pod: 'd', uid: 'old' },
      { ip: '10.42.0.5', pod: 'unknown' },
      { ip: '10.42.0.6', pod: 'a', ready: false },
      { ip: '10.42.0.7', pod: 'a', terminating: true },
      { ip: '192.0.2.1' },
    ]),
  );
  assert.deepEqual(idsOf(index), ['10.42.0.1:8080', '192.0.2.1:8080']);
});

test('follows a named port to where each slice has it, and takes a port that is not defined as it is', () => {
  const ports = [
    { name: 'http', port: 80 },
    { name: 'admin', port: 81 },
  ];
  const index = indexOf(
    service('web', { ports }),
    slice('web', [{ ip: '192.0.2.1' }], { name: 'old', ports: [{ name: 'http', port: 8080 }] }),
    slice('web', [{ ip: '192.0.2.2' }], { name: 'new', ports: [{ name: 'http', port: 9090 }] }),
  );
  assert.deepEqual(idsOf(index, 80), ['192.0.2.1:8080', '192.0.2.2:9090']);
  assert.deepEqual(idsOf(index, 81), []);
  assert.deepEqual(idsOf(index, 82), ['192.0.2.1:82', '192.0.2.2:82']);
});

test('gives one pod of a StatefulSet by its name', () => {
  const index = indexOf(
    service('web'),
    slice('web', [
      { ip: '192.0.2.1', hostname: 'web-0' },
      { ip: '192.0.2.2', hostname: 'web-1' },
    ]),
  );
  assert.deepEqual(idsOf(index, 80, {}, 'web-1'), ['192.0.2.2:8080']);
  assert.deepEqual(idsOf(index, 80, {}, 'web-2'), []);
});

test('counts a pod with two addresses once', () => {
  const index = indexOf(
    service('web'),
    pod('a', { ips: ['10.42.0.1', 'fd42::1'] }),
    pod('b', { ip: '10.42.0.2' }),
    slice('web', [
      { ip: '10.42.0.1', pod: 'a' },
      { ip: '10.42.0.2', pod: 'b' },
    ]),
    slice('web', [{ ip: 'fd42::1', pod: 'a' }], { name: 'six', addressType: 'IPv6' }),
  );
  assert.deepEqual(idsOf(index), ['10.42.0.2:8080', 'fd42::1:8080']);
  assert.deepEqual(idsOf(index, 80, { isIpv6Enabled: false }), ['10.42.0.1:8080', '10.42.0.2:8080']);
});

test('hints how a meshed pod is spoken to', () => {
  const hint = (object: KubeObject, port = 8080, mesh: Partial<MeshSettings> = {}, ...more: KubeObject[]) => {
    const [endpoint] = endpointsOf(indexOf(service('web'), object, one(port), ...more), 80, mesh);
    return [endpoint?.identity !== undefined, endpoint?.protocol, endpoint?.transportPort];
  };
  assert.deepEqual(hint(meshed()), [true, 'h2', 4143]);
  assert.deepEqual(hint(meshed(), 8080, { outboundTransportMode: 'transparent' }), [true, 'h2', undefined]);
  assert.deepEqual(hint(meshed(), 8080, { isH2UpgradeEnabled: false }), [true, undefined, 4143]);
  assert.deepEqual(hint(meshed(), 3306), [true, 'opaque', 4143]);
  assert.deepEqual(hint(meshed({ 'config.linkerd.io/opaque-ports': '' }), 3306), [true, 'h2', 4143]);
  assert.deepEqual(hint(meshed({ 'config.linkerd.io/opaque-ports': '8000-8100' })), [true, 'opaque', 4143]);
  const opaqueNamespace = namespace('app', { 'config.linkerd.io/opaque-ports': '8080' });
  assert.deepEqual(hint(meshed(), 8080, {}, opaqueNamespace), [true, 'opaque', 4143]);
  const containers = [{ name: 'app', ports: [{ name: 'wire', containerPort: 8080 }] }];
  assert.deepEqual(hint(meshed({ 'config.linkerd.io/opaque-ports': 'wire' }, { containers })), [true, 'opaque', 4143]);
  assert.deepEqual(hint(meshed({ 'config.linkerd.io/skip-inbound-ports': '8080' })), [false, undefined, undefined]);
  assert.deepEqual(hint(meshed(), 4191), [true, undefined, undefined]);
  assert.deepEqual(hint(meshed({}, { labels: { 'linkerd.io/control-plane-ns': 'other' } })), [
    false,
    undefined,
    undefined,
  ]);
  assert.deepEqual(hint(pod('web-1', { ip: '10.42.0.1' })), [false, undefined, undefined]);
});

test('reads what the init container was told, and the proxy’s own ports', () => {
  const initContainers = [
    { name: 'linkerd-init', args: ['--inbound-ports-to-ignore', '4190,4191,4567,4568'] },
    {
      ...PROXY_CONTAINER,
      restartPolicy: 'Always',
      env: [{ name: 'LINKERD2_PROXY_INBOUND_LISTEN_ADDR', value: '0.0.0.0:5143' }],
    },
  ];
  const labels = { 'linkerd.io/control-plane-ns': 'linkerd' };
  const object = pod('web-1', { ip: '10.42.0.1', labels, spec: { initContainers } });
  const endpoint = (port: number) => endpointsOf(indexOf(service('web'), object, one(port)))[0];
  assert.equal(endpoint(8080)?.transportPort, 5143);
  assert.equal(endpoint(4567)?.identity, undefined);
  assert.notEqual(endpoint(4191)?.identity, undefined);
});

test('labels endpoints by pod, workload and zone', () => {
  const owner = { kind: 'Job', name: 'batch' };
  const index = indexOf(service('web'), node('node-1', 'zone-a'), pod('web-1', { ip: '10.42.0.1', owner }), one());
  assert.deepEqual(endpointsOf(index)[0]?.labels, {
    pod: 'web-1',
    serviceaccount: 'web',
    k8s_job: 'batch',
    zone: 'zone-a',
  });
});

test('leads to the Service of another cluster through its gateway', () => {
  const mirrored = (annotations: Record<string, string>): KubeObject => {
    const object = slice('web', [{ ip: '192.0.2.1' }], { ports: [{ port: 4143 }] });
    Object.assign(object.metadata.labels!, { 'mirror.linkerd.io/cluster-name': 'east' });
    return { ...object, metadata: { ...object.metadata, annotations } };
  };
  const identity = 'gateway.multicluster.serviceaccount.identity.linkerd.cluster.local';
  const annotations = {
    'mirror.linkerd.io/remote-svc-fq-name': 'api.shop.svc.east.example',
    'mirror.linkerd.io/remote-gateway-identity': identity,
  };
  const index = indexOf(service('web'), mirrored(annotations));
  const [endpoint] = endpointsOf(index);
  assert.deepEqual(
    [endpoint?.port, endpoint?.identity, endpoint?.authority, endpoint?.protocol, endpoint?.transportPort],
    [4143, identity, 'api.shop.svc.east.example:80', 'h2', undefined],
  );
  assert.deepEqual(endpoint?.labels, {
    target_cluster: 'east',
    target_service: 'api',
    target_service_namespace: 'shop',
  });
  assert.equal(endpointsOf(index, 80, { isH2UpgradeEnabled: false })[0]?.protocol, undefined);
  const [unknown] = endpointsOf(indexOf(service('web'), mirrored({ 'mirror.linkerd.io/remote-gateway-identity': '' })));
  assert.deepEqual([unknown?.identity, unknown?.authority], [undefined, undefined]);
});
