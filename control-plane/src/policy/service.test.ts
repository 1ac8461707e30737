import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { fromBinary, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { EGRESS_NETWORKS, HTTP_ROUTES, type KubeObject, PODS, SERVICES } from '@tulle/api';
import { ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { type OutboundPolicy, OutboundPolicySchema } from '@tulle/api/gen/outbound_pb.ts';
import { OutboundPolicySchema as OverlaySchema } from '@tulle/api/gen/tulle/overlay_pb.ts';
import { readStream, startTestControlPlane } from '../testing/control-plane.ts';
import type { FakeKubernetes } from '../testing/fake-kubernetes.ts';
import { pod, service } from '../testing/objects.ts';
import { toTcpAddress } from '../wire/net.ts';

const BOT = JSON.stringify({ ns: 'app', pod: 'bot' });
const IDENTITY = 'web.app.serviceaccount.identity.linkerd.cluster.local';

function prepare(kubernetes: FakeKubernetes): void {
  kubernetes.put(PODS, pod('bot', { ip: '10.42.0.9', isMeshed: true }));
  kubernetes.put(PODS, pod('web-1', { ip: '10.42.0.1', isMeshed: true }));
  kubernetes.put(SERVICES, service('web', { clusterIPs: ['10.96.0.7', 'fd96::7'] }));
}

const start = (t: TestContext) => startTestControlPlane(t, { components: 'policy', prepare });

const codeOf = (code: Code) => (error: unknown) => {
  assert.equal(Code[ConnectError.from(error).code], Code[code], ConnectError.from(error).message);
  return true;
};

const at = (json: JsonValue | undefined, ...path: (string | number)[]): JsonValue | undefined =>
  path.reduce<JsonValue | undefined>((value, key) => (value as Record<string, JsonValue> | undefined)?.[key], json);

test('sends the default policy of a port, and again when an annotation changes it', async (t) => {
  const { inbound, kubernetes } = await start(t);
  const spec = { workload: JSON.stringify({ ns: 'app', pod: 'web-1' }), port: 8080 };
  const next = readStream(t, (signal) => inbound.watchPort(spec, { signal }));
  const all = [{ net: { ip: { ipv4: 0 } } }, { net: { ip: { ipv6: {} } } }];
  const labels = (name: string) => ({ group: '', kind: 'default', name });
  assert.deepEqual(toJson(ServerSchema, await next()), {
    protocol: {
      detect: {
        timeout: '10s',
        httpRoutes: [{ metadata: { default: 'default' }, rules: [{ matches: [{ path: { prefix: '/' } }] }] }],
      },
    },
    authorizations: [
      {
        networks: all,
        authentication: { unauthenticated: {} },
        labels: labels('all-unauthenticated'),
        metadata: { default: 'all-unauthenticated' },
      },
    ],
    labels: labels('all-unauthenticated'),
  });
  const annotations = { 'config.linkerd.io/default-inbound-policy': 'all-authenticated' };
  kubernetes.put(PODS, pod('web-1', { ip: '10.42.0.1', isMeshed: true, annotations }));
  const changed = toJson(ServerSchema, await next());
  assert.deepEqual(at(changed, 'labels'), labels('all-authenticated'));
  assert.deepEqual(at(changed, 'authorizations', 0, 'authentication'), {
    meshTLS: { identities: { suffixes: [{}] } },
  });
  const old = await inbound.getPort({ workload: 'app:web-1', port: 8080 });
  assert.equal(old.labels.name, 'all-authenticated');
});

test('balances over the endpoints of a service', async (t) => {
  const { outbound } = await start(t);
  const target = { case: 'addr' as const, value: toTcpAddress('fd96::7', 80) };
  const policy = toJson(
    OutboundPolicySchema,
    await readStream(t, (signal) => outbound.watch({ sourceWorkload: BOT, target }, { signal }))(),
  );
  const metadata = { resource: { group: 'core', kind: 'Service', namespace: 'app', name: 'web', port: 80 } };
  const backend = {
    metadata,
    balancer: {
      discovery: { dst: { path: 'web.app.svc.cluster.local:80' } },
      peakEwma: { defaultRtt: '0.030s', decay: '10s' },
    },
    queue: { capacity: 100, failfastTimeout: '3s' },
  };
  const backends = { firstAvailable: { backends: [{ backend }] } };
  const http = {
    routes: [
      { metadata: { default: 'http' }, rules: [{ matches: [{ path: { prefix: '/' } }], backends, timeouts: {} }] },
    ],
  };
  assert.deepEqual(policy, {
    metadata,
    protocol: {
      detect: {
        timeout: '10s',
        opaque: { routes: [{ metadata: { default: 'opaq' }, rules: [{ backends }] }] },
        http1: http,
        http2: http,
      },
    },
  });
  const byName = await outbound.get({
    sourceWorkload: BOT,
    target: { case: 'authority', value: 'web.app.svc.cluster.local:80' },
  });
  assert.deepEqual(toJson(OutboundPolicySchema, byName), policy);
});

test('follows a port of a service from forbidden to open', async (t) => {
  const { outbound, kubernetes } = await start(t);
  const target = { case: 'addr' as const, value: toTcpAddress('10.96.0.7', 81) };
  const next = readStream(t, (signal) => outbound.watch({ sourceWorkload: BOT, target }, { signal }));
  assert.deepEqual(at(toJson(OutboundPolicySchema, await next()), 'protocol'), {
    opaque: {
      routes: [
        { metadata: { default: 'undefined-port' }, rules: [{ backends: { empty: {} }, filters: [{ forbidden: {} }] }] },
      ],
    },
  });
  kubernetes.put(
    SERVICES,
    service('web', { clusterIPs: ['10.96.0.7'], ports: [{ port: 81, appProtocol: 'kubernetes.io/h2c' }] }),
  );
  assert.equal((await next()).protocol?.kind.case, 'http2');
});

test('streams a route that comes, changes and goes, and an EgressNetwork', async (t) => {
  const withKinds = (kubernetes: FakeKubernetes) => {
    prepare(kubernetes);
    kubernetes.serve(HTTP_ROUTES);
    kubernetes.serve(EGRESS_NETWORKS);
  };
  const { outbound, kubernetes } = await startTestControlPlane(t, { components: 'policy', prepare: withKinds });
  const watch = (ip: string) => {
    const target = { case: 'addr' as const, value: toTcpAddress(ip, 80) };
    return readStream(t, (signal) => outbound.watch({ sourceWorkload: BOT, target }, { signal }));
  };
  const next = watch('10.96.0.7');
  const nextOutside = watch('93.184.216.34');
  const names = (policy: OutboundPolicy) => {
    const routes = at(toJson(OutboundPolicySchema, policy), 'protocol', 'detect', 'http1', 'routes') as JsonValue[];
    return routes.map((route) => at(route, 'metadata', 'resource', 'name') ?? at(route, 'metadata', 'default'));
  };
  assert.deepEqual(names(await next()), ['http']);
  assert.deepEqual(names(await nextOutside()), ['egress-fallback']);
  const parentRefs = [{ group: 'core', kind: 'Service', name: 'web', port: 80 }];
  const filters = [{ type: 'URLRewrite', urlRewrite: { hostname: 'a.example' } }];
  const route = (rules: object[]): KubeObject => ({
    apiVersion: HTTP_ROUTES.apiVersion,
    kind: HTTP_ROUTES.kind,
    metadata: { name: 'r', namespace: 'app' },
    spec: { parentRefs, rules },
  });
  kubernetes.put(HTTP_ROUTES, route([{}]));
  assert.deepEqual(names(await next()), ['r']);
  kubernetes.put(HTTP_ROUTES, route([{ filters }]));
  const rewritten = fromBinary(OverlaySchema, toBinary(OutboundPolicySchema, await next()));
  assert.equal(rewritten.httpRules[0]?.urlRewrite?.host, 'a.example');
  kubernetes.remove(HTTP_ROUTES, route([]));
  assert.deepEqual(names(await next()), ['http']);
  const metadata = { name: 'outside', namespace: 'linkerd-egress' };
  kubernetes.put(EGRESS_NETWORKS, { metadata, spec: { trafficPolicy: 'Deny' } });
  assert.deepEqual(names(await nextOutside()), ['http-egress-deny']);
});

test('forwards to a pod with its identity, and outside without one', async (t) => {
  const { outbound } = await start(t);
  const get = async (ip: string) => {
    const target = { case: 'addr' as const, value: toTcpAddress(ip, 8080) };
    return toJson(OutboundPolicySchema, await outbound.get({ sourceWorkload: BOT, target }));
  };
  const ofPod = await get('10.42.0.1');
  assert.deepEqual(at(ofPod, 'metadata'), { default: 'endpoint' });
  const path = [
    'protocol',
    'detect',
    'http1',
    'routes',
    0,
    'rules',
    0,
    'backends',
    'firstAvailable',
    'backends',
    0,
    'backend',
  ];
  const forward = at(ofPod, ...path, 'forward');
  assert.deepEqual(at(forward, 'tlsIdentity', 'dnsLikeIdentity'), { name: IDENTITY });
  assert.deepEqual(at(forward, 'protocolHint'), { h2: {}, opaqueTransport: { inboundPort: 4143 } });
  const outside = await get('93.184.216.34');
  assert.deepEqual(at(outside, 'metadata'), { default: 'egress-fallback' });
  assert.deepEqual(at(outside, ...path, 'forward'), { addr: { ip: { ipv4: 1572395042 }, port: 8080 }, weight: 1 });
});

test('answers what is nothing with the status that makes proxies fall back or give up', async (t) => {
  const { inbound, outbound, kubernetes } = await start(t);
  const get = (target: Parameters<typeof outbound.get>[0]['target'], sourceWorkload = BOT) =>
    outbound.get({ sourceWorkload, target });
  const unknown = { case: 'addr' as const, value: toTcpAddress('10.42.7.7', 80) };
  await assert.rejects(get(unknown), codeOf(Code.NotFound));
  await assert.rejects(get({ case: 'authority', value: 'gone.app.svc.cluster.local' }), codeOf(Code.NotFound));
  await assert.rejects(get({ case: 'authority', value: 'example.com' }), codeOf(Code.NotFound));
  await assert.rejects(get({ case: 'authority', value: 'web-0.web.app.svc.cluster.local:80' }), codeOf(Code.NotFound));
  for (const value of [
    'web.app.svc.cluster.local:80',
    'WEB.app.svc.cluster.local.:80',
    'web.app.svc',
    'web.app.svc.:80',
  ]) {
    const { metadata } = await get({ case: 'authority', value });
    assert.equal(metadata?.kind.case === 'resource' && metadata.kind.value.name, 'web', value);
  }
  await assert.rejects(get({ case: undefined }), codeOf(Code.InvalidArgument));
  await assert.rejects(get({ case: 'addr', value: { port: 80 } }), codeOf(Code.InvalidArgument));
  await assert.rejects(get(unknown, 'nonsense'), codeOf(Code.InvalidArgument));
  await assert.rejects(inbound.getPort({ workload: 'app:none', port: 80 }), codeOf(Code.NotFound));
  await assert.rejects(inbound.getPort({ workload: BOT, port: 0 }), codeOf(Code.InvalidArgument));
  await assert.rejects(inbound.getPort({ workload: '{"ns":', port: 80 }), codeOf(Code.InvalidArgument));
  const next = readStream(t, (signal) => inbound.watchPort({ workload: BOT, port: 80 }, { signal }));
  await next();
  kubernetes.remove(PODS, pod('bot'));
  await assert.rejects(next(), codeOf(Code.NotFound));
});
