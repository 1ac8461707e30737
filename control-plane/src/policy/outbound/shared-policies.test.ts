import assert from 'node:assert/strict';
import test from 'node:test';
import { slice } from '../../testing/objects.ts';
import {
  client,
  clusterService,
  egressNetwork,
  OutboundWorld,
  route,
  SERVICE_PARENT,
  toTarget,
} from '../../testing/outbound-world.ts';

function open(world: OutboundWorld, target: string, namespace = 'app') {
  const stream = { wakes: 0, wake: () => void stream.wakes++ };
  const reader = world.policies.open(toTarget(target), client(namespace), stream);
  return { reader, first: reader.read(), wakes: () => stream.wakes };
}

const WEB = clusterService('web', '10.96.0.1');
const OTHER = clusterService('other', '10.96.0.2');
const OTHER_PARENT = { ...SERVICE_PARENT, name: 'other' };

test('works a policy out once for all clients that do not differ', () => {
  const world = new OutboundWorld([WEB, OTHER, route('http', 'mine', [{}], { namespace: 'shop' })]);
  const a = open(world, '10.96.0.1:80', 'app');
  const b = open(world, '10.96.0.1:80', 'data');
  const byName = open(world, 'app/web:80', 'app');
  const consumer = open(world, '10.96.0.1:80', 'shop');
  assert.equal(a.first, b.first);
  assert.equal(a.first, byName.first);
  assert.notEqual(a.first, consumer.first);
  assert.equal(world.policies.size, 2);
  for (const { reader } of [a, b, byName, consumer]) reader[Symbol.dispose]();
  assert.equal(world.policies.size, 0);
  assert.equal(world.subscriptions.size, 0);
});

test('wakes the streams of the parents and backends of a changed route, and no others', () => {
  const world = new OutboundWorld([WEB, OTHER]);
  const web = open(world, '10.96.0.1:80');
  const other = open(world, '10.96.0.2:80');
  const outside = open(world, '93.184.216.34:443');
  world.set(...route('http', 'r', [{ backendRefs: [{ name: 'v1', port: 80 }] }]));
  assert.deepEqual([web.wakes() > 0, other.wakes(), outside.wakes()], [true, 0, 0]);
  const before = web.reader.read();
  assert.notEqual(before, web.first);
  world.set(...clusterService('v1', '10.96.0.3'));
  assert.notEqual(web.reader.read(), before);
  assert.deepEqual([other.wakes(), outside.wakes()], [0, 0]);
  world.set(...egressNetwork('outside', { trafficPolicy: 'Deny' }));
  assert.deepEqual([outside.wakes() > 0, other.wakes()], [true, 0]);
});

test('moves with a route from one parent to another', () => {
  const world = new OutboundWorld([WEB, OTHER, route('http', 'r', [{}])]);
  const web = open(world, '10.96.0.1:80');
  const other = open(world, '10.96.0.2:80');
  world.set(...route('http', 'r', [{}], { parents: [OTHER_PARENT] }));
  assert.notEqual(web.reader.read(), web.first);
  assert.notEqual(other.reader.read(), other.first);
});

test('is not told of endpoints, and not again of what is the same', () => {
  const world = new OutboundWorld([WEB]);
  const web = open(world, '10.96.0.1:80');
  world.set('EndpointSlice', slice('web', [{ ip: '10.42.0.1' }]));
  assert.equal(web.wakes(), 0);
  world.set(...WEB);
  assert.equal(web.reader.read(), web.first);
});
