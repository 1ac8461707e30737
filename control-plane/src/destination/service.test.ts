import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { create, fromBinary, toBinary, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ENDPOINT_SLICES, EXTERNAL_WORKLOADS, NODES, PODS, REPLICA_SETS, SERVICE_PROFILES, SERVICES } from '@tulle/api';
import {
  Destination,
  DestinationProfileSchema,
  GetDestinationSchema,
  type Update,
  type WeightedAddr,
  WeightedAddrSchema,
} from '@tulle/api/gen/destination_pb.ts';
import { DestinationProfileSchema as OverlayProfileSchema } from '@tulle/api/gen/tulle/overlay_pb.ts';
import { readStream, startTestControlPlane } from '../testing/control-plane.ts';
import type { FakeKubernetes } from '../testing/fake-kubernetes.ts';
import { node, pod, replicaSet, service, slice } from '../testing/objects.ts';
import { fromTcpAddress } from '../wire/net.ts';

const WEB = 'web.app.svc.cluster.local:80';

function prepare(kubernetes: FakeKubernetes): void {
  kubernetes.put(NODES, node('node-1', 'zone-a'));
  kubernetes.put(REPLICA_SETS, replicaSet('web-abc', 'web'));
  const owner = { kind: 'ReplicaSet', name: 'web-abc' };
  for (const [name, ip] of [
    ['web-1', '10.42.0.1'],
    ['web-2', '10.42.0.2'],
  ] as const) {
    kubernetes.put(PODS, pod(name, { ip, isMeshed: true, owner, labels: { 'pod-template-hash': 'abc' } }));
  }
  kubernetes.put(SERVICES, service('web', { clusterIPs: ['10.96.0.7'] }));
  kubernetes.put(ENDPOINT_SLICES, slice('web', [{ ip: '10.42.0.1', pod: 'web-1' }]));
}

const start = (t: TestContext) => startTestControlPlane(t, { components: 'destination', prepare });

function address(endpoint: WeightedAddr | undefined): string {
  const { ip, port } = fromTcpAddress(endpoint!.addr!)!;
  return `${ip}:${port}`;
}

/** `+` what was added, `-` what was removed. */
function summary({ update }: Update): string {
  if (update.case === 'add') return update.value.addrs.map((endpoint) => `+${address(endpoint)}`).join(' ');
  if (update.case === 'remove') return update.value.addrs.map((addr) => `-${fromTcpAddress(addr)!.ip}`).join(' ');
  return `none, exists: ${update.value?.exists}`;
}

const codeOf = (code: Code) => (error: unknown) => {
  assert.equal(Code[ConnectError.from(error).code], Code[code], ConnectError.from(error).message);
  return true;
};

test('sends all endpoints first, then what changes', async (t) => {
  const { destination, kubernetes } = await start(t);
  const next = readStream(t, (signal) => destination.get({ path: WEB }, { signal }));
  const first = await next();
  assert.equal(summary(first), '+10.42.0.1:8080');
  assert.ok(first.update.case === 'add');
  assert.deepEqual(first.update.value.metricLabels, { namespace: 'app', service: 'web' });
  kubernetes.put(
    ENDPOINT_SLICES,
    slice('web', [
      { ip: '10.42.0.1', pod: 'web-1' },
      { ip: '10.42.0.2', pod: 'web-2' },
    ]),
  );
  assert.equal(summary(await next()), '+10.42.0.2:8080');
  kubernetes.put(ENDPOINT_SLICES, slice('web', [{ ip: '10.42.0.2', pod: 'web-2' }]));
  assert.equal(summary(await next()), '-10.42.0.1');
  kubernetes.put(ENDPOINT_SLICES, slice('web', [{ ip: '10.42.0.2', pod: 'web-2', ready: false }]));
  assert.equal(summary(await next()), 'none, exists: true');
  kubernetes.remove(SERVICES, service('web'));
  assert.equal(summary(await next()), 'none, exists: false');
});

test('describes a meshed endpoint so that its peers reach it over mutual TLS', async (t) => {
  const { destination } = await start(t);
  const contextToken = JSON.stringify({ ns: 'app', nodeName: 'node-1', pod: 'bot' });
  const { update } = await readStream(t, (signal) => destination.get({ path: WEB, contextToken }, { signal }))();
  assert.ok(update.case === 'add');
  const [endpoint] = update.value.addrs;
  const name = 'web.app.serviceaccount.identity.linkerd.cluster.local';
  assert.equal(endpoint?.tlsIdentity?.strategy.case, 'dnsLikeIdentity');
  assert.equal(endpoint?.tlsIdentity?.strategy.value?.$typeName.endsWith('DnsLikeIdentity'), true);
  assert.equal(endpoint?.tlsIdentity?.serverName?.name, name);
  assert.equal(endpoint?.protocolHint?.protocol.case, 'h2');
  assert.equal(endpoint?.protocolHint?.opaqueTransport?.inboundPort, 4143);
  assert.equal(endpoint?.weight, 10_000);
  assert.equal(endpoint?.http2?.keepAlive?.interval?.seconds, 10n);
  assert.deepEqual(endpoint?.metricLabels, {
    pod: 'web-1',
    serviceaccount: 'web',
    deployment: 'web',
    pod_template_hash: 'abc',
    control_plane_ns: 'linkerd',
    zone: 'zone-a',
    zone_locality: 'local',
  });
});

