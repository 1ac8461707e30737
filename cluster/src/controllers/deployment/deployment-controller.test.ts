import assert from 'node:assert/strict';
import test from 'node:test';
import {
  CORE_EVENTS,
  type CoreEvent,
  DEPLOYMENTS,
  type Deployment,
  PODS,
  type Pod,
  REPLICA_SETS,
  type ReplicaSet,
} from '@tulle/api';
import { controllerOf } from '../ownership.ts';
import { isPodReady } from '../pod-state.ts';
import { type HollowCluster, reached, startHollowCluster, status } from '../testing/hollow-cluster.ts';
import { REVISION } from './revisions.ts';

const labels = { app: 'web' };

function deployment(replicas: number, image = 'web:1', changes: object = {}) {
  const template = { metadata: { labels }, spec: { containers: [{ name: 'web', image }] } };
  return { metadata: { name: 'web' }, spec: { replicas, selector: { matchLabels: labels }, template, ...changes } };
}

const isDone = ([one]: Deployment[]) =>
  one?.status?.observedGeneration === one?.metadata.generation &&
  one?.status?.updatedReplicas === one?.spec?.replicas &&
  one?.status?.replicas === one?.spec?.replicas &&
  one?.status?.availableReplicas === one?.spec?.replicas;

function setImage({ client, namespace }: HollowCluster, image: string, changes: object = {}): Promise<Deployment> {
  const template = { spec: { containers: [{ name: 'web', image }] } };
  return client.patch(DEPLOYMENTS, 'web', namespace, { spec: { template, ...changes } }, 'strategic');
}

const images = (pods: Pod[]) => [...new Set(pods.map((pod) => pod.spec?.containers[0]?.image))];

test('a Deployment comes up and says so as kubectl rollout status wants it', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t);
  await client.create(DEPLOYMENTS, deployment(3), { namespace });
  const [made] = await until<Deployment>(DEPLOYMENTS, isDone);
  const conditions = made?.status?.conditions?.map((one) => `${one.type} ${one.status} ${one.reason}`).sort();
  assert.deepEqual(conditions, ['Available True MinimumReplicasAvailable', 'Progressing True NewReplicaSetAvailable']);
  assert.equal(made?.metadata.annotations?.[REVISION], '1');
  const events = await until<CoreEvent>(CORE_EVENTS, (all) => all.some(({ reason }) => reason === 'ScalingReplicaSet'));
  const { message } = events.find(({ reason }) => reason === 'ScalingReplicaSet') as CoreEvent;
  assert.match(message ?? '', /^Scaled up replica set web-\w{10} from 0 to 3$/);
});

test('a rolling update stays within its bounds and ends with the new pods alone', async (t) => {
  const cluster = await startHollowCluster(t);
  const { client, namespace, until, reflector } = cluster;
  const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } };
  await client.create(DEPLOYMENTS, deployment(4, 'web:1', { strategy }), { namespace });
  await until<Deployment>(DEPLOYMENTS, isDone);
  const pods = reflector<Pod>(PODS);
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  await pods.synced;
  pods.subscribe(() => {
    const alive = pods.list().filter(({ metadata }) => !metadata.deletionTimestamp);
    least = Math.min(least, alive.filter(isPodReady).length);
    most = Math.max(most, alive.length);
  });
  await setImage(cluster, 'web:2');
  await until<Deployment>(DEPLOYMENTS, isDone);
  await until<Pod>(PODS, (all) => all.length === 4 && images(all).join() === 'web:2');
  assert.ok(least >= 4, `only ${least} were ready`);
  assert.ok(most <= 5, `${most} at once`);
});

test('a rollout whose pods do not become ready keeps the old ones, and can be undone', async (t) => {
  const run = (pod: Pod) => status('Running', pod.spec?.containers[0]?.image !== 'web:bad');
  const cluster = await startHollowCluster(t, { run });
  const { client, namespace, until } = cluster;
  await client.create(DEPLOYMENTS, deployment(3), { namespace });
  await until<Deployment>(DEPLOYMENTS, isDone);
  await setImage(cluster, 'web:bad');
  const [stuck] = await until<Deployment>(DEPLOYMENTS, ([one]) => one?.status?.updatedReplicas === 1);
  assert.equal(stuck?.status?.availableReplicas, 3);
  await setImage(cluster, 'web:1');
  await until<Deployment>(DEPLOYMENTS, isDone);
  const sets = await until<ReplicaSet>(REPLICA_SETS, (all) => all.length === 2);
  const revisions = sets.map(({ metadata, spec }) => [spec?.replicas, metadata.annotations?.[REVISION]]);
  assert.deepEqual(revisions.sort(), [
    [0, '2'],
    [3, '3'],
  ]);
});

