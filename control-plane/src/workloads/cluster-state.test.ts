import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KubeObject, PODS } from '@tulle/api';
import { createClient, loadKubeconfig } from '@tulle/client';
import { createLoggers } from '../logger.ts';
import { writeKubeconfig } from '../testing/control-plane.ts';
import { startFakeKubernetes } from '../testing/fake-kubernetes.ts';
import { pod } from '../testing/objects.ts';
import { ClusterState } from './cluster-state.ts';
import type { Topic } from './workload-index.ts';

test('a listener that throws keeps the object, and nobody else from hearing of it', () => {
  const state = new ClusterState();
  const heard: string[] = [];
  state.onChange(() => {
    throw new TypeError('a mistake');
  });
  state.onChange((topics) => void heard.push(...[...topics].filter((topic) => topic.startsWith('pod/'))));
  using _ = state.subscriptions.subscribe(['pod/app/web'], { wake: () => void heard.push('woken') });
  assert.throws(() => state.apply('Pod', 'set', pod('web')), { code: 'INTERNAL', message: 'a mistake' });
  assert.deepEqual(heard, ['pod/app/web', 'woken']);
  assert.ok(state.index.pod('app/web'));
});

test('watches on after a listener has failed, and deletes only what cannot be read', async (t) => {
  const kubernetes = await startFakeKubernetes(t);
  const client = createClient(loadKubeconfig({ path: writeKubeconfig(t, kubernetes.url) }));
  const stop = new AbortController();
  t.after(() => {
    stop.abort();
    client.close();
  });
  const state = new ClusterState();
  const events: string[] = [];
  state.watch(PODS, (type, { metadata }: KubeObject): Topic[] => {
    events.push(`${type} ${metadata.name}`);
    if (type === 'set' && metadata.name === 'odd') throw new Error('not read');
    return [`pod/app/${metadata.name}`];
  });
  state.onChange(() => {
    throw new Error('a mistake');
  });
  for (const name of ['a', 'odd', 'z']) kubernetes.put(PODS, pod(name));
  await state.start(client, createLoggers({ level: 'silent', format: 'json' }).of('workloads'), stop.signal);
  assert.deepEqual(events.sort(), ['delete odd', 'set a', 'set odd', 'set z']);
  for (const name of ['a', 'odd', 'z']) assert.ok(state.index.pod(`app/${name}`), name);
});
