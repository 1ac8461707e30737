import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { CORE_EVENTS, type Kind, type KubeObject, LEASES, MeshError } from '@tulle/api';
import { parseNetwork } from '@tulle/api/ip-address.ts';
import type { Client } from '@tulle/client';
import { createLoggers } from '../logger.ts';
import { MetricRegistry } from '../metric-registry.ts';
import { ClusterState } from '../workloads/cluster-state.ts';
import { createStatus } from './service.ts';

const POLICY = 'policy.linkerd.io';
const STORED: [apiVersion: string, kind: string, name: string, spec: object][] = [
  ['v1', 'Service', 'web', { clusterIP: '10.0.0.1' }],
  [
    'gateway.networking.k8s.io/v1',
    'HTTPRoute',
    'api',
    {
      parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
      rules: [{ backendRefs: [{ name: 'web', port: 80 }] }],
    },
  ],
  [
    `${POLICY}/v1beta3`,
    'HTTPRoute',
    'broken',
    { parentRefs: [{ group: '', kind: 'Service', name: 'web' }], rules: 'all' },
  ],
  [`${POLICY}/v1alpha1`, 'EgressNetwork', 'all', { trafficPolicy: 'Allow', networks: [{ cidr: '10.0.0.0/8' }] }],
  [`${POLICY}/v1beta1`, 'ServerAuthorization', 'pruned', { server: { name: 'web' }, client: { meshTLS: null } }],
  [`${POLICY}/v1beta3`, 'Server', 'odd', { podSelector: {}, port: 0 }],
  ['split.smi-spec.io/v1alpha4', 'TrafficSplit', 'none', { service: 'web', backends: [] }],
];

/** What the controller asks of an API server. `holder` holds the Lease already. */
function fakeApi(t: TestContext, holder?: string) {
  const objects = STORED.map(([apiVersion, kind, name, spec], i): KubeObject => {
    const metadata = { name, namespace: 'app', uid: name, resourceVersion: String(i + 1), generation: 1 };
    return { apiVersion, kind, metadata, spec };
  });
  const stop = new AbortController();
  t.after(() => stop.abort());
  const patches: { path: string; status: any }[] = [];
  const events: KubeObject[] = [];
  const wakers: (() => void)[] = [];
  let lease: KubeObject | undefined = holder
    ? { metadata: { name: 'l', resourceVersion: '1' }, spec: { holderIdentity: holder, leaseDurationSeconds: 30 } }
    : undefined;
  const wake = () => {
    for (const resolve of wakers.splice(0)) resolve();
  };
  const client = {
    signal: stop.signal,
    findServed: async (kinds: Kind[]) => kinds,
    pages: async function* ({ apiVersion, kind }: Kind) {
      const items = objects.filter((one) => one.kind === kind && one.apiVersion === apiVersion);
      yield { items, resourceVersion: '9' };
    },
    watch: async function* (_kind: Kind, _options: object, signal: AbortSignal) {
      await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
      yield* [];
    },
    get: async () => {
      wake();
      if (!lease) throw new MeshError('NOT_FOUND', 'no lease');
      return lease;
    },
    update: async (_kind: Kind, object: KubeObject) => object,
    create: async (kind: Kind, object: KubeObject) => {
      if (kind === CORE_EVENTS) events.push(object);
      else if (kind === LEASES) lease = { ...object, metadata: { ...object.metadata, resourceVersion: '1' } };
      wake();
      return object;
    },
    request: async (_method: string, path: string, { body }: { body: { status: object } }) => {
      patches.push({ path, status: body.status });
      wake();
      return { json: async () => body };
    },
  } as unknown as Client;
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise<void>((resolve) => wakers.push(resolve));
  };
  return { client, patches, events, until, stop, lease: () => lease };
}

function start({ client, stop }: ReturnType<typeof fakeApi>) {
  const state = new ClusterState();
  const loggers = createLoggers({ level: 'silent', format: 'json' });
  const status = createStatus({
    client,
    state,
    clusterNetworks: [parseNetwork('10.0.0.0/8')!],
    controllerNamespace: 'linkerd',
    isSmiEnabled: true,
    holder: 'me',
    logger: loggers.of('status'),
    metrics: new MetricRegistry(),
  });
  const ended = status.run(state.start(client, loggers.of('workloads'), stop.signal), stop.signal);
  ended.catch(() => undefined);
  return { status, ended };
}

test('takes the Lease, writes every status once, and tells of what has none', async (t) => {
  const api = fakeApi(t);
  const { ended } = start(api);
  await api.until(() => api.patches.length === 3 && api.events.length === 3);
  assert.deepEqual(
    {
      name: api.lease()!.metadata.name,
      holder: api.lease()!.spec.holderIdentity,
      s: api.lease()!.spec.leaseDurationSeconds,
    },
    { name: 'policy-controller-write', holder: 'me', s: 30 },
  );
  const reasons = new Map(
    api.patches.map(({ path, status }) => [
      path.split('/').slice(2, 3).concat(path.split('/').slice(-3)).join('/'),
      (status.parents?.[0].conditions ?? status.conditions).map((one: { reason: string }) => one.reason).join(),
    ]),
  );
  assert.deepEqual(Object.fromEntries(reasons), {
    'gateway.networking.k8s.io/httproutes/api/status': 'Accepted,ResolvedRefs',
    'policy.linkerd.io/httproutes/broken/status': 'UnsupportedValue,ResolvedRefs',
    'policy.linkerd.io/egressnetworks/all/status': 'EgressReasonNetworkOverlap',
  });
  const told = api.events.map(
    ({ reason, involvedObject }) => `${reason} ${involvedObject.kind}/${involvedObject.name}`,
  );
  assert.deepEqual(told.sort(), [
    'AuthorizesNobody ServerAuthorization/pruned',
    'NotRead Server/odd',
    'NotRead TrafficSplit/none',
  ]);
  api.stop.abort();
  await ended;
});

test('writes and tells nothing while another holds the Lease', async (t) => {
  const api = fakeApi(t, 'other');
  start(api);
  let isAsked = false;
  await api.until(() => {
    const was = isAsked;
    isAsked = true;
    return was;
  });
  await new Promise(setImmediate);
  assert.deepEqual([api.patches, api.events], [[], []]);
});

test('previews what a status would say that its author may not expect', async (t) => {
  const api = fakeApi(t);
  const { status } = start(api);
  await api.until(() => api.patches.length === 3);
  const route = (parent: string, backend: string): KubeObject => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'new', namespace: 'app' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: parent }],
      rules: [{ backendRefs: [{ name: backend, port: 80 }] }],
    },
  });
  assert.deepEqual(status.preview(route('web', 'web')), []);
  assert.deepEqual(status.preview(route('gone', 'web')), [
    'Service app/gone: there is no such object yet (NoMatchingParent)',
  ]);
  assert.deepEqual(status.preview(route('web', 'gone')), [
    'Service app/web: spec.rules[0].backendRefs[0]: there is no Service app/gone (BackendNotFound)',
  ]);
  assert.deepEqual(status.preview({ kind: 'Server', metadata: { name: 'x' } }), []);
});
