import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type InjectContext, injectPod, type PodLike } from './inject-pod.ts';
import { applyAdds } from './json-patch.ts';
import { defaultValues } from './values.ts';

const ANCHORS = '-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n';

function context(changes: Partial<InjectContext> = {}): InjectContext {
  return {
    namespace: { name: 'shop', annotations: { 'linkerd.io/inject': 'enabled' } },
    values: { ...defaultValues(), identityTrustAnchorsPEM: ANCHORS },
    controlPlaneNamespace: 'linkerd',
    owner: { kind: 'Deployment', name: 'web' },
    createdBy: 'linkerd/proxy-injector test',
    ...changes,
  };
}

function pod(annotations?: Record<string, string>, spec: object = {}): PodLike {
  return {
    metadata: { labels: { app: 'web' }, ...(annotations ? { annotations } : {}) },
    spec: {
      containers: [{ name: 'app', image: 'web:1', ports: [{ containerPort: 8080, name: 'http' }] }],
      initContainers: [{ name: 'migrate', image: 'web:1' }],
      ...spec,
    },
  };
}

function injected(subject: PodLike, changes: Partial<InjectContext> = {}) {
  const { patch, report } = injectPod(subject, context(changes));
  assert.equal(report.skip, undefined);
  const result = applyAdds(subject, patch);
  const containers = [...(result.spec?.initContainers ?? []), ...(result.spec?.containers ?? [])];
  const proxy = containers.find(({ name }) => name === 'linkerd-proxy')!;
  const init = containers.find(({ name }) => name === 'linkerd-init')!;
  const env = (name: string) => proxy.env?.find((variable) => variable.name === `LINKERD2_PROXY_${name}`)?.value;
  return { result, proxy, init, env, patch };
}

function flag(args: readonly string[] | undefined, name: string): string | undefined {
  return args?.includes(name) ? args[args.indexOf(name) + 1] : undefined;
}

test('adds metadata, volumes, init container and proxy in the order of the contract', () => {
  const paths = injectPod(pod(), context()).patch.map(({ path }) => path);
  assert.deepEqual(paths, [
    '/metadata/annotations',
    '/metadata/annotations/linkerd.io~1created-by',
    '/metadata/annotations/linkerd.io~1proxy-version',
    '/metadata/annotations/linkerd.io~1trust-root-sha256',
    '/metadata/labels/linkerd.io~1control-plane-ns',
    '/metadata/labels/linkerd.io~1proxy-deployment',
    '/metadata/labels/linkerd.io~1workload-ns',
    '/spec/volumes',
    '/spec/volumes/-',
    '/spec/initContainers/0',
    '/spec/volumes/-',
    '/spec/volumes/-',
    '/spec/initContainers/1',
  ]);
});

test('runs the proxy as a native sidecar before the init containers of the pod', () => {
  const { result, proxy } = injected(pod());
  assert.deepEqual(
    result.spec?.initContainers?.map(({ name }) => name),
    ['linkerd-init', 'linkerd-proxy', 'migrate'],
  );
  assert.equal(proxy.restartPolicy, 'Always');
  assert.deepEqual(proxy.startupProbe?.httpGet, { path: '/ready', port: 4191 });
  assert.equal(proxy.startupProbe?.failureThreshold, 120);
  assert.equal(proxy.lifecycle, undefined);
});

test('runs a classic sidecar first among the containers and redirects last', () => {
  const { result, proxy } = injected(
    pod({
      'config.linkerd.io/proxy-enable-native-sidecar': 'false',
      'config.alpha.linkerd.io/proxy-wait-before-exit-seconds': '7',
    }),
  );
  assert.deepEqual(
    result.spec?.initContainers?.map(({ name }) => name),
    ['migrate', 'linkerd-init'],
  );
  assert.deepEqual(
    result.spec?.containers?.map(({ name }) => name),
    ['linkerd-proxy', 'app'],
  );
  assert.equal(proxy.restartPolicy, undefined);
  assert.equal(proxy.startupProbe, undefined);
  assert.deepEqual(proxy.lifecycle?.postStart?.exec?.command, [
    '/usr/lib/linkerd/linkerd-await',
    '--timeout=2m',
    '--port=4191',
  ]);
  assert.deepEqual(proxy.lifecycle?.preStop?.exec?.command, ['/bin/sleep', '7']);
});

test('puts a classic sidecar last when nothing waits for it', () => {
  const annotations = {
    'config.linkerd.io/proxy-enable-native-sidecar': 'false',
    'config.linkerd.io/proxy-await': 'disabled',
  };
  const { result, proxy } = injected(pod(annotations));
  assert.deepEqual(
    result.spec?.containers?.map(({ name }) => name),
    ['app', 'linkerd-proxy'],
  );
  assert.equal(proxy.lifecycle, undefined);
});