test('says at once when a service does not exist, and goes on when it does', async (t) => {
  const { destination, kubernetes } = await start(t);
  const next = readStream(t, (signal) => destination.get({ path: 'new.app.svc.cluster.local:80' }, { signal }));
  assert.equal(summary(await next()), 'none, exists: false');
  kubernetes.put(SERVICES, service('new'));
  assert.equal(summary(await next()), 'none, exists: true');
  kubernetes.put(ENDPOINT_SLICES, slice('new', [{ ip: '10.42.0.2', pod: 'web-2' }]));
  assert.equal(summary(await next()), '+10.42.0.2:8080');
});

test('refuses addresses, foreign names and external names', async (t) => {
  const { destination, kubernetes } = await start(t);
  kubernetes.put(SERVICES, service('out', { spec: { type: 'ExternalName', externalName: 'example.com' } }));
  for (const path of ['10.42.0.1:80', 'example.com:80', 'web.app:80', '', 'web.app.svc.cluster.local:70000']) {
    const next = readStream(t, (signal) => destination.get({ path }, { signal }));
    await assert.rejects(next(), codeOf(Code.InvalidArgument), path);
  }
  const path = 'out.app.svc.cluster.local:80';
  for (const call of ['get', 'getProfile'] as const) {
    await assert.rejects(async () => {
      const next = readStream<unknown>(t, (signal) => destination[call]({ path }, { signal }));
      await next();
      await next();
    }, codeOf(Code.InvalidArgument));
  }
});

test('tells what an address is: a service, a pod, or nothing that is known', async (t) => {
  const { destination, kubernetes } = await start(t);
  const profile = (path: string) => readStream(t, (signal) => destination.getProfile({ path }, { signal }));
  const nextOfService = profile('10.96.0.7:80');
  const ofService = await nextOfService();
  assert.equal(ofService.fullyQualifiedName, 'web.app.svc.cluster.local');
  assert.equal(ofService.opaqueProtocol, false);
  assert.equal(ofService.endpoint, undefined);
  assert.equal(ofService.retryBudget?.minRetriesPerSecond, 10);
  assert.ok(ofService.parentRef?.kind.case === 'resource');
  assert.deepEqual(
    [ofService.parentRef.kind.value.group, ofService.parentRef.kind.value.kind, ofService.parentRef.kind.value.port],
    ['core', 'Service', 80],
  );
  const annotations = { 'config.linkerd.io/opaque-ports': '80' };
  kubernetes.put(SERVICES, service('web', { clusterIPs: ['10.96.0.7'], annotations }));
  assert.equal((await nextOfService()).opaqueProtocol, true);

  const ofPod = await profile('10.42.0.2:8080')();
  assert.equal(address(ofPod.endpoint), '10.42.0.2:8080');
  assert.equal(ofPod.endpoint?.metricLabels.namespace, 'app');
  assert.equal(ofPod.fullyQualifiedName, '');

  const unknown = await profile('10.42.9.9:8080')();
  assert.equal(unknown.endpoint, undefined);
  assert.equal(unknown.opaqueProtocol, false);
  assert.equal((await profile('10.42.9.9:3306')()).opaqueProtocol, true);

  const undefinedPort = await profile('10.96.0.7:81')();
  assert.equal(undefinedPort.retryBudget, undefined);
});

test('keeps serving what it knows while the API server is away, and catches up', async (t) => {
  const { destination, kubernetes } = await start(t);
  const next = readStream(t, (signal) => destination.get({ path: WEB }, { signal }));
  assert.equal(summary(await next()), '+10.42.0.1:8080');
  kubernetes.setAway(true);
  assert.equal(
    summary(await readStream(t, (signal) => destination.get({ path: WEB }, { signal }))()),
    '+10.42.0.1:8080',
  );
  kubernetes.put(ENDPOINT_SLICES, slice('web', [{ ip: '10.42.0.2', pod: 'web-2' }]));
  kubernetes.setAway(false);
  const changes = [summary(await next()), summary(await next())];
  assert.deepEqual(changes, ['+10.42.0.2:8080', '-10.42.0.1']);
});

