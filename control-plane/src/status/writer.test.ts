import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EGRESS_NETWORKS, type KubeObject, MeshError } from '@tulle/api';
import type { Client } from '@tulle/client';
import { MetricRegistry } from '../metric-registry.ts';
import { createStatusWriter } from './writer.ts';

/** An API server with objects `a`, `b`, … and what is wanted of them. */
function world(options: { answer?: (object: KubeObject, status: object) => KubeObject } = {}) {
  const objects = new Map<string, KubeObject>();
  const wants = new Map<string, Record<string, unknown>>();
  const requests: { path: string; body: { metadata: object; status: object } }[] = [];
  const client = {
    request: async (_method: string, path: string, request: { body: { metadata: object; status: object } }) => {
      requests.push({ path, body: request.body });
      const name = path.split('/').at(-2)!;
      const object = (options.answer ?? ((was, status) => ({ ...was, status })))(
        objects.get(name)!,
        request.body.status,
      );
      objects.set(name, { ...object, metadata: { ...object.metadata, resourceVersion: String(requests.length + 1) } });
      return { json: async () => object };
    },
  } as unknown as Pick<Client, 'request'>;
  const writer = createStatusWriter({
    client,
    wanted: (key) => (objects.has(key) ? { object: objects.get(key)!, status: wants.get(key)! } : undefined),
    kindOf: () => EGRESS_NETWORKS,
    logger: { debug() {}, warn() {} },
    metrics: new MetricRegistry(),
  });
  const put = (name: string, status: Record<string, unknown>) => {
    const metadata = { name, namespace: 'app', resourceVersion: '1' };
    objects.set(name, { apiVersion: 'policy.linkerd.io/v1alpha1', kind: 'EgressNetwork', metadata });
    wants.set(name, status);
  };
  return { writer, requests, put, objects, wants };
}

const conditions = (reason: string, at = 'now') => ({ conditions: [{ reason, lastTransitionTime: at }] });

test('writes what differs, with the version that it looked at, and nothing that is as it should be', async () => {
  const { writer, requests, put, wants } = world();
  put('a', conditions('One'));
  writer.push(['a', 'gone']);
  writer.setActive(true);
  await writer.idle();
  const path = '/apis/policy.linkerd.io/v1alpha1/namespaces/app/egressnetworks/a/status';
  assert.deepEqual(requests, [
    {
      path,
      body: {
        apiVersion: 'policy.linkerd.io/v1alpha1',
        kind: 'EgressNetwork',
        metadata: { name: 'a', resourceVersion: '1' },
        status: conditions('One'),
      },
    },
  ]);
  wants.set('a', conditions('One', 'later'));
  writer.push(['a']);
  await writer.idle();
  assert.equal(requests.length, 1, 'a new time alone is no change');
  wants.set('a', conditions('Two'));
  writer.push(['a']);
  await writer.idle();
  assert.equal(requests.length, 2);
});

test('writes nothing until it may, and nothing after it may not any more', async () => {
  const { writer, requests, put } = world();
  put('a', conditions('One'));
  writer.push(['a']);
  await new Promise(setImmediate);
  assert.equal(requests.length, 0);
  writer.setActive(true);
  await writer.idle();
  writer.setActive(false);
  put('b', conditions('One'));
  writer.push(['b']);
  await new Promise(setImmediate);
  assert.equal(requests.length, 1);
});

test('does not write again what the server does not keep', async () => {
  const { writer, requests, put, wants } = world({ answer: (object) => ({ ...object, status: { conditions: [] } }) });
  put('a', conditions('One'));
  writer.setActive(true);
  for (let i = 0; i < 3; i++) {
    writer.push(['a']);
    await writer.idle();
  }
  assert.equal(requests.length, 1);
  wants.set('a', conditions('Two'));
  writer.push(['a']);
  await writer.idle();
  assert.equal(requests.length, 2);
});

test('tries again after a failure, later each time, and not for an object that is gone', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let failure: MeshError | undefined = new MeshError('UNAVAILABLE', 'away');
  const { writer, requests, put } = world({
    answer(object, status) {
      if (failure) throw failure;
      return { ...object, status };
    },
  });
  put('a', conditions('One'));
  writer.setActive(true);
  writer.push(['a']);
  await writer.idle();
  assert.equal(requests.length, 1);
  writer.push(['a']);
  await writer.idle();
  assert.equal(requests.length, 1, 'waits');
  t.mock.timers.tick(500);
  await writer.idle();
  assert.equal(requests.length, 2);
  t.mock.timers.tick(499);
  await writer.idle();
  assert.equal(requests.length, 2, 'waits longer');
  failure = undefined;
  t.mock.timers.tick(501);
  await writer.idle();
  assert.equal(requests.length, 3);

  failure = new MeshError('NOT_FOUND', 'gone');
  put('b', conditions('One'));
  writer.push(['b']);
  await writer.idle();
  t.mock.timers.tick(120_000);
  await writer.idle();
  assert.equal(requests.length, 4);
});

test('writes a burst at once and the rest at its pace', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  t.mock.method(performance, 'now', () => 0);
  const { writer, requests, put } = world();
  const names = Array.from({ length: 150 }, (_, i) => `o${i}`);
  for (const name of names) put(name, conditions('One'));
  writer.push(names);
  writer.setActive(true);
  for (let i = 0; i < 100; i++) await new Promise(setImmediate);
  assert.equal(requests.length, 100);
});
