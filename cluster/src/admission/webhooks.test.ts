import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import {
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  ENDPOINT_SLICES,
  MUTATING_WEBHOOK_CONFIGURATIONS,
  NAMESPACES,
  VALIDATING_WEBHOOK_CONFIGURATIONS,
} from '@tulle/api';
import { failureOf, startTestServer, type TestServer } from '../apiserver/testing/test-server.ts';
import type { Fields } from '../store/stored-object.ts';

type Answer = (request: Fields) => Fields;

interface Webhook {
  port: number;
  caBundle: string;
  requests: Fields[];
}

/** An HTTPS webhook under the name localhost, whose certificate is the test server's own. */
async function startWebhook(t: TestContext, { server }: TestServer, answer: Answer): Promise<Webhook> {
  const requests: Fields[] = [];
  const https = createServer(
    { cert: server.pki.server.certPem, key: server.pki.server.keyPem },
    async (incoming, outgoing) => {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const { request } = JSON.parse(Buffer.concat(chunks).toString());
      requests.push(request);
      const response = { uid: request.uid, allowed: true, ...answer(request) };
      outgoing.end(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response }));
    },
  );
  https.listen(0, '127.0.0.1');
  await once(https, 'listening');
  t.after(() => {
    https.closeAllConnections();
    https.close();
  });
  return {
    port: (https.address() as AddressInfo).port,
    caBundle: Buffer.from(server.pki.caPem).toString('base64'),
    requests,
  };
}

const patchOf = (...operations: Fields[]) => ({
  patchType: 'JSONPatch',
  patch: Buffer.from(JSON.stringify(operations)).toString('base64'),
});

function configuration(name: string, hooks: (Fields & { webhook: Webhook })[]): Fields {
  return {
    metadata: { name },
    webhooks: hooks.map(({ webhook, ...more }, i) => ({
      name: `w${i}.example.com`,
      clientConfig: { url: `https://localhost:${webhook.port}/hook`, caBundle: webhook.caBundle },
      rules: [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] }],
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
      ...more,
    })),
  };
}

test('mutating webhooks patch in order, and one that asks for it sees later changes', async (t) => {
  const fixture = await startTestServer(t);
  const { admin } = fixture;
  const first = await startWebhook(t, fixture, ({ object }) =>
    patchOf({ op: 'add', path: '/data/seen', value: Object.keys(object.data).sort().join() }),
  );
  const second = await startWebhook(t, fixture, () => ({
    ...patchOf({ op: 'add', path: '/data/second', value: '1' }),
    warnings: ['mind the gap'],
  }));
  await admin.create(
    MUTATING_WEBHOOK_CONFIGURATIONS,
    configuration('m', [{ webhook: first, reinvocationPolicy: 'IfNeeded' }, { webhook: second }]),
  );
  const answer = await admin.request('POST', '/api/v1/namespaces/default/configmaps', {
    body: { metadata: { name: 'x' }, data: { own: '1' } },
  });
  const { data, metadata } = await answer.json<Fields>();
  assert.deepEqual(data, { own: '1', second: '1', seen: 'own,second,seen' });
  assert.match(String(answer.headers.warning), /mind the gap/);
  assert.equal(JSON.stringify(metadata.managedFields).includes('second'), false);
  const [request] = first.requests;
  assert.deepEqual(
    [
      request!.operation,
      request!.namespace,
      request!.name,
      request!.userInfo.username,
      request!.dryRun,
      request!.resource.resource,
    ],
    ['CREATE', 'default', 'x', 'admin', false, 'configmaps'],
  );
});

test('a validating webhook refuses with its own words; selectors keep others out', async (t) => {
  const fixture = await startTestServer(t);
  const { admin } = fixture;
  const webhook = await startWebhook(t, fixture, () => ({ allowed: false, status: { message: 'not on a Sunday' } }));
  const selectors = {
    namespaceSelector: { matchLabels: { strict: 'yes' } },
    objectSelector: { matchExpressions: [{ key: 'free', operator: 'DoesNotExist' }] },
  };
  await admin.create(VALIDATING_WEBHOOK_CONFIGURATIONS, configuration('v', [{ webhook, ...selectors }]));
  await admin.create(NAMESPACES, { metadata: { name: 'strict', labels: { strict: 'yes' } } });
  await admin.create(CONFIG_MAPS, { metadata: { name: 'x', namespace: 'default' } });
  await admin.create(CONFIG_MAPS, { metadata: { name: 'x', labels: { free: '' } } }, { namespace: 'strict' });
  const refused = await failureOf(admin.create(CONFIG_MAPS, { metadata: { name: 'y' } }, { namespace: 'strict' }));
  assert.equal(refused.code, 403);
  assert.equal(refused.message, 'admission webhook "w0.example.com" denied the request: not on a Sunday');
  await admin.patch(CONFIG_MAPS, 'x', 'strict', { data: { a: '1' } }, 'merge');
  assert.equal(webhook.requests.length, 1);
});

