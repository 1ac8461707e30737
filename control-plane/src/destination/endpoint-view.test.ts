import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { bareEndpoint, type Endpoint } from '../workloads/endpoint.ts';
import type { ServiceEndpoints } from '../workloads/service-endpoints.ts';
import { EndpointView, nearEndpoints } from './endpoint-view.ts';

const endpoint = (ip: string, more: Partial<Endpoint> = {}): Endpoint => ({
  ...bareEndpoint({ ip, port: 80 }),
  ...more,
});

function setOf(endpoints: Endpoint[], more: Partial<ServiceEndpoints> = {}): ServiceEndpoints {
  return { exists: true, isNodeLocal: false, endpoints: new Map(endpoints.map((e) => [e.ip, e])), ...more };
}

const near = (set: ServiceEndpoints, client: Parameters<typeof nearEndpoints>[1]) => [
  ...nearEndpoints(set, client).keys(),
];

test('keeps to the client’s zone where every endpoint has hints and some are for it', () => {
  const a = endpoint('1', { forZones: ['a'] });
  const b = endpoint('2', { forZones: ['b', 'c'] });
  assert.deepEqual(near(setOf([a, b]), { zone: 'a' }), ['1']);
  assert.deepEqual(near(setOf([a, b]), { zone: 'c' }), ['2']);
  assert.deepEqual(near(setOf([a, b]), { zone: 'd' }), ['1', '2']);
  assert.deepEqual(near(setOf([a, b]), {}), ['1', '2']);
  assert.deepEqual(near(setOf([a, b, endpoint('3')]), { zone: 'a' }), ['1', '2', '3']);
});

test('keeps to the client’s node where the service says so', () => {
  const set = setOf([endpoint('1', { nodeName: 'n1' }), endpoint('2', { nodeName: 'n2' }), endpoint('3')], {
    isNodeLocal: true,
  });
  assert.deepEqual(near(set, { nodeName: 'n2' }), ['2']);
  assert.deepEqual(near(set, {}), []);
});

test('tells everything again when the client’s zone changes', () => {
  const view = new EndpointView();
  const set = setOf([endpoint('1')]);
  assert.equal(view.next(set, { zone: 'a' })[0]?.kind, 'add');
  assert.deepEqual(view.next(set, { zone: 'a' }), []);
  assert.equal(view.next(set, { zone: 'b' })[0]?.kind, 'add');
});

test('a reader that applies every change has the set, and is never told what it knows', () => {
  const pool = ['1', '2', '3', '4'].flatMap((ip) => [endpoint(ip), endpoint(ip, { identity: 'x' })]);
  const arbitrarySet = fc
    .record({ exists: fc.boolean(), endpoints: fc.subarray(pool) })
    .map(({ exists, endpoints }) => setOf(exists ? endpoints : [], { exists }));
  fc.assert(
    fc.property(fc.array(arbitrarySet, { minLength: 1 }), (sets) => {
      const view = new EndpointView();
      const known = new Map<string, Endpoint>();
      let exists: boolean | undefined;
      sets.forEach((set, i) => {
        const changes = view.next(set, {});
        if (i === 0) assert.equal(changes.length, 1);
        for (const change of changes) {
          if (change.kind === 'none') {
            known.clear();
            exists = change.exists;
          } else {
            exists = true;
            for (const e of change.endpoints) {
              if (change.kind === 'remove') assert.ok(known.delete(e.ip));
              else {
                assert.notEqual(known.get(e.ip), e);
                known.set(e.ip, e);
              }
            }
          }
        }
        assert.deepEqual(new Map(known), new Map(set.endpoints));
        assert.equal(exists, set.exists);
        assert.deepEqual(view.next(set, {}), []);
      });
    }),
  );
});
