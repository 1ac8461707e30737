import assert from 'node:assert/strict';
import test from 'node:test';
import {
  CONTROLLER_REVISIONS,
  CORE_EVENTS,
  type CoreEvent,
  CRON_JOBS,
  type CronJob,
  DAEMON_SETS,
  type DaemonSet,
  JOBS,
  type Job,
  NODES,
  POD_DISRUPTION_BUDGETS,
  PODS,
  type Pod,
  type PodDisruptionBudget,
  STATEFUL_SETS,
  type StatefulSet,
} from '@tulle/api';
import { reached, startHollowCluster, status } from './testing/hollow-cluster.ts';

const labels = { app: 'a' };
const container = { name: 'c', image: 'i:1' };
const template = { metadata: { labels }, spec: { containers: [container] } };
const selector = { matchLabels: labels };
const names = (pods: Pod[]) => pods.map(({ metadata }) => metadata.name);
const alive = (pods: Pod[]) => pods.filter(({ metadata }) => !metadata.deletionTimestamp);

test('a StatefulSet makes its pods in order, with names that last, and updates them in reverse', async (t) => {
  const { client, namespace, until, reflector } = await startHollowCluster(t);
  const order: string[] = [];
  const pods = reflector<Pod>(PODS);
  pods.subscribe(({ type, object }) => {
    if (type === 'added') order.push(object.metadata.name);
  });
  const spec = { replicas: 3, serviceName: 'db', selector, template };
  await client.create(STATEFUL_SETS, { metadata: { name: 'db' }, spec }, { namespace });
  const isDone = ([one]: StatefulSet[]) =>
    one?.status?.observedGeneration === one?.metadata.generation &&
    one?.status?.readyReplicas === one?.spec?.replicas &&
    one?.status?.currentRevision === one?.status?.updateRevision;
  await until<StatefulSet>(STATEFUL_SETS, isDone);
  await reached(pods, () => order.length === 3);
  assert.deepEqual(order, ['db-0', 'db-1', 'db-2']);
  assert.equal(pods.get(`${namespace}/db-1`)?.spec?.hostname, 'db-1');
  assert.equal(pods.get(`${namespace}/db-1`)?.spec?.subdomain, 'db');

  const image = { spec: { template: { spec: { containers: [{ name: 'c', image: 'i:2' }] } } } };
  await client.patch(STATEFUL_SETS, 'db', namespace, image, 'strategic');
  await until<StatefulSet>(STATEFUL_SETS, isDone);
  await reached(pods, () => order.length === 6);
  assert.deepEqual(order.slice(3), ['db-2', 'db-1', 'db-0']);
  await until(CONTROLLER_REVISIONS, (all) => all.length === 2);

  await client.patch(STATEFUL_SETS, 'db', namespace, { spec: { replicas: 1 } }, 'merge');
  await until<Pod>(PODS, (all) => names(all).join() === 'db-0');
});

test('a DaemonSet has one pod on every node that fits, and rolls over node by node', async (t) => {
  const nodes = ['n1', 'n2', 'n3'].map((name) => ({ name, labels: { disk: name === 'n3' ? 'hdd' : 'ssd' } }));
  const { client, namespace, until } = await startHollowCluster(t, { nodes });
  const spec = { selector, template: { ...template, spec: { ...template.spec, nodeSelector: { disk: 'ssd' } } } };
  await client.create(DAEMON_SETS, { metadata: { name: 'ds' }, spec }, { namespace });
  const isDone = ([one]: DaemonSet[]) =>
    one?.status?.observedGeneration === one?.metadata.generation &&
    one?.status?.desiredNumberScheduled === one?.status?.updatedNumberScheduled &&
    (one?.status?.desiredNumberScheduled ?? 0) > 0 &&
    one?.status?.numberAvailable === one?.status?.desiredNumberScheduled;
  const [two] = await until<DaemonSet>(DAEMON_SETS, isDone);
  assert.equal(two?.status?.desiredNumberScheduled, 2);

  await client.patch(NODES, 'n3', undefined, { metadata: { labels: { disk: 'ssd' } } }, 'merge');
  const pods = await until<Pod>(PODS, (all) => all.length === 3 && all.every((pod) => pod.spec?.nodeName));
  assert.deepEqual(pods.map((pod) => pod.spec?.nodeName).sort(), ['n1', 'n2', 'n3']);

  const image = { spec: { template: { spec: { containers: [{ name: 'c', image: 'i:2' }] } } } };
  await client.patch(DAEMON_SETS, 'ds', namespace, image, 'strategic');
  await until<DaemonSet>(DAEMON_SETS, isDone);
  await until<Pod>(PODS, (all) => all.length === 3 && all.every((pod) => pod.spec?.containers[0]?.image === 'i:2'));
  await client.patch(NODES, 'n1', undefined, { metadata: { labels: { disk: 'hdd' } } }, 'merge');
  await until<Pod>(PODS, (all) => all.length === 2);
});