test('failurePolicy decides when a webhook cannot be reached, answers badly, or is for another name', async (t) => {
  const fixture = await startTestServer(t);
  const { admin } = fixture;
  const bad = await startWebhook(t, fixture, () => ({ uid: 'another' }));
  const gone: Webhook = { ...bad, port: 1 };
  await admin.create(
    MUTATING_WEBHOOK_CONFIGURATIONS,
    configuration('ignored', [
      { webhook: bad, failurePolicy: 'Ignore' },
      { webhook: gone, failurePolicy: 'Ignore' },
    ]),
  );
  await admin.create(CONFIG_MAPS, { metadata: { name: 'x' } });
  const clientConfig = { url: `https://127.0.0.2:${bad.port}`, caBundle: bad.caBundle };
  for (const webhook of [{ webhook: bad }, { webhook: gone }, { webhook: bad, clientConfig }]) {
    const made = await admin.create<Fields>(VALIDATING_WEBHOOK_CONFIGURATIONS, configuration('fails', [webhook]));
    const failed = await failureOf(admin.create(CONFIG_MAPS, { metadata: { name: 'y' } }));
    assert.equal(failed.code, 500);
    assert.match(failed.message, /failed calling webhook "w0.example.com"/);
    await admin.delete(VALIDATING_WEBHOOK_CONFIGURATIONS, made.metadata.name);
  }
});

test('a webhook of a Service is called at a ready endpoint, under the name of the Service', async (t) => {
  const fixture = await startTestServer(t);
  const { admin } = fixture;
  const webhook = await startWebhook(t, fixture, () => patchOf({ op: 'add', path: '/data', value: { called: 'yes' } }));
  // The certificate of the test is for kubernetes.default.svc, so that Service gets the endpoint.
  const slice = {
    metadata: { name: 'hook', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    addressType: 'IPv4',
    endpoints: [
      { addresses: ['127.0.0.9'], conditions: { ready: false } },
      { addresses: ['127.0.0.1'], conditions: { ready: true } },
    ],
    ports: [{ name: 'https', port: webhook.port }],
  };
  await admin.create(ENDPOINT_SLICES, slice);
  const hook = {
    webhook,
    clientConfig: { service: { namespace: 'default', name: 'kubernetes' }, caBundle: webhook.caBundle },
  };
  await admin.create(MUTATING_WEBHOOK_CONFIGURATIONS, configuration('m', [hook]));
  const { data } = await admin.create<Fields>(CONFIG_MAPS, { metadata: { name: 'x' } });
  assert.deepEqual(data, { called: 'yes' });
});

test('a webhook sees every version of a kind as the one that it names, unless it wants exact matches', async (t) => {
  const fixture = await startTestServer(t);
  const { admin, server } = fixture;
  const versions = ['v1', 'v1beta1'].map((name) => ({
    name,
    served: true,
    storage: name === 'v1',
    schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
  }));
  const names = { plural: 'widgets', kind: 'Widget' };
  const served = new Promise<void>((resolve) => {
    server.context.registry.onChange(() => {
      if (server.context.registry.find('example.com', 'v1beta1', 'widgets') !== undefined) resolve();
    });
  });
  await admin.create(CUSTOM_RESOURCE_DEFINITIONS, {
    metadata: { name: 'widgets.example.com' },
    spec: { group: 'example.com', scope: 'Namespaced', names, versions },
  });
  await served;
  const webhook = await startWebhook(t, fixture, () => ({ warnings: ['look again'] }));
  const exact = await startWebhook(t, fixture, () => ({}));
  const mutating = await startWebhook(t, fixture, () => patchOf({ op: 'add', path: '/marked', value: true }));
  const rules = [{ operations: ['CREATE'], apiGroups: ['example.com'], apiVersions: ['v1'], resources: ['widgets'] }];
  const hooks = [
    { webhook, rules },
    { webhook: exact, rules, matchPolicy: 'Exact' },
  ];
  await admin.create(VALIDATING_WEBHOOK_CONFIGURATIONS, configuration('validating', hooks));
  await admin.create(MUTATING_WEBHOOK_CONFIGURATIONS, configuration('mutating', [{ webhook: mutating, rules }]));
  const beta = { apiVersion: 'example.com/v1beta1', kind: 'Widget', plural: 'widgets', namespaced: true };
  const made = await admin.create<Fields>(beta, { metadata: { name: 'w' } });
  assert.deepEqual([made.apiVersion, made.marked], ['example.com/v1beta1', true]);
  assert.equal(exact.requests.length, 0);
  const [request] = webhook.requests;
  assert.deepEqual(
    [request!.object.apiVersion, request!.kind.version, request!.requestKind.version, request!.requestResource.version],
    ['example.com/v1', 'v1', 'v1beta1', 'v1beta1'],
  );
});
