import assert from 'node:assert/strict';
import test from 'node:test';
import type { KubeObject } from '@tulle/api';
import fc from 'fast-check';
import { namespace, node, pod, replicaSet, service, slice } from '../testing/objects.ts';
import type { MeshSettings } from './endpoint.ts';
import { PortSet } from './port-set.ts';
import { serviceEndpoints } from './service-endpoints.ts';
import { EXTERNAL_IDENTITIES_TOPIC, WorkloadIndex, type WorkloadKind } from './workload-index.ts';

const mesh: MeshSettings = {
  controllerNamespace: 'linkerd',
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  defaultOpaquePorts: new PortSet([{ from: 3306, to: 3306 }]),
  isH2UpgradeEnabled: true,
  outboundTransportMode: 'transport-header',
  isIpv6Enabled: true,
};

type Entry = [kind: WorkloadKind, object: KubeObject];

const set = (index: WorkloadIndex, kind: WorkloadKind, object: KubeObject) =>
  index.apply({ kind, type: 'set', object });
const remove = (index: WorkloadIndex, kind: WorkloadKind, object: KubeObject) =>
  index.apply({ kind, type: 'delete', object });

const EXTERNAL: KubeObject = {
  metadata: { name: 'vm', namespace: 'app', uid: 'u' },
  spec: {
    meshTLS: { identity: 'spiffe://example.org/vm', serverName: 'vm.example.org' },
    ports: [{ port: 8080 }],
    workloadIPs: [{ ip: '192.0.2.7' }],
  },
};
const EXTERNAL_SLICE = slice('web', [{ ip: '192.0.2.7' }], { name: 'web-vm', ports: [{ name: 'http', port: 8080 }] });
EXTERNAL_SLICE.endpoints[0].targetRef = { kind: 'ExternalWorkload', namespace: 'app', name: 'vm', uid: 'u' };

const CLUSTER: Entry[] = [
  ['ExternalWorkload', EXTERNAL],
  ['EndpointSlice', EXTERNAL_SLICE],
  ['Node', node('node-1', 'zone-a')],
  ['Node', node('node-2')],
  ['Namespace', namespace('app', { 'config.linkerd.io/opaque-ports': '9000' })],
  ['ReplicaSet', replicaSet('web-abc', 'web')],
  [
    'Pod',
    pod('web-1', { ips: ['10.42.0.1', 'fd42::1'], isMeshed: true, owner: { kind: 'ReplicaSet', name: 'web-abc' } }),
  ],
  [
    'Pod',
    pod('web-2', {
      ip: '10.42.0.2',
      nodeName: 'node-2',
      containers: [{ name: 'a', ports: [{ containerPort: 80, hostPort: 8081 }] }],
    }),
  ],
  ['Pod', pod('db-0', { ip: '10.42.0.3', owner: { kind: 'StatefulSet', name: 'db' } })],
  [
    'Service',
    service('web', {
      clusterIPs: ['10.96.0.1', 'fd96::1'],
      ports: [
        { name: 'http', port: 80 },
        { name: 'db', port: 90 },
      ],
    }),
  ],
  ['Service', service('db')],
  [
    'EndpointSlice',
    slice(
      'web',
      [
        { ip: '10.42.0.1', pod: 'web-1' },
        { ip: '10.42.0.2', pod: 'web-2' },
      ],
      { ports: [{ name: 'http', port: 8080 }] },
    ),
  ],
  [
    'EndpointSlice',
    slice('web', [{ ip: 'fd42::1', pod: 'web-1' }], {
      name: 'web-6',
      addressType: 'IPv6',
      ports: [{ name: 'http', port: 8080 }],
    }),
  ],
  ['EndpointSlice', slice('db', [{ ip: '10.42.0.3', pod: 'db-0', hostname: 'db-0' }])],
];