test('gives a reader that was busy the latest state, not every step', async (t) => {
  const { destination, kubernetes } = await start(t);
  const next = readStream(t, (signal) => destination.get({ path: WEB }, { signal }));
  assert.equal(summary(await next()), '+10.42.0.1:8080');
  const marker = readStream(t, (signal) => destination.get({ path: 'marker.app.svc.cluster.local:80' }, { signal }));
  await marker();
  for (let i = 3; i < 200; i++) {
    const name = `web-${i}`;
    kubernetes.put(PODS, pod(name, { ip: `10.42.0.${i}`, isMeshed: true }));
    kubernetes.put(ENDPOINT_SLICES, slice('web', [{ ip: `10.42.0.${i}`, pod: name }]));
  }
  kubernetes.put(SERVICES, service('marker'));
  await marker();
  const known = new Set(['10.42.0.1:8080']);
  let messages = 0;
  while (known.size !== 1 || !known.has('10.42.0.199:8080')) {
    const { update } = await next();
    messages++;
    if (update.case === 'add') for (const endpoint of update.value.addrs) known.add(address(endpoint));
    if (update.case === 'remove')
      for (const addr of update.value.addrs) known.delete(`${fromTcpAddress(addr)!.ip}:8080`);
    if (update.case === 'noEndpoints') known.clear();
  }
  assert.ok(messages <= 400, `${messages} messages`);
});

test('ends streams with Unavailable when it stops', async (t) => {
  const { destination, context } = await start(t);
  const next = readStream(t, (signal) => destination.get({ path: WEB }, { signal }));
  await next();
  const ended = assert.rejects(next(), codeOf(Code.Unavailable));
  await context[Symbol.asyncDispose]();
  await ended;
});

test('skips fields of a request that it does not know', async (t) => {
  const { context } = await start(t);
  const baseUrl = `http://127.0.0.1:${context.ports.destination}`;
  // Field 50001, length-delimited, four bytes.
  const unknown = Uint8Array.from([0x8a, 0xb5, 0x18, 0x04, 0x6f, 0x75, 0x72, 0x73]);
  const client = createClient(Destination, createGrpcTransport({ baseUrl, idleConnectionTimeoutMs: 500 }));
  const request = create(GetDestinationSchema, { path: WEB });
  request.$unknown = [{ no: 50_001, wireType: 2, data: unknown.subarray(3) }];
  assert.deepEqual(toBinary(GetDestinationSchema, request).slice(-unknown.length), unknown);
  const { update } = await readStream(t, (signal) => client.get(request, { signal }))();
  assert.equal(update.case, 'add');
});

const PROFILE_NAME = 'web.app.svc.cluster.local';
const serviceProfile = (spec: object, namespaceName = 'app') => ({
  metadata: { name: PROFILE_NAME, namespace: namespaceName },
  spec,
});

test('a ServiceProfile is on the wire field by field, and goes when it goes', async (t) => {
  const profile = serviceProfile({
    routes: [
      {
        name: 'book',
        condition: { method: 'get', not: { pathRegex: '/x' } },
        isRetryable: true,
        timeout: '1500ms',
        responseClasses: [{ condition: { status: { min: 500, max: 599 } }, isFailure: true }],
      },
    ],
    retryBudget: { retryRatio: 0.5, minRetriesPerSecond: 3, ttl: '20s' },
    dstOverrides: [
      { authority: 'web-2.app.svc.cluster.local', weight: '500m' },
      { authority: 'example.com:443', weight: '1' },
    ],
  });
  const { destination, kubernetes } = await startTestControlPlane(t, {
    components: 'destination',
    prepare: (cluster) => {
      prepare(cluster);
      cluster.put(SERVICE_PROFILES, profile);
    },
  });
  const next = readStream(t, (signal) => destination.getProfile({ path: '10.96.0.7:80' }, { signal }));
  assert.deepEqual(toJson(DestinationProfileSchema, await next()), {
    fullyQualifiedName: PROFILE_NAME,
    routes: [
      {
        condition: {
          all: {
            matches: [{ method: { registered: 'GET' } }, { not: { path: { regex: '/x' } } }],
          },
        },
        responseClasses: [{ condition: { status: { min: 500, max: 599 } }, isFailure: true }],
        metricsLabels: { route: 'book' },
        isRetryable: true,
        timeout: '1.500s',
      },
    ],
    retryBudget: { retryRatio: 0.5, minRetriesPerSecond: 3, ttl: '20s' },
    dstOverrides: [
      {
        authority: 'web-2.app.svc.cluster.local:80',
        weight: 5000,
        backendRef: { resource: { group: 'core', kind: 'Service', name: 'web-2', namespace: 'app', port: 80 } },
      },
      { authority: 'example.com:443', weight: 10000 },
    ],
    parentRef: { resource: { group: 'core', kind: 'Service', name: 'web', namespace: 'app', port: 80 } },
    profileRef: { resource: { group: 'linkerd.io', kind: 'ServiceProfile', name: PROFILE_NAME, namespace: 'app' } },
  });
  kubernetes.put(SERVICE_PROFILES, serviceProfile({ retryBudget: { retryRatio: 1, ttl: '1s' } }));
  assert.equal((await next()).retryBudget?.retryRatio, 1);
  kubernetes.remove(SERVICE_PROFILES, profile);
  const last = await next();
  assert.deepEqual(last.routes, []);
  assert.equal(last.profileRef, undefined);
  assert.equal(last.retryBudget?.minRetriesPerSecond, 10);
});