test('gives the proxy its environment in the order in which names refer to each other', () => {
  const { proxy } = injected(pod());
  const names = proxy.env!.map(({ name }) => name.replace('LINKERD2_PROXY_', ''));
  assert.deepEqual(names, [
    ...['_pod_name', '_pod_ns', '_pod_uid', '_pod_ip', '_pod_nodeName', '_pod_containerName'],
    ...['CORES', 'CORES_MIN', 'SHUTDOWN_ENDPOINT_ENABLED', 'LOG', 'LOG_FORMAT'],
    ...['DESTINATION_SVC_ADDR', 'DESTINATION_PROFILE_NETWORKS', 'POLICY_SVC_ADDR', 'POLICY_WORKLOAD'],
    ...['INBOUND_DEFAULT_POLICY', 'POLICY_CLUSTER_NETWORKS'],
    ...['CONTROL_STREAM_INITIAL_TIMEOUT', 'CONTROL_STREAM_IDLE_TIMEOUT', 'CONTROL_STREAM_LIFETIME'],
    ...['INBOUND_CONNECT_TIMEOUT', 'OUTBOUND_CONNECT_TIMEOUT'],
    ...['OUTBOUND_DISCOVERY_IDLE_TIMEOUT', 'INBOUND_DISCOVERY_IDLE_TIMEOUT'],
    ...[
      'CONTROL_LISTEN_ADDR',
      'ADMIN_LISTEN_ADDR',
      'OUTBOUND_LISTEN_ADDR',
      'OUTBOUND_LISTEN_ADDRS',
      'INBOUND_LISTEN_ADDR',
    ],
    ...['INBOUND_IPS', 'INBOUND_PORTS', 'DESTINATION_PROFILE_SUFFIXES'],
    ...['INBOUND_ACCEPT_KEEPALIVE', 'OUTBOUND_CONNECT_KEEPALIVE'],
    ...['INBOUND_ACCEPT_USER_TIMEOUT', 'OUTBOUND_CONNECT_USER_TIMEOUT', 'OUTBOUND_METRICS_HOSTNAME_LABELS'],
    ...['INBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL', 'INBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT'],
    ...['OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL', 'OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT'],
    ...['INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION', 'DESTINATION_CONTEXT', '_pod_sa', '_l5d_ns', '_l5d_trustdomain'],
    ...['IDENTITY_DIR', 'IDENTITY_TRUST_ANCHORS', 'IDENTITY_TOKEN_FILE', 'IDENTITY_SVC_ADDR', 'IDENTITY_LOCAL_NAME'],
    ...['IDENTITY_SVC_NAME', 'DESTINATION_SVC_NAME', 'POLICY_SVC_NAME'],
  ]);
});

test('points the proxy at the services and identities of the control plane', () => {
  const { env } = injected(pod());
  assert.equal(env('DESTINATION_SVC_ADDR'), 'linkerd-dst-headless.linkerd.svc.cluster.local.:8086');
  assert.equal(env('POLICY_SVC_ADDR'), 'linkerd-policy.linkerd.svc.cluster.local.:8090');
  assert.equal(env('IDENTITY_SVC_ADDR'), 'linkerd-identity-headless.linkerd.svc.cluster.local.:8080');
  assert.match(env('IDENTITY_SVC_NAME')!, /^linkerd-destination\.\$\(_l5d_ns\)\.serviceaccount\.identity\./);
  assert.equal(env('IDENTITY_TRUST_ANCHORS'), ANCHORS);
  assert.equal(env('INBOUND_PORTS'), '8080');
});

test('listens on both families where IPv6 is on', () => {
  const values = { ...context().values, disableIPv6: false };
  const { env, init } = injected(pod(), { values });
  assert.equal(env('INBOUND_LISTEN_ADDR'), '[::]:4143');
  assert.equal(env('OUTBOUND_LISTEN_ADDRS'), '127.0.0.1:4140,[::1]:4140');
  assert.ok(!init.args?.includes('--ipv6=false'));
});

test('tells the init container what to leave alone', () => {
  const { init } = injected(
    pod({
      'config.linkerd.io/skip-inbound-ports': '8079,9000-9010',
      'config.linkerd.io/skip-outbound-ports': '25',
      'config.linkerd.io/skip-subnets': '10.1.0.0/16',
      'config.linkerd.io/proxy-uid': '3000',
      'config.linkerd.io/admin-port': '5191',
    }),
  );
  assert.equal(flag(init.args, '--inbound-ports-to-ignore'), '4190,5191,8079,9000-9010');
  assert.equal(flag(init.args, '--outbound-ports-to-ignore'), '25');
  assert.equal(flag(init.args, '--subnets-to-ignore'), '10.1.0.0/16');
  assert.equal(flag(init.args, '--proxy-uid'), '3000');
  assert.deepEqual(init.command, ['/usr/lib/linkerd/linkerd2-proxy-init']);
});