/** Everything that the index answers about the cluster above. */
function answers(index: WorkloadIndex) {
  const endpoints = (serviceKey: string, port: number, hostname?: string) => {
    const answer = serviceEndpoints(index, mesh, { serviceKey, port, hostname });
    return { ...answer, endpoints: [...answer.endpoints].sort(([a], [b]) => (a < b ? -1 : 1)) };
  };
  const ips = ['10.42.0.1', 'fd42::1', '10.42.0.3', '10.96.0.1', 'fd96::1', '192.168.0.1'];
  return {
    endpoints: [
      endpoints('app/web', 80),
      endpoints('app/web', 90),
      endpoints('app/db', 80, 'db-0'),
      endpoints('app/no', 80),
    ],
    external: [index.externalWorkloadByIp('192.0.2.7')?.ref, index.externalWorkload('app/vm')?.identity],
    services: ips.map((ip) => index.serviceByIp(ip)?.key),
    pods: ips.map((ip) => [index.podByAddress(ip, 8080)?.pod.key, index.podByAddress(ip, 8081)?.address]),
    zones: [index.zone('node-1'), index.zone('node-2')],
    sizes: index.sizes(),
  };
}

test('answers the same whatever the order of the events', () => {
  const index = new WorkloadIndex();
  for (const [kind, object] of CLUSTER) set(index, kind, object);
  const expected = answers(index);
  assert.equal(expected.endpoints[0]!.endpoints.length, 3);
  fc.assert(
    fc.property(
      fc.shuffledSubarray(CLUSTER, { minLength: CLUSTER.length }),
      fc.array(fc.nat(CLUSTER.length - 1)),
      (order, again) => {
        const other = new WorkloadIndex();
        for (const [kind, object] of order) set(other, kind, object);
        for (const i of again) set(other, ...CLUSTER[i]!);
        assert.deepEqual(answers(other), expected);
      },
    ),
  );
});

test('forgets everything that is deleted, in any order', () => {
  const empty = new WorkloadIndex().sizes();
  fc.assert(
    fc.property(
      fc.shuffledSubarray(CLUSTER, { minLength: CLUSTER.length }),
      fc.shuffledSubarray(CLUSTER, { minLength: CLUSTER.length }),
      (made, deleted) => {
        const index = new WorkloadIndex();
        for (const [kind, object] of made) set(index, kind, object);
        for (const [kind, object] of deleted) remove(index, kind, object);
        assert.deepEqual(index.sizes(), empty);
      },
    ),
  );
});

test('names a topic for every answer that an event changes', () => {
  fc.assert(
    fc.property(
      fc.shuffledSubarray(CLUSTER, { minLength: CLUSTER.length }),
      fc.integer({ min: 0, max: CLUSTER.length - 1 }),
      fc.boolean(),
      (order, last, isDelete) => {
        const index = new WorkloadIndex();
        for (const [kind, object] of order) set(index, kind, object);
        const [kind, object] = CLUSTER[last]!;
        if (!isDelete) remove(index, kind, object);
        const before = answers(index);
        const topics = index.apply({ kind, type: isDelete ? 'delete' : 'set', object });
        const after = answers(index);
        const services = ['app/web', 'app/web', 'app/db', 'app/no'];
        before.endpoints.forEach((endpoints, i) => {
          if (topics.has(`service/${services[i]!}`)) return;
          assert.deepEqual(after.endpoints[i], endpoints);
        });
        ['10.42.0.1', 'fd42::1', '10.42.0.3', '10.96.0.1', 'fd96::1', '192.168.0.1'].forEach((ip, i) => {
          if (topics.has(`ip/${ip}`)) return;
          assert.deepEqual([after.services[i], after.pods[i]], [before.services[i], before.pods[i]], ip);
        });
      },
    ),
  );
});

