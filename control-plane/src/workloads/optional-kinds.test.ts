import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Kind, KubeObject } from '@tulle/api';
import { createClient, loadKubeconfig } from '@tulle/client';
import { createLoggers } from '../logger.ts';
import { writeKubeconfig } from '../testing/control-plane.ts';
import { startFakeKubernetes } from '../testing/fake-kubernetes.ts';
import { ClusterState } from './cluster-state.ts';
import { startOptionalKinds } from './optional-kinds.ts';

const WIDGETS: Kind = { apiVersion: 'example.org/v1', kind: 'Widget', plural: 'widgets', namespaced: true };
const OLD_WIDGETS: Kind = { ...WIDGETS, apiVersion: 'example.org/v1beta1' };
const widget = (name: string): KubeObject => ({ metadata: { name, namespace: 'app' } });
const logger = createLoggers({ level: 'silent', format: 'json' }).of('workloads');

async function prepare(t: TestContext) {
  const kubernetes = await startFakeKubernetes(t);
  const stop = new AbortController();
  const client = createClient(loadKubeconfig({ path: writeKubeconfig(t, kubernetes.url) }));
  t.after(() => {
    stop.abort();
    client.close();
  });
  const heard: string[] = [];
  const waiters: (() => void)[] = [];
  const apply = (type: 'set' | 'delete', object: KubeObject) => {
    heard.push(`${type} ${object.metadata.name}`);
    for (const resume of waiters.splice(0)) resume();
  };
  const served: boolean[] = [];
  const serve = (isServed: boolean) => void served.push(isServed);
  const feed = { apply, serve, problems: () => [] };
  const source = { kind: WIDGETS, isOptional: true, feeds: [feed], known: new Set<string>() };
  const until = async (...events: string[]) => {
    while (!events.every((event) => heard.includes(event))) {
      await new Promise<void>((resolve) => waiters.push(resolve));
    }
    return heard.splice(0);
  };
  const start = () => startOptionalKinds(client, [source], logger, stop.signal, 10);
  return { kubernetes, client, stop, start, until, heard, served };
}

test('reads what is served before it is ready', async (t) => {
  const { kubernetes, start, heard } = await prepare(t);
  kubernetes.put(WIDGETS, widget('a'));
  await start();
  assert.deepEqual(heard, ['set a']);
});

test('watches a kind that comes later, deletes its objects when it goes, and takes it up again', async (t) => {
  const { kubernetes, start, heard, until, served } = await prepare(t);
  await start();
  assert.deepEqual(heard, []);
  kubernetes.put(WIDGETS, widget('a'));
  kubernetes.put(WIDGETS, widget('b'));
  await until('set a', 'set b');
  kubernetes.serve(WIDGETS, false);
  assert.deepEqual((await until('delete a', 'delete b')).sort(), ['delete a', 'delete b']);
  kubernetes.serve(WIDGETS);
  await until('set a', 'set b');
  assert.deepEqual(served, [true, false, true]);
});

test('takes another version where the one it wants is not served', async (t) => {
  const { kubernetes, start, until } = await prepare(t);
  kubernetes.put(OLD_WIDGETS, widget('a'));
  kubernetes.put(OLD_WIDGETS, widget('gone'));
  await start();
  await until('set a', 'set gone');
  kubernetes.put(WIDGETS, widget('a'));
  await until('set a', 'delete gone');
});

test('is not ready while discovery fails', async (t) => {
  const { kubernetes, start, heard } = await prepare(t);
  kubernetes.put(WIDGETS, widget('a'));
  kubernetes.setAway(true);
  const ready = start();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(heard, []);
  kubernetes.setAway(false);
  await ready;
  assert.deepEqual(heard, ['set a']);
});

test('takes a kind for missing only once the server that lacks it has been ready', async (t) => {
  const { kubernetes, start, heard } = await prepare(t);
  let asked = 0;
  kubernetes.isReady = () => {
    asked++;
    if (asked === 2) kubernetes.put(WIDGETS, widget('a'));
    return asked === 2;
  };
  await start();
  assert.deepEqual([heard, asked], [['set a'], 2]);
});

test('an object that cannot be read counts as deleted, and its topics are told', async (t) => {
  const { kubernetes, client, stop } = await prepare(t);
  const state = new ClusterState();
  const told: string[] = [];
  state.onChange((topics) => told.push(...topics));
  const known = new Map<string, KubeObject>();
  state.watch(WIDGETS, (type, object) => {
    if (type === 'set' && object.spec?.isBad) throw new Error('spec.isBad: found true');
    if (type === 'set') known.set(object.metadata.name, object);
    else known.delete(object.metadata.name);
    return [`widget/${type}/${object.metadata.name}`];
  });
  kubernetes.put(WIDGETS, widget('a'));
  await state.start(client, logger, stop.signal);
  assert.deepEqual([...known.keys()], ['a']);
  const { promise, resolve } = Promise.withResolvers<void>();
  state.onChange((topics) => topics.has('widget/delete/a') && resolve());
  kubernetes.put(WIDGETS, { ...widget('a'), spec: { isBad: true } });
  await promise;
  assert.deepEqual([...known.keys()], []);
  assert.deepEqual(told, ['widget/set/a', 'widget/delete/a']);
});
