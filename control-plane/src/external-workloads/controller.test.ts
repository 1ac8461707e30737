import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSlice, KubeObject, Service } from '@tulle/api';
import fc from 'fast-check';
import { service } from '../testing/objects.ts';
import { ExternalSliceIndex } from './controller.ts';
import { ENDPOINTS_PER_SLICE_MAX } from './slice-plan.ts';

const web = (more: object = {}): Service => {
  const ports = [{ name: 'http', port: 80, targetPort: 'http' }];
  const object = service('web', {
    ports,
    clusterIPs: ['10.96.0.1'],
    spec: { selector: { app: 'web' }, ipFamilies: ['IPv4'], ...more },
  });
  return { ...object, metadata: { ...object.metadata, uid: 'svc' } } as Service;
};
const workload = (name: string, ip: string, more: { isReady?: boolean; port?: number; labels?: object } = {}) => {
  const { isReady = true, port = 8080, labels = { app: 'web' } } = more;
  return {
    metadata: { name, namespace: 'app', uid: `uid-${name}`, labels },
    spec: {
      meshTLS: { identity: `spiffe://example.org/${name}`, serverName: `${name}.example.org` },
      ports: [{ name: 'http', port }],
      workloadIPs: [{ ip }],
    },
    status: { conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }] },
  } as KubeObject;
};

let made = 0;
/** Writes the plan as an API server would, until nothing is left to write; how many writes it took. */
function settle(index: ExternalSliceIndex): number {
  let writes = 0;
  for (let round = 0; round < 3; round++) {
    const plan = index.plan('app/web');
    const created = plan.create.map((slice) => ({ ...slice, metadata: { ...slice.metadata, name: `web-${++made}` } }));
    for (const slice of [...created, ...plan.update]) index.applySlice('set', slice);
    for (const slice of plan.delete) index.applySlice('delete', slice);
    const count = created.length + plan.update.length + plan.delete.length;
    writes += count;
    if (count === 0) return writes;
  }
  throw new Error('the plan does not settle');
}

const slicesOf = (index: ExternalSliceIndex): EndpointSlice[] => index.plan('app/web').delete;
/** All slices there are: those that an absent Service would want deleted. */
function present(index: ExternalSliceIndex): EndpointSlice[] {
  index.applyService('delete', web());
  const slices = slicesOf(index);
  index.applyService('set', web());
  return slices;
}

test('writes a slice of the workloads that a selector means, and keeps it up to date', () => {
  const index = new ExternalSliceIndex();
  index.applyService('set', web());
  assert.deepEqual(index.applyWorkload('set', workload('a', '192.0.2.1')), ['app/web']);
  assert.deepEqual(index.applyWorkload('set', workload('other', '192.0.2.9', { labels: { app: 'db' } })), []);
  assert.equal(settle(index), 1);
  const [slice] = present(index);
  assert.equal(slice?.metadata.generateName, 'linkerd-external-web-');
  assert.deepEqual(slice?.metadata.labels, {
    'kubernetes.io/service-name': 'web',
    'endpointslice.kubernetes.io/managed-by': 'linkerd-external-workloads-controller',
  });
  assert.equal(slice?.metadata.ownerReferences?.[0]?.uid, 'svc');
  assert.deepEqual(slice?.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
  assert.deepEqual(slice?.endpoints, [
    {
      addresses: ['192.0.2.1'],
      conditions: { ready: true, serving: true, terminating: false },
      targetRef: { kind: 'ExternalWorkload', namespace: 'app', name: 'a', uid: 'uid-a' },
    },
  ]);
  index.applyWorkload('set', workload('a', '192.0.2.1', { isReady: false }));
  index.applyWorkload('set', workload('b', '192.0.2.2'));
  assert.equal(settle(index), 1);
  assert.deepEqual(
    present(index)[0]?.endpoints.map(({ conditions }) => conditions?.ready),
    [false, true],
  );
});

test('workloads with other ports have slices of their own; one that does not declare a port serves none', () => {
  const index = new ExternalSliceIndex();
  index.applyService('set', web());
  index.applyWorkload('set', workload('a', '192.0.2.1'));
  index.applyWorkload('set', workload('b', '192.0.2.2', { port: 9090 }));
  settle(index);
  assert.deepEqual(
    present(index)
      .map(({ ports }) => ports?.[0]?.port)
      .sort(),
    [8080, 9090],
  );
  index.applyService('set', web({ ports: [{ name: 'http', port: 80, targetPort: 8080 }] }));
  const ports = index.plan('app/web').create.map((slice) => slice.ports);
  assert.deepEqual(ports, [[]]);
});

test('fills slices up to their limit', () => {
  const index = new ExternalSliceIndex();
  index.applyService('set', web());
  for (let i = 0; i < ENDPOINTS_PER_SLICE_MAX + 1; i++) {
    index.applyWorkload('set', workload(`w${i}`, `192.0.${2 + (i >> 8)}.${i & 255}`));
  }
  assert.equal(settle(index), 2);
});

test('deletes what is left when the service, its address, its selector or its workloads go', () => {
  for (const end of [
    (index: ExternalSliceIndex) => index.applyService('delete', web()),
    (index: ExternalSliceIndex) => index.applyService('set', web({ selector: undefined })),
    (index: ExternalSliceIndex) => index.applyService('set', web({ type: 'ExternalName' })),
    (index: ExternalSliceIndex) => index.applyWorkload('delete', workload('a', '192.0.2.1')),
  ]) {
    const index = new ExternalSliceIndex();
    index.applyService('set', web());
    index.applyWorkload('set', workload('a', '192.0.2.1'));
    settle(index);
    assert.deepEqual(end(index), ['app/web']);
    assert.equal(index.plan('app/web').delete.length, 1);
  }
});

const change = fc
  .record({
    name: fc.constantFrom('a', 'b', 'c'),
    ip: fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::1'),
    isReady: fc.boolean(),
    port: fc.constantFrom(8080, 9090),
    labels: fc.constantFrom({ app: 'web' }, { app: 'db' }),
    type: fc.constantFrom('set' as const, 'delete' as const),
  })
  .map(({ name, ip, type, ...more }) => ({ type, object: workload(name, ip, more) }));

test('whatever happened before, the slices hold each wanted endpoint once, and then nothing is written', () => {
  fc.assert(
    fc.property(fc.array(change), fc.array(change), (before, after) => {
      const index = new ExternalSliceIndex();
      const fresh = new ExternalSliceIndex();
      index.applyService('set', web());
      for (const { type, object } of before) index.applyWorkload(type, object);
      settle(index);
      for (const { type, object } of after) index.applyWorkload(type, object);
      settle(index);
      assert.equal(settle(index), 0);
      fresh.applyService('set', web());
      for (const { type, object } of [...before, ...after]) fresh.applyWorkload(type, object);
      settle(fresh);
      const endpoints = (each: ExternalSliceIndex) =>
        present(each)
          .flatMap(({ ports, endpoints: list }) => list.map((endpoint) => JSON.stringify([ports, endpoint])))
          .sort();
      assert.deepEqual(endpoints(index), endpoints(fresh));
    }),
  );
});

test('what is applied and deleted leaves nothing', () => {
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const index = new ExternalSliceIndex();
      index.applyService('set', web());
      for (const { type, object } of changes) index.applyWorkload(type, object);
      settle(index);
      for (const { object } of changes) index.applyWorkload('delete', object);
      settle(index);
      index.applyService('delete', web());
      assert.deepEqual(new Set(Object.values(index.sizes())), new Set([0]));
    }),
  );
});