test('finds the pod behind an address, and the host port of one', () => {
  const index = new WorkloadIndex();
  set(index, 'Pod', pod('done', { ip: '10.42.0.1', status: { phase: 'Succeeded' } }));
  assert.equal(index.podByAddress('10.42.0.1', 80), undefined);
  set(index, 'Pod', pod('old', { ip: '10.42.0.1', deletionTimestamp: '2026-01-01T00:00:00Z' }));
  assert.equal(index.podByAddress('10.42.0.1', 80)?.pod.name, 'old');
  set(index, 'Pod', pod('new', { ip: '10.42.0.1' }));
  assert.equal(index.podByAddress('10.42.0.1', 80)?.pod.name, 'new');
  const containers = [{ name: 'app', ports: [{ containerPort: 80, hostPort: 8080 }] }];
  set(index, 'Pod', pod('host', { ip: '10.42.0.5', containers }));
  assert.deepEqual(index.podByAddress('192.168.0.1', 8080)?.address, { ip: '10.42.0.5', port: 80 });
  assert.equal(index.podByAddress('192.168.0.1', 80), undefined);
  const hostNetwork = { containers: [{ name: 'app', ports: [{ containerPort: 9100 }] }], spec: { hostNetwork: true } };
  set(index, 'Pod', pod('exporter', { ip: '192.168.0.1', ...hostNetwork }));
  assert.equal(index.podByAddress('192.168.0.1', 9100)?.pod.name, 'exporter');
  assert.equal(index.podByAddress('192.168.0.1', 22), undefined);
});

test('names the workload behind ReplicaSets and Jobs', () => {
  const index = new WorkloadIndex();
  const labels = (name: string) => {
    const { pod: found } = index.podByAddress('10.42.0.1', 80)!;
    return [name, index.workloadOf(found)];
  };
  set(index, 'Pod', pod('alone', { ip: '10.42.0.1' }));
  assert.deepEqual(labels('alone'), ['alone', undefined]);
  remove(index, 'Pod', pod('alone'));
  set(index, 'Pod', pod('web', { ip: '10.42.0.1', owner: { kind: 'ReplicaSet', name: 'web-abc' } }));
  assert.deepEqual(labels('before'), ['before', { kind: 'ReplicaSet', name: 'web-abc' }]);
  const topics = set(index, 'ReplicaSet', replicaSet('web-abc', 'web'));
  assert.ok(topics.has('pod/app/web'));
  assert.deepEqual(labels('after'), ['after', { kind: 'Deployment', name: 'web' }]);
});

test('wakes nobody for what the mesh does not read', () => {
  const index = new WorkloadIndex();
  for (const [kind, object] of CLUSTER) set(index, kind, object);
  for (const [kind, object] of CLUSTER) {
    // All of its annotations are kept.
    if (kind === 'ExternalWorkload') continue;
    const metadata = { ...object.metadata, annotations: { ...object.metadata.annotations, note: 'x' } };
    const again = { ...object, metadata: { ...metadata, resourceVersion: '2' } };
    assert.deepEqual(set(index, kind, again), new Set(), kind);
  }
});

test('tells only workloads of a namespace who may be let in by default', () => {
  const index = new WorkloadIndex();
  for (const [kind, object] of CLUSTER) set(index, kind, object);
  const topics = set(
    index,
    'Namespace',
    namespace('app', {
      'config.linkerd.io/opaque-ports': '9000',
      'config.linkerd.io/default-inbound-policy': 'deny',
    }),
  );
  assert.deepEqual([...topics].sort(), ['external/app/vm', 'pod/app/db-0', 'pod/app/web-1', 'pod/app/web-2']);
});

test('tells of identities outside the cluster when there is another set of them', () => {
  const index = new WorkloadIndex();
  const machine = (name: string, identity: string): KubeObject => ({
    metadata: { name, namespace: 'app' },
    spec: { meshTLS: { identity, serverName: 'vm' }, workloadIPs: [{ ip: '192.0.2.1' }] },
  });
  const tells = (topics: ReadonlySet<string>) => topics.has(EXTERNAL_IDENTITIES_TOPIC);
  assert.ok(tells(set(index, 'ExternalWorkload', machine('a', 'spiffe://td/a'))));
  assert.ok(!tells(set(index, 'ExternalWorkload', machine('b', 'spiffe://td/a'))));
  assert.ok(tells(set(index, 'ExternalWorkload', machine('b', 'spiffe://td/b'))));
  assert.deepEqual(index.externalIdentities(), ['spiffe://td/a', 'spiffe://td/b']);
  assert.ok(tells(set(index, 'ExternalWorkload', machine('b', 'spiffe://td/c'))));
  assert.ok(tells(remove(index, 'ExternalWorkload', machine('a', 'spiffe://td/a'))));
  assert.deepEqual(index.externalIdentities(), ['spiffe://td/c']);
});
