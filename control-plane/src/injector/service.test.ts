import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CONFIG_MAPS, CORE_EVENTS, type Kind, type KubeObject, MeshError, NAMESPACES, REPLICA_SETS } from '@tulle/api';
import type { Client } from '@tulle/client';
import { MetricRegistry } from '../metric-registry.ts';
import { writeCertificate } from '../webhook/testing-certificate.ts';
import { createInjector, type Injector } from './service.ts';

const objects = new Map<Kind, KubeObject[]>([
  [
    CONFIG_MAPS,
    [{ metadata: { name: 'linkerd-config', namespace: 'linkerd' }, data: { values: 'identityTrustAnchorsPEM: root' } }],
  ],
  [
    NAMESPACES,
    [
      {
        metadata: {
          name: 'shop',
          annotations: { 'linkerd.io/inject': 'enabled', 'config.linkerd.io/opaque-ports': '9000' },
        },
      },
      { metadata: { name: 'plain' } },
    ],
  ],
  [
    REPLICA_SETS,
    [
      {
        metadata: {
          name: 'web-1',
          namespace: 'shop',
          ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'd', controller: true }],
        },
      },
    ],
  ],
]);
const events: KubeObject[] = [];
const eventWaiters: (() => void)[] = [];

/** What the injector asks of an API server, answered from the objects above. */
const client = {
  signal: new AbortController().signal,
  get: async (kind: Kind, name: string) => {
    const found = objects.get(kind)?.find(({ metadata }) => metadata.name === name);
    if (!found) throw new MeshError('NOT_FOUND', `${kind.plural} "${name}" not found`);
    return found;
  },
  pages: async function* (kind: Kind) {
    yield { items: objects.get(kind) ?? [], resourceVersion: '1' };
  },
  watch: async function* (_kind: Kind, _options: object, signal: AbortSignal) {
    await new Promise((done) => signal.addEventListener('abort', done, { once: true }));
    yield* [];
  },
  create: async (kind: Kind, object: KubeObject) => {
    assert.equal(kind, CORE_EVENTS);
    events.push(object);
    for (const wake of eventWaiters.splice(0)) wake();
    return object;
  },
} as unknown as Client;

describe('the webhook', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tulle-injector-'));
  const stop = new AbortController();
  const metrics = new MetricRegistry();
  let injector: Injector;

  before(async () => {
    await writeCertificate(folder, 'injector.test');
    const logger = { debug() {}, info() {}, warn() {} };
    injector = await createInjector(
      { client, controlPlaneNamespace: 'linkerd', address: '127.0.0.1:0', certDir: folder, logger, metrics },
      stop.signal,
    );
  });
  after(async () => {
    stop.abort();
    await injector[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  const post = (body: string, method = 'POST') =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const ca = readFileSync(join(folder, 'tls.crt'));
      const call = request(
        { host: '127.0.0.1', port: injector.port, ca, servername: 'injector.test', method, agent: false },
        (answer) => {
          let text = '';
          answer.on('data', (chunk) => {
            text += chunk;
          });
          answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text }));
        },
      );
      call.on('error', reject);
      call.end(body);
    });
  const review = (object: object, kind = 'Pod', namespace = 'shop', version = 'v1') =>
    JSON.stringify({
      apiVersion: `admission.k8s.io/${version}`,
      kind: 'AdmissionReview',
      request: { uid: 'u1', kind: { group: '', version: 'v1', kind }, namespace, object },
    });
  const pod = {
    metadata: {
      generateName: 'web-1-',
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-1', uid: 'r', controller: true }],
    },
    spec: { containers: [{ name: 'app' }] },
  };

  test('injects a pod, and records it on the Deployment', async () => {
    const recorded = new Promise<void>((done) => eventWaiters.push(done));
    const { status, body } = await post(review(pod));
    const { apiVersion, response } = JSON.parse(body);
    assert.equal(status, 200);
    assert.equal(apiVersion, 'admission.k8s.io/v1');
    assert.equal(response.uid, 'u1');
    assert.equal(response.allowed, true);
    const patch = JSON.parse(Buffer.from(response.patch, 'base64').toString());
    assert.ok(
      patch.some(
        ({ path, value }: { path: string; value: string }) => path.endsWith('proxy-deployment') && value === 'web',
      ),
    );
    await recorded;
    const event = events.at(-1)!;
    assert.equal(event.reason, 'Injected');
    assert.deepEqual(event.involvedObject, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name: 'web',
      uid: 'd',
      namespace: 'shop',
    });
  });

  test('says in an Event, in a warning and in metrics why a pod is not injected', async () => {
    const recorded = new Promise<void>((done) => eventWaiters.push(done));
    const bad = { ...pod, metadata: { ...pod.metadata, annotations: { 'config.linkerd.io/proxy-uid': '0' } } };
    const { response } = JSON.parse((await post(review(bad, 'Pod', 'shop', 'v1beta1'))).body);
    assert.equal(response.allowed, true);
    assert.match(response.warnings[0], /proxy-uid="0"/);
    await recorded;
    assert.equal(events.at(-1)?.reason, 'InjectionSkipped');
    assert.equal(events.at(-1)?.type, 'Warning');
    assert.match(
      metrics.render(),
      /proxy_inject_admission_responses_total\{[^}]*skip="true",skip_reason="invalid_annotation"\} 1/,
    );
  });

  test('gives a Service the opaque ports of its namespace, unless it has its own', async () => {
    const answer = async (metadata: object) => JSON.parse((await post(review({ metadata }, 'Service'))).body).response;
    assert.ok((await answer({ name: 'db' })).patch);
    assert.equal(
      (await answer({ name: 'db', annotations: { 'config.linkerd.io/opaque-ports': '1' } })).patch,
      undefined,
    );
  });

  test('lets through what it does not inject', async () => {
    assert.deepEqual(JSON.parse((await post(review(pod, 'ConfigMap'))).body).response, { uid: 'u1', allowed: true });
    assert.deepEqual(JSON.parse((await post(review(pod, 'Pod', 'plain'))).body).response, { uid: 'u1', allowed: true });
  });

  test('answers what is not a review with 400 and a reason', async () => {
    for (const body of [
      '',
      '{',
      '[]',
      'null',
      '{"kind":"AdmissionReview"}',
      '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}',
    ]) {
      const { status, body: text } = await post(body);
      assert.equal(status, 400, body);
      assert.match(text, /^read AdmissionReview: /);
    }
    assert.equal((await post('', 'GET')).status, 405);
  });

  test('refuses with a message when it cannot decide', async () => {
    for (const body of [review(pod, 'Pod', 'missing'), review(null as unknown as object)]) {
      const { response } = JSON.parse((await post(body)).body);
      assert.equal(response.allowed, false);
      assert.match(response.status.message, /^inject proxy: /);
    }
  });
});