test('a Job runs until it has enough successes, and goes when its time is over', async (t) => {
  const ends = new Map<string, string>();
  const run = (pod: Pod) => status(ends.get(pod.metadata.name) ?? 'Running', true);
  const { client, namespace, until, rerun } = await startHollowCluster(t, { run });
  const jobTemplate = { spec: { restartPolicy: 'Never', containers: [container] } };
  const spec = { completions: 2, parallelism: 1, ttlSecondsAfterFinished: 0, template: jobTemplate };
  await client.create(JOBS, { metadata: { name: 'j' }, spec }, { namespace });
  for (const count of [1, 2]) {
    const all = await until<Pod>(
      PODS,
      (pods) => pods.length === count && pods.every((pod) => pod.status?.phase !== 'Pending'),
    );
    for (const pod of all) ends.set(pod.metadata.name, 'Succeeded');
    rerun();
  }
  await until<CoreEvent>(CORE_EVENTS, (all) => all.some(({ reason }) => reason === 'Completed'));
  await until<Job>(JOBS, (all) => all.length === 0);
  await until<Pod>(PODS, (all) => all.length === 0);
});

test('a Job whose pods fail too often has failed', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t, { run: () => status('Failed', false) });
  const spec = { backoffLimit: 0, template: { spec: { restartPolicy: 'Never', containers: [container] } } };
  await client.create(JOBS, { metadata: { name: 'j' }, spec }, { namespace });
  const [job] = await until<Job>(JOBS, ([one]) =>
    Boolean(one?.status?.conditions?.some(({ type }) => type === 'Failed')),
  );
  assert.equal(job?.status?.conditions?.find(({ type }) => type === 'Failed')?.reason, 'BackoffLimitExceeded');
  assert.equal(job?.status?.failed, 1);
});

test('a CronJob makes a Job for the last time that it missed', async (t) => {
  const now = { offsetMs: 0 };
  const { client, namespace, until } = await startHollowCluster(t, { now: () => Date.now() + now.offsetMs });
  const jobTemplate = { spec: { template: { spec: { restartPolicy: 'Never', containers: [container] } } } };
  const spec = { schedule: '* * * * *', concurrencyPolicy: 'Forbid', jobTemplate };
  await client.create(CRON_JOBS, { metadata: { name: 'cj' }, spec }, { namespace });
  now.offsetMs = 10 * 60_000;
  await client.patch(CRON_JOBS, 'cj', namespace, { metadata: { labels: { touched: 'true' } } }, 'merge');
  const [job] = await until<Job>(JOBS, (all) => all.length === 1);
  const minute = Math.floor((Date.now() + now.offsetMs) / 60_000);
  assert.ok([`cj-${minute}`, `cj-${minute - 1}`].includes(job?.metadata.name ?? ''), job?.metadata.name);
  await until<CronJob>(
    CRON_JOBS,
    ([one]) => one?.status?.active?.length === 1 && one.status.lastScheduleTime !== undefined,
  );
});

test('a PodDisruptionBudget counts how many pods may go', async (t) => {
  const { client, namespace, until } = await startHollowCluster(t);
  await client.create(
    STATEFUL_SETS,
    { metadata: { name: 's' }, spec: { replicas: 3, serviceName: 's', selector, template } },
    { namespace },
  );
  await client.create(
    POD_DISRUPTION_BUDGETS,
    { metadata: { name: 'b' }, spec: { minAvailable: '50%', selector } },
    { namespace },
  );
  const [budget] = await until<PodDisruptionBudget>(
    POD_DISRUPTION_BUDGETS,
    ([one]) => one?.status?.currentHealthy === 3,
  );
  assert.deepEqual(
    [budget?.status?.expectedPods, budget?.status?.desiredHealthy, budget?.status?.disruptionsAllowed],
    [3, 2, 1],
  );
  assert.equal(alive(await until<Pod>(PODS, (all) => all.length === 3)).length, 3);
});
