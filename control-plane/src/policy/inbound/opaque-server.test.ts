import assert from 'node:assert/strict';
import test from 'node:test';
import { ENDPOINT_SLICES, PODS, SERVERS, SERVICES } from '@tulle/api';
import type { Update } from '@tulle/api/gen/destination_pb.ts';
import { readStream, startTestControlPlane } from '../../testing/control-plane.ts';
import { pod, service, slice } from '../../testing/objects.ts';
import { InboundWorld, server } from '../../testing/policies.ts';

const WEB = pod('web', { ip: '10.42.0.1', isMeshed: true, labels: { app: 'web' } });
const WORKLOAD = { kind: 'Pod', namespace: 'app', name: 'web' } as const;

test('a port is opaque to clients where the Server in force says so', () => {
  const world = new InboundWorld([WEB]);
  const isOpaque = (port = 8080) => world.policies.isOpaque(WORKLOAD, [], port);
  assert.ok(!isOpaque());
  assert.ok(world.apply('set', server('b', { proxyProtocol: 'opaque' })).has('pod/app/web'));
  assert.deepEqual([isOpaque(), isOpaque(9000)], [true, false]);
  assert.ok(world.apply('set', server('a', { proxyProtocol: 'HTTP/1' })).has('pod/app/web'));
  assert.ok(!isOpaque());
  world.apply('delete', server('a'));
  assert.ok(isOpaque());
  assert.ok(world.apply('delete', server('b')).has('pod/app/web'));
  assert.ok(!world.apply('set', server('a', { proxyProtocol: 'HTTP/1' })).has('pod/app/web'));
});

test('clients hear at once that a Server made a port of an endpoint opaque', async (t) => {
  const { destination, kubernetes } = await startTestControlPlane(t, {
    components: 'destination',
    prepare(fake) {
      fake.serve(SERVERS);
      fake.put(PODS, WEB);
      fake.put(SERVICES, service('web', { clusterIPs: ['10.96.0.7'] }));
      fake.put(ENDPOINT_SLICES, slice('web', [{ ip: '10.42.0.1', pod: 'web' }]));
    },
  });
  const path = 'web.app.svc.cluster.local:80';
  const next = readStream(t, (signal) => destination.get({ scheme: 'k8s', path }, { signal }));
  const hint = ({ update }: Update) => update.case === 'add' && update.value.addrs[0]?.protocolHint?.protocol.case;
  assert.equal(hint(await next()), 'h2');
  kubernetes.put(SERVERS, server('web', { proxyProtocol: 'opaque' }));
  assert.equal(hint(await next()), 'opaque');
  kubernetes.remove(SERVERS, server('web'));
  assert.equal(hint(await next()), 'h2');
});
