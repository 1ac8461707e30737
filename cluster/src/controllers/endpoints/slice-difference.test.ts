import assert from 'node:assert/strict';
import test from 'node:test';
import type { Endpoint, EndpointSlice } from '@tulle/api';
import fc from 'fast-check';
import type { EndpointGroup } from './service-endpoints.ts';
import { ENDPOINTS_PER_SLICE_MAX, sliceDifference } from './slice-difference.ts';

const ports = [{ name: 'http', port: 8080, protocol: 'TCP' }];

function endpoint(index: number, isReady = true): Endpoint {
  return {
    addresses: [`10.0.${index >> 8}.${index & 255}`],
    conditions: { ready: isReady },
    targetRef: { uid: `u${index}` },
  };
}

function group(endpoints: Endpoint[]): EndpointGroup {
  return { addressType: 'IPv4', ports, endpoints };
}

let serial = 0;
function slice(of: EndpointGroup): EndpointSlice {
  return { metadata: { name: `s${serial++}` }, ...of };
}

/** The slices after the writes were made. */
function write(present: EndpointSlice[], wanted: EndpointGroup[]): EndpointSlice[] {
  const difference = sliceDifference(wanted, present, ['IPv4']);
  const updated = new Map(difference.update.map(({ slice: one, endpoints }) => [one, endpoints]));
  return [
    ...present
      .filter((one) => !difference.delete.includes(one))
      .map((one) => ({ ...one, endpoints: updated.get(one) ?? one.endpoints })),
    ...difference.create.map(slice),
  ];
}

test('any change of endpoints ends in slices that hold exactly them, none too full, and then rests', () => {
  const states = fc.array(
    fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 400 }), fc.boolean()), {
      maxLength: 350,
      selector: ([index]) => index,
    }),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(states, (sets) => {
      let slices: EndpointSlice[] = [];
      for (const set of sets) {
        const wanted = set.length === 0 ? [] : [group(set.map(([index, isReady]) => endpoint(index, isReady)))];
        slices = write(slices, wanted);
        const held = slices.flatMap((one) => one.endpoints ?? []);
        const key = (one: Endpoint) => one.targetRef?.uid ?? '';
        const sorted = (list: Endpoint[]) => [...list].sort((a, b) => (key(a) < key(b) ? -1 : 1));
        assert.deepEqual(sorted(held), sorted(wanted.flatMap((one) => one.endpoints)));
        assert.ok(slices.every((one) => (one.endpoints ?? []).length <= ENDPOINTS_PER_SLICE_MAX));
        assert.ok(slices.length >= 1);
        const rest = sliceDifference(wanted, slices, ['IPv4']);
        assert.deepEqual(rest, { create: [], update: [], delete: [] });
      }
    }),
    { numRuns: 60 },
  );
});

test('a pod that becomes ready rewrites only its own slice', () => {
  const all = Array.from({ length: 250 }, (_, index) => endpoint(index));
  const slices = write([], [group(all)]);
  assert.deepEqual(
    slices.map((one) => one.endpoints?.length),
    [100, 100, 50],
  );
  const changed = all.map((one, index) => (index === 120 ? endpoint(120, false) : one));
  const difference = sliceDifference([group(changed)], slices, ['IPv4']);
  assert.equal(difference.update.length, 1);
  assert.equal(difference.update[0]?.slice, slices[1]);
  assert.deepEqual([difference.create, difference.delete], [[], []]);
});

test('other ports are another slice, and a family that is gone goes', () => {
  const slices = write([], [group([endpoint(1)])]);
  const other = { ...group([endpoint(1)]), ports: [{ name: 'http', port: 9090, protocol: 'TCP' }] };
  const difference = sliceDifference([other], slices, ['IPv4']);
  assert.deepEqual(difference.delete, slices);
  assert.equal(difference.create.length, 1);
  assert.deepEqual(sliceDifference([], slices, ['IPv6']).delete, slices);
});