test('an annotation of the pod wins over the namespace, and that over the values', () => {
  const namespace = {
    name: 'shop',
    annotations: {
      'linkerd.io/inject': 'enabled',
      'config.linkerd.io/proxy-log-level': 'debug',
      'config.linkerd.io/default-inbound-policy': 'deny',
      'config.linkerd.io/close-wait-timeout': '30s',
    },
  };
  const { env, init, result } = injected(pod({ 'config.linkerd.io/proxy-log-level': 'trace' }), { namespace });
  assert.match(env('LOG')!, /^trace,/);
  assert.equal(env('INBOUND_DEFAULT_POLICY'), 'deny');
  assert.equal(result.metadata?.annotations?.['config.linkerd.io/default-inbound-policy'], 'deny');
  // This one is the pod's own business alone.
  assert.equal(flag(init.args, '--timeout-close-wait-secs'), undefined);
});

test('writes the opaque ports that the pod exposes of the default list', () => {
  const ports = [{ containerPort: 3306 }, { containerPort: 8080 }, { containerPort: 25 }];
  const { result, env } = injected(pod(undefined, { containers: [{ name: 'app', ports }] }));
  assert.equal(result.metadata?.annotations?.['config.linkerd.io/opaque-ports'], '25,3306');
  assert.equal(env('INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION'), defaultValues().proxy.opaquePorts);
});

test('resolves names of opaque ports and forgets those of other pods', () => {
  const { env } = injected(pod({ 'config.linkerd.io/opaque-ports': 'http,redis,9000-9002' }));
  assert.equal(env('INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION'), '8080,9000-9002');
});

test('adds environment of namespace and pod after its own', () => {
  const key = 'config.linkerd.io/proxy-additional-env';
  const namespace = {
    name: 'shop',
    annotations: { 'linkerd.io/inject': 'enabled', [key]: '[{"name":"A","value":"1"},{"name":"B","value":"1"}]' },
  };
  const { proxy } = injected(pod({ [key]: '[{"name":"B","value":"2"}]' }), { namespace });
  assert.deepEqual(proxy.env?.slice(-2), [
    { name: 'A', value: '1' },
    { name: 'B', value: '2' },
  ]);
});

test('ingress mode comes from either annotation', () => {
  assert.equal(injected(pod({ 'linkerd.io/inject': 'ingress' })).env('INGRESS_MODE'), 'true');
});

const skips: [string, PodLike, Partial<InjectContext>, string][] = [
  ['host network', pod(undefined, { hostNetwork: true }), {}, 'host_network_enabled'],
  ['a sidecar that is there', pod(undefined, { containers: [{ name: 'istio-proxy' }] }), {}, 'sidecar_already_exists'],
  ['disabled at the pod', pod({ 'linkerd.io/inject': 'disabled' }), {}, 'injection_disable_annotation_present'],
  ['nonsense at the pod', pod({ 'linkerd.io/inject': 'yes' }), {}, 'invalid_inject_annotation_at_workload'],
  ['no annotation', pod(), { namespace: { name: 'x', annotations: {} } }, 'injection_enable_annotation_absent'],
  [
    'nonsense at the namespace',
    pod(),
    { namespace: { name: 'x', annotations: { 'linkerd.io/inject': 'on' } } },
    'invalid_inject_annotation_at_ns',
  ],
  ['a bad uid', pod({ 'config.linkerd.io/proxy-uid': 'root' }), {}, 'invalid_annotation'],
  ['bad opaque ports', pod({ 'config.linkerd.io/opaque-ports': '70000' }), {}, 'invalid_annotation'],
];
for (const [what, subject, changes, reason] of skips) {
  test(`leaves a pod alone: ${what}`, () => {
    const { patch, report } = injectPod(subject, context(changes));
    assert.equal(report.skip?.reason, reason);
    assert.deepEqual(patch, []);
  });
}

test('a bad annotation is named with its value and what is wanted', () => {
  const { report } = injectPod(
    pod({ 'config.linkerd.io/proxy-cpu-limit': 'lots', 'config.linkerd.io/proxy-await': 'maybe' }),
    context(),
  );
  assert.match(report.skip!.message, /proxy-cpu-limit="lots": want a quantity/);
  assert.match(report.skip!.message, /proxy-await="maybe": want one of enabled, disabled/);
});

test('a pod that is not injected still takes over the opaque ports of its namespace', () => {
  const namespace = { name: 'shop', annotations: { 'config.linkerd.io/opaque-ports': '9000' } };
  const { patch } = injectPod(pod(), context({ namespace }));
  assert.deepEqual(
    patch.map(({ path }) => path),
    ['/metadata/annotations', '/metadata/annotations/config.linkerd.io~1opaque-ports'],
  );
});
