/** Requests, not connections, are balanced over the replicas of a Service; a key keeps to one, and a slow replica gets fewer. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import {
  agentOf,
  apply,
  deployPeers,
  installMesh,
  openCluster,
  podsOf,
  type TestCluster,
  until,
  untilDeploymentReady,
} from './support/cluster.ts';
import { exampleOf } from './support/examples.ts';
import { PORTS, peerManifests } from './support/peers.ts';

const NAMESPACE = 'balancing';
const SECONDS = 15;
const SHARE_MIN = 0.01;
/** Replicas that have just started answer slowly for reasons of their own, which the balancer rightly counts. */
const WARM_UP_SECONDS = 5;

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

test('requests of one gRPC connection, and of eight of HTTP/1.1, reach all replicas', async () => {
  const agent = await agentOf(cluster, NAMESPACE, 'agent');
  const way = { httpUrl: `http://server:${PORTS.http}/`, grpcOrigin: `http://server:${PORTS.grpc}` };
  await agent.load({ ...way, seconds: WARM_UP_SECONDS });
  const { grpc, http } = await agent.load({ ...way, seconds: SECONDS });
  const names = (await podsOf(cluster, NAMESPACE, 'server')).map((pod) => pod.metadata.name ?? '');
  for (const report of [http, grpc]) {
    assert.equal(report?.failed, 0, JSON.stringify(report?.reasons));
    for (const name of names) {
      const share = (report?.pods[name] ?? 0) / (report?.sent ?? 1);
      // By connection, two of three would get nothing of gRPC; by latency, a moment's stall costs a replica some seconds of its share.
      assert.ok(share > SHARE_MIN, `${name} got ${(share * 100).toFixed(1)} %`);
    }
  }
});

test('requests with the same key go to the same replica', async () => {
  const agent = await agentOf(cluster, NAMESPACE, 'agent');
  const url = `http://server:${PORTS.http}/`;
  const podFor = async (user: string) =>
    JSON.parse((await agent.run('http', { url, headers: { 'x-user': user } })).body).pod as string;
  const [example] = exampleOf('load-balancing.md', 'hash') as [any];
  const services = await cluster.client.kindFor('v1', 'Service');
  const annotate = (annotations: Record<string, string | null>) =>
    cluster.client.patch(services, 'server', NAMESPACE, { metadata: { annotations } }, 'merge');
  await annotate(example.metadata.annotations);
  const users = Array.from({ length: 12 }, (_, i) => `user-${i}`);
  // One after the other: at once, a replica that has more than its share would pass some on.
  const podsOfUsers = async () => {
    const pods = [];
    for (const user of users) pods.push(await podFor(user));
    return pods;
  };
  await until('the key decides', async () => {
    const once = await podsOfUsers();
    return isDeepStrictEqual(await podsOfUsers(), once);
  });
  const first = await podsOfUsers();
  for (let i = 0; i < 10; i++) assert.deepEqual(await podsOfUsers(), first);
  assert.ok(new Set(first).size > 1, 'all users on one replica');
  await annotate(Object.fromEntries(Object.keys(example.metadata.annotations).map((key) => [key, null])));
});

test('a replica that answers slowly gets fewer requests than its share', async () => {
  // A second Deployment behind the same Service: the same label, but every answer takes 300 ms.
  const [, slow] = peerManifests({ name: 'slow', namespace: NAMESPACE, role: 'server', env: { DELAY_MS: '300' } });
  const deployment = slow as any;
  deployment.spec.selector.matchLabels = { app: 'server', speed: 'slow' };
  deployment.spec.template.metadata.labels = { app: 'server', speed: 'slow' };
  deployment.spec.template.spec.serviceAccountName = 'server';
  deployment.spec.template.spec.containers[0].readinessProbe = { tcpSocket: { port: PORTS.http }, periodSeconds: 1 };
  await apply(cluster, [deployment]);
  await untilDeploymentReady(cluster, NAMESPACE, 'slow');
  const agent = await agentOf(cluster, NAMESPACE, 'agent');
  const { grpc } = await agent.load({ grpcOrigin: `http://server:${PORTS.grpc}`, seconds: SECONDS });
  const slowPods = (await podsOf(cluster, NAMESPACE, 'server')).filter((pod) => pod.metadata.labels?.speed === 'slow');
  const share = (grpc?.pods[slowPods[0]?.metadata.name ?? ''] ?? 0) / (grpc?.sent ?? 1);
  assert.equal(grpc?.failed, 0, JSON.stringify(grpc?.reasons));
  assert.ok(share < 0.125, `the slow one of four got ${(share * 100).toFixed(1)} %`);
});
