import assert from 'node:assert/strict';
import test from 'node:test';
import {
  CONFIG_MAPS,
  type ConfigMap,
  ENDPOINT_SLICES,
  ENDPOINTS,
  type EndpointSlice,
  type Endpoints,
  LEASES,
  type Lease,
  NAMESPACES,
  type Namespace,
  NODES,
  type Node,
  PODS,
  type Pod,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '@tulle/api';
import { startHollowCluster, status } from './testing/hollow-cluster.ts';

const labels = { app: 'a' };
const spec = { containers: [{ name: 'c', image: 'i', ports: [{ name: 'http', containerPort: 8080 }] }] };

test('every namespace has its service account and the root certificate, again when they are deleted', async (t) => {
  const { client, server, namespace, until } = await startHollowCluster(t);
  await until(SERVICE_ACCOUNTS, (all) => all.some(({ metadata }) => metadata.name === 'default'));
  const isRoot = (all: ConfigMap[]) => all.some(({ data }) => data?.['ca.crt'] === server.pki.caPem);
  await until<ConfigMap>(CONFIG_MAPS, isRoot);
  await client.delete(SERVICE_ACCOUNTS, 'default', namespace);
  await client.patch(CONFIG_MAPS, 'kube-root-ca.crt', namespace, { data: { 'ca.crt': 'forged' } }, 'merge');
  await until<ConfigMap>(CONFIG_MAPS, isRoot);
  await until(SERVICE_ACCOUNTS, (all) => all.some(({ metadata }) => metadata.name === 'default'));
});

test('endpoints follow readiness, termination and the Service itself, in both families', async (t) => {
  const unready = new Set<string>();
  const run = (pod: Pod) => status('Running', !unready.has(pod.metadata.name));
  const { client, namespace, until, rerun } = await startHollowCluster(t, { run });
  const ports = [{ name: 'http', port: 80, targetPort: 'http' }];
  const service = { selector: labels, ports, ipFamilyPolicy: 'PreferDualStack' };
  await client.create(SERVICES, { metadata: { name: 'web' }, spec: service }, { namespace });
  for (const name of ['p1', 'p2']) await client.create(PODS, { metadata: { name, labels }, spec }, { namespace });
  const ready = (one: EndpointSlice) => one.endpoints?.filter(({ conditions }) => conditions?.ready).length ?? 0;
  const both = await until<EndpointSlice>(
    ENDPOINT_SLICES,
    (all) => all.length === 2 && all.every((one) => ready(one) === 2),
  );
  assert.deepEqual(both.map(({ addressType }) => addressType).sort(), ['IPv4', 'IPv6']);
  assert.deepEqual(both[0]?.ports, [{ name: 'http', port: 8080, protocol: 'TCP' }]);
  assert.equal(both[0]?.metadata.labels?.['kubernetes.io/service-name'], 'web');

  unready.add('p1');
  rerun();
  await until<EndpointSlice>(ENDPOINT_SLICES, (all) =>
    all.every((one) => one.endpoints?.length === 2 && ready(one) === 1),
  );
  const [object] = await until<Endpoints>(ENDPOINTS, ([one]) => one?.subsets?.[0]?.notReadyAddresses?.length === 1);
  assert.equal(object?.subsets?.[0]?.addresses?.length, 1);

  await client.delete(PODS, 'p1', namespace);
  await until<EndpointSlice>(ENDPOINT_SLICES, (all) => all.every((one) => one.endpoints?.length === 1));
  await client.patch(SERVICES, 'web', namespace, { spec: { selector: { app: 'other' } } }, 'merge');
  await until<EndpointSlice>(ENDPOINT_SLICES, (all) => all.length === 2 && all.every((one) => !one.endpoints?.length));
  await client.delete(SERVICES, 'web', namespace);
  await until(ENDPOINT_SLICES, (all) => all.length === 0);
  await until(ENDPOINTS, (all) => all.length === 0);
});

test('endpoints that somebody keeps for a Service without selector are mirrored', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t);
  const ports = [{ name: 'http', port: 80 }];
  await client.create(SERVICES, { metadata: { name: 'far' }, spec: { ports } }, { namespace });
  const subset = {
    addresses: [{ ip: '192.0.2.1' }],
    notReadyAddresses: [{ ip: '192.0.2.2' }],
    ports: [{ name: 'http', port: 8080 }],
  };
  await client.create(ENDPOINTS, { metadata: { name: 'far' }, subsets: [subset] }, { namespace });
  const [slice] = await until<EndpointSlice>(ENDPOINT_SLICES, ([one]) => one?.endpoints?.length === 2);
  assert.deepEqual(
    slice?.endpoints?.map(({ addresses, conditions }) => [addresses[0], conditions?.ready]),
    [
      ['192.0.2.1', true],
      ['192.0.2.2', false],
    ],
  );
  assert.equal(slice?.metadata.labels?.['kubernetes.io/service-name'], 'far');
  await client.patch(ENDPOINTS, 'far', namespace, { subsets: null }, 'merge');
  await until(ENDPOINT_SLICES, (all) => all.length === 0);
});