test('Recreate starts the new pods when the last old one is gone', async (t) => {
  const cluster = await startHollowCluster(t);
  const { client, namespace, until, reflector } = cluster;
  await client.create(DEPLOYMENTS, deployment(2, 'web:1', { strategy: { type: 'Recreate' } }), { namespace });
  await until<Deployment>(DEPLOYMENTS, isDone);
  const pods = reflector<Pod>(PODS);
  await pods.synced;
  const mixed: string[][] = [];
  pods.subscribe(() => {
    const present = images(pods.list()) as string[];
    if (present.length > 1) mixed.push(present);
  });
  await setImage(cluster, 'web:2');
  await until<Deployment>(DEPLOYMENTS, isDone);
  assert.deepEqual(images(await reached(pods, (all) => all.length === 2 && all.every(isPodReady))), ['web:2']);
  assert.deepEqual(mixed, []);
});

test('a paused Deployment is scaled and not rolled out until it is resumed', async (t) => {
  const cluster = await startHollowCluster(t);
  const { client, namespace, until } = cluster;
  await client.create(DEPLOYMENTS, deployment(1), { namespace });
  await until<Deployment>(DEPLOYMENTS, isDone);
  await setImage(cluster, 'web:2', { paused: true, replicas: 3 });
  const [paused] = await until<Deployment>(DEPLOYMENTS, ([one]) => one?.status?.availableReplicas === 3);
  assert.equal(paused?.status?.updatedReplicas, 0);
  await client.patch(DEPLOYMENTS, 'web', namespace, { spec: { paused: null } }, 'merge');
  await until<Deployment>(DEPLOYMENTS, isDone);
});

test('scaling changes the number of pods without a new revision', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t);
  await client.create(DEPLOYMENTS, deployment(1), { namespace });
  await until<Deployment>(DEPLOYMENTS, isDone);
  for (const replicas of [5, 2, 0]) {
    await client.patch(DEPLOYMENTS, 'web', namespace, { spec: { replicas } }, 'merge', { subresource: 'scale' });
    await until<Deployment>(
      DEPLOYMENTS,
      (all) => all[0]?.spec?.replicas === replicas && (replicas === 0 || isDone(all)),
    );
    await until<Pod>(PODS, (pods) => pods.length === replicas);
  }
  assert.equal((await client.list<ReplicaSet>(REPLICA_SETS, { namespace })).items.length, 1);
});

test('a deleted pod is replaced, an orphan adopted, a relabelled one let go', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t);
  await client.create(DEPLOYMENTS, deployment(2), { namespace });
  await until<Deployment>(DEPLOYMENTS, isDone);
  const [first, second] = await until<Pod>(PODS, (pods) => pods.length === 2);
  await client.delete(PODS, first?.metadata.name ?? '', namespace);
  await until<Pod>(
    PODS,
    (pods) => pods.length === 2 && !pods.some(({ metadata }) => metadata.uid === first?.metadata.uid),
  );

  const name = second?.metadata.name ?? '';
  await client.patch(PODS, name, namespace, { metadata: { labels: { app: 'debug' } } }, 'merge');
  const three = await until<Pod>(PODS, (pods) => pods.length === 3 && pods.some((pod) => !controllerOf(pod)));
  assert.deepEqual(
    three.filter((pod) => !controllerOf(pod)).map(({ metadata }) => metadata.name),
    [name],
  );

  await client.patch(PODS, name, namespace, { metadata: { labels } }, 'merge');
  await until<Pod>(PODS, (pods) => pods.length === 2 && pods.every((pod) => controllerOf(pod)));
});

test('old revisions beyond the limit are deleted', async (t) => {
  const cluster = await startHollowCluster(t);
  const { client, namespace, until } = cluster;
  await client.create(DEPLOYMENTS, deployment(1, 'web:1', { revisionHistoryLimit: 1 }), { namespace });
  for (const image of ['web:2', 'web:3', 'web:4']) {
    await until<Deployment>(DEPLOYMENTS, isDone);
    await setImage(cluster, image);
  }
  await until<Deployment>(DEPLOYMENTS, isDone);
  const sets = await until<ReplicaSet>(REPLICA_SETS, (all) => all.length === 2);
  assert.deepEqual(sets.map((set) => set.spec?.template?.spec?.containers[0]?.image).sort(), ['web:3', 'web:4']);
});

test('deleting a Deployment takes its ReplicaSets and pods with it', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t);
  await client.create(DEPLOYMENTS, deployment(2), { namespace });
  await until<Deployment>(DEPLOYMENTS, isDone);
  await client.delete(DEPLOYMENTS, 'web', namespace, { propagationPolicy: 'Foreground' });
  await until(DEPLOYMENTS, (all) => all.length === 0);
  await until(REPLICA_SETS, (all) => all.length === 0);
  await until(PODS, (all) => all.length === 0);
});

test('a template that the server refuses shows as ReplicaFailure', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t);
  const template = {
    metadata: { labels },
    spec: { serviceAccountName: 'nobody', containers: [{ name: 'web', image: 'i' }] },
  };
  await client.create(DEPLOYMENTS, deployment(2, 'web:1', { template }), { namespace });
  const [failed] = await until<Deployment>(DEPLOYMENTS, ([one]) =>
    Boolean(one?.status?.conditions?.some(({ type }) => type === 'ReplicaFailure')),
  );
  const condition = failed?.status?.conditions?.find(({ type }) => type === 'ReplicaFailure');
  assert.equal(condition?.reason, 'FailedCreate');
  assert.match(condition?.message ?? '', /nobody/);
});
