/** What a client notices when pods come, go and die: 200 requests/s of HTTP/1.1 and of gRPC each, without retries, for a minute. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { DEPLOYMENTS } from '@tulle/api';
import {
  deployPeers,
  enterNetwork,
  installMesh,
  openCluster,
  podsOf,
  type TestCluster,
  until,
  untilDeploymentReady,
} from './support/cluster.ts';
import { type LoadReports, underLoad } from './support/load.ts';
import { killPod } from './support/pod-processes.ts';

const NAMESPACE = 'failures';
const way = { namespace: NAMESPACE, agent: 'agent', server: 'server' };
/** Requests that can be on their way to one of three replicas at 200/s when it dies: more than 50 ms' worth would be a queue. */
const IN_FLIGHT_MAX = 10;
/** Share of requests that a black-holed replica of three may cost before its proxy's peers and its probes give it up. */
const BLACK_HOLE_SHARE_MAX = 0.02;
const skip = process.env.TEST_KUBECONFIG ? 'kills processes of the one-machine cluster' : false;

let cluster: TestCluster;

before(async () => {
  cluster = await openCluster();
  await installMesh(cluster);
  await deployPeers(cluster, NAMESPACE, [
    { name: 'server', role: 'server', replicas: 3 },
    { name: 'agent', role: 'agent' },
  ]);
});

after(() => cluster?.[Symbol.asyncDispose]());

function assertNoneFailed({ http, grpc }: LoadReports): void {
  assert.equal(http.failed, 0, `HTTP: ${JSON.stringify(http.reasons)}`);
  assert.equal(grpc.failed, 0, `gRPC: ${JSON.stringify(grpc.reasons)}`);
}

async function scale(namespace: string, name: string, replicas: number): Promise<void> {
  await cluster.client.patch(DEPLOYMENTS, name, namespace, { spec: { replicas } }, 'merge');
}

/** What `kubectl rollout restart` does. */
async function restart(namespace: string, name: string): Promise<void> {
  const annotations = { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() };
  await cluster.client.patch(
    DEPLOYMENTS,
    name,
    namespace,
    { spec: { template: { metadata: { annotations } } } },
    'strategic',
  );
  await untilDeploymentReady(cluster, namespace, name);
}

test('scaling up and down loses no request', async () => {
  const reports = await underLoad(cluster, way, async () => {
    await delay(5000);
    await scale(NAMESPACE, 'server', 5);
    await untilDeploymentReady(cluster, NAMESPACE, 'server');
    await delay(5000);
    await scale(NAMESPACE, 'server', 2);
    await untilDeploymentReady(cluster, NAMESPACE, 'server');
    await delay(5000);
    await scale(NAMESPACE, 'server', 3);
    await untilDeploymentReady(cluster, NAMESPACE, 'server');
  });
  assertNoneFailed(reports);
});

test('a rolling restart of the application loses no request', async () => {
  const reports = await underLoad(cluster, way, async () => {
    await delay(5000);
    await restart(NAMESPACE, 'server');
  });
  assertNoneFailed(reports);
});

test('a rolling restart of the control plane loses no request', async () => {
  const reports = await underLoad(cluster, way, async () => {
    await delay(5000);
    await restart('linkerd', 'linkerd-destination');
  });
  assertNoneFailed(reports);
});

test('traffic goes on while the control plane is stopped for a minute', async () => {
  await scale('linkerd', 'linkerd-destination', 0);
  await until('the control plane is gone', async () => {
    const { items } = await cluster.client.list(
      { apiVersion: 'v1', kind: 'Pod', plural: 'pods', namespaced: true },
      { namespace: 'linkerd' },
    );
    return items.length === 0;
  });
  const reports = await underLoad(cluster, way, async () => {});
  await scale('linkerd', 'linkerd-destination', 1);
  await untilDeploymentReady(cluster, 'linkerd', 'linkerd-destination');
  assertNoneFailed(reports);
});

test('SIGKILL of all processes of a pod costs at most what is in flight on it', { skip }, async () => {
  const [victim] = await podsOf(cluster, NAMESPACE, 'server');
  const reports = await underLoad(cluster, way, async () => {
    await delay(10_000);
    assert.ok(killPod(victim?.metadata.name ?? '') > 0, 'the pod has processes');
  });
  assert.ok(reports.http.failed <= IN_FLIGHT_MAX, `HTTP: ${JSON.stringify(reports.http.reasons)}`);
  assert.ok(reports.grpc.failed <= IN_FLIGHT_MAX, `gRPC: ${JSON.stringify(reports.grpc.reasons)}`);
  await untilDeploymentReady(cluster, NAMESPACE, 'server');
});

test('a pod that is black-holed costs at most two requests in a hundred', { skip }, async () => {
  const [victim] = await podsOf(cluster, NAMESPACE, 'server');
  const nft = (...args: string[]) => execFileSync(...enterNetwork(cluster, 'nft', ...args));
  const reports = await underLoad(cluster, way, async () => {
    await delay(10_000);
    nft('add', 'table', 'inet', 'black-hole');
    for (const hook of ['forward', 'output', 'input']) {
      nft('add', 'chain', 'inet', 'black-hole', hook, `{ type filter hook ${hook} priority -300; }`);
      for (const ip of victim?.status.podIPs ?? []) {
        const family = ip.ip.includes(':') ? 'ip6' : 'ip';
        for (const side of ['saddr', 'daddr'])
          nft('add', 'rule', 'inet', 'black-hole', hook, family, side, ip.ip, 'drop');
      }
    }
  });
  nft('delete', 'table', 'inet', 'black-hole');
  for (const report of [reports.http, reports.grpc]) {
    const share = report.failed / report.sent;
    assert.ok(share <= BLACK_HOLE_SHARE_MAX, `${(share * 100).toFixed(2)} %: ${JSON.stringify(report.reasons)}`);
  }
});
