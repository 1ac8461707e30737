/** Life of a meshed pod: Jobs end, init containers reach the network, a bad annotation is said in an Event. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CORE_EVENTS, JOBS, type KubeObject, PODS, SERVICE_ACCOUNTS } from '@tulle/api';
import { apply, deployPeers, installMesh, openCluster, type TestCluster, until } from './support/cluster.ts';
import { namespaceManifest } from './support/peers.ts';

const NAMESPACE = 'pods';

let cluster: TestCluster;

before(async () => {
  cluster = await openCluster();
  await installMesh(cluster);
  await deployPeers(cluster, NAMESPACE, [{ name: 'server', role: 'server' }]);
});

after(() => cluster?.[Symbol.asyncDispose]());

/** A request from a shell, with nothing but bash: succeeds when the server answers 200. */
const REQUEST = `exec 3<>/dev/tcp/server/8080 && printf 'GET / HTTP/1.1\\r\\nHost: server\\r\\nConnection: close\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep ' 200 '`;

function job(name: string, spec: Record<string, unknown>, annotations: Record<string, string> = {}) {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, namespace: NAMESPACE },
    spec: {
      backoffLimit: 0,
      template: {
        metadata: { annotations: { 'linkerd.io/inject': 'enabled', ...annotations } },
        spec: { restartPolicy: 'Never', ...spec },
      },
    },
  };
}

function shell(name: string, script: string) {
  return { name, image: 'debian:12', command: ['/bin/bash', '-c', script] };
}

async function untilComplete(name: string): Promise<void> {
  await until(`job ${name} is complete`, async () => {
    const { status } = await cluster.client.get<KubeObject>(JOBS, name, NAMESPACE);
    assert.ok(!status?.failed, `job ${name} failed`);
    return (status?.succeeded ?? 0) === 1;
  });
}

test('a Job with a sidecar completes, and its request went through the mesh', async () => {
  await apply(cluster, [job('once', { containers: [shell('app', REQUEST)] })]);
  await untilComplete('once');
});

test('an init container reaches the network', async () => {
  const spec = { initContainers: [shell('first', REQUEST)], containers: [shell('app', 'true')] };
  await apply(cluster, [job('with-init', spec)]);
  await untilComplete('with-init');
});

test('a pod that asks for what cannot be is not injected, and an Event says why', async () => {
  const namespace = 'skipped';
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'on-host', namespace, annotations: { 'linkerd.io/inject': 'enabled' } },
    spec: { hostNetwork: true, containers: [shell('app', 'sleep 1000')] },
  };
  await apply(cluster, [namespaceManifest(namespace)]);
  await until('the namespace has its service account', async () => {
    await cluster.client.get(SERVICE_ACCOUNTS, 'default', namespace);
    return true;
  });
  await apply(cluster, [pod]);
  const { spec } = await cluster.client.get<KubeObject>(PODS, 'on-host', namespace);
  assert.equal(spec.containers.length, 1);
  assert.equal(spec.initContainers, undefined);
  await until('an Event says why', async () => {
    const { items } = await cluster.client.list<KubeObject>(CORE_EVENTS, { namespace });
    return items.some((e) => e.reason === 'InjectionSkipped' && String(e.message).includes('hostNetwork is enabled'));
  });
});
