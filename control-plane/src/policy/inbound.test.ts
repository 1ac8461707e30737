import assert from 'node:assert/strict';
import test from 'node:test';
import type { KubeObject } from '@tulle/api';
import { namespace, pod } from '../testing/objects.ts';
import { DEFAULT_POLICIES, type DefaultPolicy } from '../workloads/default-policy.ts';
import type { MeshSettings } from '../workloads/endpoint.ts';
import { formatIp, parseNetwork } from '../workloads/ip-address.ts';
import { parsePortList } from '../workloads/port-set.ts';
import { WorkloadIndex, type WorkloadKind } from '../workloads/workload-index.ts';
import { ALL_NETWORKS, type InboundSettings, inboundServer } from './inbound.ts';
import { toServer } from './inbound-translator.ts';

const MESH = { controllerNamespace: 'linkerd', defaultOpaquePorts: parsePortList('3306').ports } as MeshSettings;

const SETTINGS: InboundSettings = {
  defaultPolicy: 'all-unauthenticated',
  clusterNetworks: [parseNetwork('10.0.0.0/8')!],
  probeNetworks: ALL_NETWORKS,
  controlPlanePorts: { identity: 8080, destination: 8086, policy: 8090, injector: 8443 },
};

function serverOf(object: KubeObject, port = 8080, settings: Partial<InboundSettings> = {}, ...more: KubeObject[]) {
  const index = new WorkloadIndex();
  for (const each of [object, ...more]) index.apply({ kind: each.kind as WorkloadKind, type: 'set', object: each });
  const found = index.pod(`${object.metadata.namespace}/${object.metadata.name}`)!;
  return inboundServer(index, MESH, { ...SETTINGS, ...settings }, found, port);
}

/** `name: networks, authentication`. */
function summary(...args: Parameters<typeof serverOf>): string {
  const { name, authorizations } = serverOf(...args);
  const parts = authorizations.map(({ name: authorization, networks, authentication }) => {
    const nets = networks.map(({ address, prefixLength }) => `${formatIp(address)}/${prefixLength}`).join(' ');
    return `${authorization} from ${nets}: ${authentication}`;
  });
  return [name, ...parts].join(' | ');
}

test('lets in whom each default policy says', () => {
  const expected: Record<DefaultPolicy, string> = {
    'all-unauthenticated': 'all-unauthenticated | all-unauthenticated from 0.0.0.0/0 ::/0: none',
    'all-authenticated': 'all-authenticated | all-authenticated from 0.0.0.0/0 ::/0: mesh',
    'cluster-unauthenticated': 'cluster-unauthenticated | cluster-unauthenticated from 10.0.0.0/8: none',
    'cluster-authenticated': 'cluster-authenticated | cluster-authenticated from 10.0.0.0/8: mesh',
    deny: 'deny',
    audit: 'audit | audit from 0.0.0.0/0 ::/0: none',
  };
  for (const defaultPolicy of DEFAULT_POLICIES) {
    assert.equal(summary(pod('web'), 8080, { defaultPolicy }), expected[defaultPolicy]);
  }
});

test('asks the pod first, then its namespace, then the mesh', () => {
  const key = 'config.linkerd.io/default-inbound-policy';
  const name = (...args: Parameters<typeof serverOf>) => serverOf(...args).name;
  const ofNamespace = namespace('app', { [key]: 'deny' });
  assert.equal(name(pod('web', { annotations: { [key]: 'audit' } }), 80, {}, ofNamespace), 'audit');
  assert.equal(name(pod('web'), 80, {}, ofNamespace), 'deny');
  assert.equal(name(pod('web', { annotations: { [key]: 'nonsense' } }), 80, {}, ofNamespace), 'deny');
  const annotations = { 'config.linkerd.io/proxy-require-identity-inbound-ports': '80' };
  assert.equal(name(pod('web', { annotations }), 80), 'all-authenticated');
  assert.equal(name(pod('web', { annotations }), 81), 'all-unauthenticated');
});

test('lets probes in on the paths and ports that the pod names', () => {
  const probed = {
    name: 'app',
    ports: [{ name: 'http', containerPort: 8080 }],
    livenessProbe: { httpGet: { path: '/live?full=1', port: 'http' } },
    readinessProbe: { httpGet: { path: '/ready', port: 8080 } },
    startupProbe: { grpc: { port: 9000 } },
  };
  const object = pod('web', { containers: [probed] });
  assert.deepEqual(serverOf(object, 8080).probes, [
    { method: 'GET', path: '/live' },
    { method: 'GET', path: '/ready' },
  ]);
  assert.deepEqual(serverOf(object, 9000).probes, [{ method: 'POST', path: '/grpc.health.v1.Health/Check' }]);
  assert.deepEqual(serverOf(object, 8081).probes, []);
  assert.deepEqual(serverOf(object, 8080, { probeNetworks: [] }).probes, []);
  const { protocol, authorizations } = toServer(serverOf(object, 8080, { defaultPolicy: 'deny' }));
  assert.deepEqual(authorizations, []);
  assert.ok(protocol?.kind?.case === 'detect');
  const probe = protocol.kind.value.httpRoutes?.find(({ metadata }) => metadata?.kind?.value === 'probe');
  assert.equal(probe?.authorizations?.length, 1);
  assert.equal(probe?.rules?.[0]?.matches?.length, 2);
});

test('is opaque where the pod, the namespace or the mesh says so', () => {
  const annotations = { 'config.linkerd.io/opaque-ports': '8080' };
  assert.equal(serverOf(pod('web'), 3306).isOpaque, true);
  assert.equal(serverOf(pod('web', { annotations }), 3306).isOpaque, false);
  assert.equal(serverOf(pod('web', { annotations }), 8080).isOpaque, true);
  assert.equal(serverOf(pod('web'), 8080, {}, namespace('app', annotations)).isOpaque, true);
});

test('guards the ports of the control plane itself', () => {
  const labels = { 'linkerd.io/control-plane-component': 'destination' };
  const object = pod('linkerd-destination', { namespace: 'linkerd', labels });
  const deny = { defaultPolicy: 'deny' as const };
  const authentication = (port: number) => serverOf(object, port, deny).authorizations.map((a) => a.authentication);
  assert.deepEqual([8080, 8086, 8090, 8443, 9990].map(authentication), [['tls'], ['mesh'], ['mesh'], ['none'], []]);
  assert.equal(serverOf(pod('web', { labels }), 8443, deny).authorizations.length, 0);
});
