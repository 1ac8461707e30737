import assert from 'node:assert/strict';
import test from 'node:test';
import type { Node, Pod, Service } from '@tulle/api';
import { endpointsObject } from './endpoints-object.ts';
import { endpointGroups } from './service-endpoints.ts';
import { withHints } from './topology-hints.ts';

function pod(
  name: string,
  changes: { ready?: boolean; terminating?: boolean; port?: number; node?: string; phase?: string } = {},
): Pod {
  const { ready = true, terminating = false, port = 8080, node = 'n1', phase = 'Running' } = changes;
  const number = Number(name.replace(/\D/g, ''));
  return {
    metadata: {
      name,
      namespace: 'ns',
      uid: name,
      ...(terminating ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: {
      nodeName: node,
      hostname: name,
      subdomain: 'web',
      containers: [{ name: 'c', ports: [{ name: 'http', containerPort: port }] }],
    },
    status: {
      phase,
      podIP: `10.0.0.${number}`,
      podIPs: [{ ip: `10.0.0.${number}` }, { ip: `fd00::${number}` }],
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    },
  };
}

function service(spec: object = {}, annotations?: Record<string, string>): Service {
  const ports = [{ name: 'http', port: 80, targetPort: 'http' }];
  return {
    metadata: { name: 'web', namespace: 'ns', ...(annotations ? { annotations } : {}) },
    spec: { ipFamilies: ['IPv4', 'IPv6'], ports, ...spec },
  } as Service;
}

function node(name: string, zone: string, cpu = '2'): Node {
  return {
    metadata: { name, labels: { 'topology.kubernetes.io/zone': zone } },
    status: { allocatable: { cpu }, conditions: [{ type: 'Ready', status: 'True' }] },
  } as Node;
}

const nodes = [node('n1', 'a'), node('n2', 'b')];
const nodeOf = (name: string) => nodes.find((one) => one.metadata.name === name);

test('makes an endpoint of each address family, with its name, node and zone', () => {
  const groups = endpointGroups(service(), [pod('p1')], nodeOf);
  assert.deepEqual(
    groups.map(({ addressType }) => addressType),
    ['IPv4', 'IPv6'],
  );
  assert.deepEqual(groups[1]?.endpoints, [
    {
      addresses: ['fd00::1'],
      conditions: { ready: true, serving: true, terminating: false },
      hostname: 'p1',
      nodeName: 'n1',
      targetRef: { kind: 'Pod', namespace: 'ns', name: 'p1', uid: 'p1' },
      zone: 'a',
    },
  ]);
});

test('a pod on its way out serves but is not ready, a finished one is no endpoint', () => {
  const [group] = endpointGroups(
    service(),
    [pod('p1', { terminating: true }), pod('p2', { phase: 'Succeeded' })],
    nodeOf,
  );
  assert.equal(group?.endpoints.length, 1);
  assert.deepEqual(group?.endpoints[0]?.conditions, { ready: false, serving: true, terminating: true });
});

test('publishNotReadyAddresses makes every endpoint ready', () => {
  const [group] = endpointGroups(service({ publishNotReadyAddresses: true }), [pod('p1', { ready: false })], nodeOf);
  assert.deepEqual(group?.endpoints[0]?.conditions, { ready: true, serving: false, terminating: false });
});

test('a named port that differs between pods makes a group for each number', () => {
  const groups = endpointGroups(service({ ipFamilies: ['IPv4'] }), [pod('p1'), pod('p2', { port: 9090 })], nodeOf);
  assert.deepEqual(
    groups.map(({ ports }) => ports[0]?.port),
    [8080, 9090],
  );
  const unknown = service({ ipFamilies: ['IPv4'], ports: [{ port: 80, targetPort: 'none' }] });
  assert.deepEqual(endpointGroups(unknown, [pod('p1')], nodeOf), []);
});

test('the Endpoints object lists ready and other pods apart, and those on their way out not at all', () => {
  const pods = [pod('p1'), pod('p2', { ready: false }), pod('p3', { terminating: true })];
  const { subsets } = endpointsObject(service(), endpointGroups(service(), pods, nodeOf));
  assert.equal(subsets?.length, 1);
  assert.deepEqual(
    subsets?.[0]?.addresses?.map(({ ip }) => ip),
    ['10.0.0.1'],
  );
  assert.deepEqual(
    subsets?.[0]?.notReadyAddresses?.map(({ ip }) => ip),
    ['10.0.0.2'],
  );
  assert.deepEqual(subsets?.[0]?.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
});

test('PreferClose hints each endpoint to its own zone', () => {
  const [group] = endpointGroups(service(), [pod('p1'), pod('p2', { node: 'n2' })], nodeOf);
  const { endpoints } = withHints(service({ trafficDistribution: 'PreferClose' }), group?.endpoints ?? [], nodes);
  assert.deepEqual(
    endpoints.map(({ hints }) => hints?.forZones?.[0]?.name),
    ['a', 'b'],
  );
});

test('topology mode Auto shares endpoints out by the zones processors, or gives no hints', () => {
  const auto = service({}, { 'service.kubernetes.io/topology-mode': 'Auto' });
  const four = ['p1', 'p2', 'p3', 'p4'].map((name) => pod(name));
  const [group] = endpointGroups(auto, four, nodeOf);
  const { endpoints } = withHints(auto, group?.endpoints ?? [], nodes);
  const zones = endpoints.map(({ hints }) => hints?.forZones?.[0]?.name);
  assert.deepEqual(zones.filter((zone) => zone === 'b').length, 2);
  const alone = withHints(auto, (group?.endpoints ?? []).slice(0, 1), nodes);
  assert.equal(alone.reason, 'InsufficientNumberOfEndpoints');
  assert.equal(alone.endpoints[0]?.hints, undefined);
});