test('a ServiceProfile says by what keys the balancers choose that it leads to', async (t) => {
  const hashed = (name: string, header: string) => {
    const object = service(name, { clusterIPs: ['10.96.0.8'] });
    object.metadata.annotations = { 'balancer.tulle.mesh/hash-header': header };
    return object;
  };
  const dstOverrides = [{ authority: 'other.app.svc.cluster.local', weight: '1' }];
  const { destination, kubernetes } = await startTestControlPlane(t, {
    components: 'destination',
    prepare: (cluster) => {
      prepare(cluster);
      cluster.put(SERVICES, hashed('other', 'x-user'));
      cluster.put(SERVICE_PROFILES, serviceProfile({ routes: [], dstOverrides }));
    },
  });
  const next = readStream(t, (signal) => destination.getProfile({ path: WEB }, { signal }));
  const balancers = async () =>
    fromBinary(OverlayProfileSchema, toBinary(DestinationProfileSchema, await next())).balancers;
  const first = await balancers();
  assert.deepEqual(
    first.map(({ path, hash }) => [path, hash?.source.value]),
    [['other.app.svc.cluster.local:80', 'x-user']],
  );
  kubernetes.put(SERVICES, hashed('other', 'x-tenant'));
  assert.deepEqual((await balancers())[0]?.hash?.source.value, 'x-tenant');
});

test('an ExternalWorkload is an endpoint of its Service and by its address, with its SPIFFE identity', async (t) => {
  const object = {
    metadata: { name: 'vm', namespace: 'app', uid: 'u' },
    spec: {
      meshTLS: { identity: 'spiffe://example.org/vm', serverName: 'vm.example.org' },
      ports: [{ name: 'linkerd-proxy', port: 4999 }, { port: 8080 }],
      workloadIPs: [{ ip: '192.0.2.7' }],
    },
  };
  const endpoints = slice('vm', [{ ip: '192.0.2.7' }]);
  endpoints.endpoints[0].targetRef = { kind: 'ExternalWorkload', namespace: 'app', name: 'vm', uid: 'u' };
  const { destination } = await startTestControlPlane(t, {
    components: 'destination',
    prepare: (cluster) => {
      cluster.put(EXTERNAL_WORKLOADS, object);
      cluster.put(SERVICES, service('vm', { clusterIPs: ['10.96.0.8'] }));
      cluster.put(ENDPOINT_SLICES, endpoints);
    },
  });
  const path = 'vm.app.svc.cluster.local:80';
  const { update } = await readStream(t, (signal) => destination.get({ path }, { signal }))();
  assert.ok(update.case === 'add');
  const wanted = {
    addr: { ip: { ipv4: 3221225991 }, port: 8080 },
    weight: 10_000,
    metricLabels: { external_workload: 'vm', zone_locality: 'unknown' },
    tlsIdentity: { uriLikeIdentity: { uri: 'spiffe://example.org/vm' }, serverName: { name: 'vm.example.org' } },
    protocolHint: { h2: {}, opaqueTransport: { inboundPort: 4999 } },
    http2: { keepAlive: { interval: '10s', timeout: '3s', whileIdle: true } },
    resourceRef: {
      resource: { group: 'workload.linkerd.io', kind: 'ExternalWorkload', name: 'vm', namespace: 'app' },
    },
  };
  assert.deepEqual(toJson(WeightedAddrSchema, update.value.addrs[0]!), wanted);
  const profile = await readStream(t, (signal) => destination.getProfile({ path: '192.0.2.7:8080' }, { signal }))();
  assert.deepEqual(toJson(WeightedAddrSchema, profile.endpoint!), {
    ...wanted,
    metricLabels: { ...wanted.metricLabels, namespace: 'app' },
  });
});