test('a namespace goes with all that is in it, and waits for finalizers', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t);
  await client.create(PODS, { metadata: { name: 'p' }, spec }, { namespace });
  await client.create(CONFIG_MAPS, { metadata: { name: 'held', finalizers: ['example.com/hold'] } }, { namespace });
  await client.delete(NAMESPACES, namespace);
  const conditionOf = (all: Namespace[]) =>
    all
      .find(({ metadata }) => metadata.name === namespace)
      ?.status?.conditions?.find(
        ({ type, status: state }) => type === 'NamespaceFinalizersRemaining' && state === 'True',
      );
  const waiting = await until<Namespace>(NAMESPACES, (all) => conditionOf(all) !== undefined);
  assert.match(conditionOf(waiting)?.message ?? '', /example\.com\/hold in 1 resource/);
  await until(PODS, (all) => all.length === 0);
  await client.patch(CONFIG_MAPS, 'held', namespace, { metadata: { finalizers: null } }, 'merge');
  await until(NAMESPACES, (all) => !all.some(({ metadata }) => metadata.name === namespace));
});

test('a pod that fits nowhere waits, says why, and is bound when a node fits', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t);
  await client.create(
    PODS,
    { metadata: { name: 'p' }, spec: { ...spec, nodeSelector: { gpu: 'yes' } } },
    { namespace },
  );
  const [waiting] = await until<Pod>(PODS, ([pod]) =>
    Boolean(pod?.status?.conditions?.some(({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable')),
  );
  const condition = waiting?.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  assert.equal(condition?.message, "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.");
  await client.patch(NODES, 'n1', undefined, { metadata: { labels: { gpu: 'yes' } } }, 'merge');
  await until<Pod>(PODS, ([pod]) => pod?.spec?.nodeName === 'n1');
});

test('a node that falls silent is tainted and its pods are not ready, until it is heard again', async (t) => {
  const now = { offsetMs: 0 };
  const at = () => Date.now() + now.offsetMs;
  const { client, namespace, until } = await startHollowCluster(t, { now: at });
  const renew = () => ({ renewTime: new Date(at()).toISOString().replace('Z', '000Z'), holderIdentity: 'n1' });
  const lease = await client.create<Lease>(
    LEASES,
    { metadata: { name: 'n1' }, spec: renew() },
    { namespace: 'kube-node-lease' },
  );
  await client.create(PODS, { metadata: { name: 'p' }, spec }, { namespace });
  const ready = (pod: Pod | undefined) => pod?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  await until<Pod>(PODS, ([pod]) => ready(pod) === 'True');

  now.offsetMs = 60_000;
  await client.patch(NODES, 'n1', undefined, { metadata: { labels: { touched: 'true' } } }, 'merge');
  await until<Pod>(PODS, ([pod]) => ready(pod) === 'False');
  const [silent] = await until<Node>(NODES, ([node]) => (node?.spec?.taints?.length ?? 0) === 2);
  assert.deepEqual(silent?.spec?.taints?.map(({ key, effect }) => `${key}:${effect}`).sort(), [
    'node.kubernetes.io/unreachable:NoExecute',
    'node.kubernetes.io/unreachable:NoSchedule',
  ]);

  await client.update(LEASES, { ...lease, spec: renew() });
  const conditions = [{ type: 'Ready', status: 'True' }];
  await client.patch(NODES, 'n1', undefined, { status: { conditions } }, 'strategic', { subresource: 'status' });
  await until<Node>(NODES, ([node]) => (node?.spec?.taints?.length ?? 0) === 0);
});

test('a cordoned node takes no pods, and pods leave a node whose taint they do not tolerate', async (t) => {
  const nodes = [{ name: 'n1' }, { name: 'n2' }];
  const { client, namespace, until } = await startHollowCluster(t, { nodes });
  await client.patch(NODES, 'n1', undefined, { spec: { unschedulable: true } }, 'merge');
  await until<Node>(NODES, ([node]) => node?.spec?.taints?.[0]?.key === 'node.kubernetes.io/unschedulable');
  for (const name of ['p1', 'p2']) await client.create(PODS, { metadata: { name }, spec }, { namespace });
  await until<Pod>(PODS, (all) => all.length === 2 && all.every((pod) => pod.spec?.nodeName === 'n2'));
  const taints = [{ key: 'maintenance', effect: 'NoExecute' }];
  await client.patch(NODES, 'n2', undefined, { spec: { taints } }, 'strategic');
  await until(PODS, (all) => all.length === 0);
});
