import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import test, { after } from 'node:test';
import {
  CONFIG_MAPS,
  type ConfigMap,
  type KubeObject,
  MUTATING_WEBHOOK_CONFIGURATIONS,
  NAMESPACES,
  VALIDATING_WEBHOOK_CONFIGURATIONS,
} from '@tulle/api';
import { failure, openApi } from '../support/api-server.ts';
import { selfSignedCertificate } from '../support/certificate.ts';

interface Review {
  uid: string;
  operation: string;
  name: string;
  namespace: string;
  kind: { kind: string };
  userInfo: { username: string };
  object: KubeObject | null;
  oldObject: KubeObject | null;
  dryRun: boolean;
}

const { client, namespace, unique } = await openApi();
const { certPem, keyPem } = await selfSignedCertificate('127.0.0.1');
/** What the webhook was asked, by path. */
const asked = new Map<string, Review[]>();
const answers: Record<string, (review: Review) => object> = {
  '/mutate': ({ object }) => ({
    allowed: true,
    patchType: 'JSONPatch',
    patch: Buffer.from(
      JSON.stringify([{ op: 'add', path: '/metadata/labels', value: { ...object?.metadata.labels, mutated: 'yes' } }]),
    ).toString('base64'),
  }),
  '/validate': ({ object }) =>
    object?.data?.forbidden
      ? { allowed: false, status: { code: 422, reason: 'Invalid', message: 'forbidden data' } }
      : { allowed: true, warnings: ['looked at it'] },
};
const server = createServer({ key: keyPem, cert: certPem }, async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const review = JSON.parse(Buffer.concat(chunks).toString()).request as Review;
  const path = new URL(request.url ?? '/', 'https://webhook').pathname;
  asked.set(path, [...(asked.get(path) ?? []), review]);
  const answer = { uid: review.uid, ...answers[path]?.(review) };
  response.end(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer }));
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;
after(() => {
  server.closeAllConnections();
  server.close();
});

const label = unique('webhooks');
await client.patch(NAMESPACES, namespace, undefined, { metadata: { labels: { suite: label } } }, 'merge');

function webhook(path: string, changes: object = {}) {
  return {
    name: 'suite.example.com',
    clientConfig: { url: `https://127.0.0.1:${port}${path}`, caBundle: Buffer.from(certPem).toString('base64') },
    rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['configmaps'] }],
    namespaceSelector: { matchLabels: { suite: label } },
    admissionReviewVersions: ['v1'],
    sideEffects: 'None',
    timeoutSeconds: 5,
    ...changes,
  };
}

type Configuration = typeof MUTATING_WEBHOOK_CONFIGURATIONS;

/** A configuration takes effect a moment after it is written: tries until the probe says so. */
async function withWebhook(
  kind: Configuration,
  hook: object,
  probe: () => Promise<boolean>,
  work: () => Promise<void>,
) {
  const name = unique('suite');
  await client.create(kind, { metadata: { name }, webhooks: [hook] });
  try {
    for (let attempt = 0; attempt < 100 && !(await probe()); attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await work();
  } finally {
    await client.delete(kind, name);
  }
}

const create = (name: string, data: Record<string, string> = {}, labels: Record<string, string> = {}) =>
  client.create<ConfigMap>(CONFIG_MAPS, { metadata: { name, labels }, data }, { namespace });
const isAsked = (path: string) => async () => {
  await client
    .create(CONFIG_MAPS, { metadata: { generateName: 'probe-' } }, { namespace, dryRun: true })
    .catch(() => {});
  return asked.has(path);
};

test('a mutating webhook changes what is written, and is told of it all', async () => {
  await withWebhook(MUTATING_WEBHOOK_CONFIGURATIONS, webhook('/mutate'), isAsked('/mutate'), async () => {
    const made = await create('mutated', { a: '1' }, { own: 'label' });
    assert.deepEqual(made.metadata.labels, { own: 'label', mutated: 'yes' });
    const review = asked.get('/mutate')?.at(-1);
    assert.deepEqual(
      [review?.operation, review?.name, review?.namespace, review?.kind.kind, review?.dryRun],
      ['CREATE', 'mutated', namespace, 'ConfigMap', false],
    );
    assert.equal(review?.oldObject, null);
    assert.ok(review?.userInfo.username);
    await client.patch(CONFIG_MAPS, 'mutated', namespace, { data: { a: '2' } }, 'merge');
    const update = asked.get('/mutate')?.at(-1);
    assert.deepEqual(
      [update?.operation, update?.object?.data, update?.oldObject?.data],
      ['UPDATE', { a: '2' }, { a: '1' }],
    );
  });
});

test('a validating webhook refuses with its own words, also a dry run', async () => {
  await withWebhook(VALIDATING_WEBHOOK_CONFIGURATIONS, webhook('/validate'), isAsked('/validate'), async () => {
    await create('allowed');
    const status = await failure(create('refused', { forbidden: 'yes' }));
    assert.deepEqual([status.code, status.reason], [422, 'Invalid']);
    assert.match(status.message ?? '', /admission webhook "suite\.example\.com" denied the request: forbidden data/);
    const dry = client.create(
      CONFIG_MAPS,
      { metadata: { name: 'dry' }, data: { forbidden: 'yes' } },
      { namespace, dryRun: true },
    );
    assert.equal((await failure(dry)).code, 422);
    assert.equal((await failure(client.get(CONFIG_MAPS, 'refused', namespace))).code, 404);
  });
});

test('a webhook that cannot be reached fails the request or is passed over, as its policy says', async () => {
  const clientConfig = { url: 'https://127.0.0.1:1/none' };
  const isFailing = async () => {
    const made = client.create(CONFIG_MAPS, { metadata: { generateName: 'probe-' } }, { namespace, dryRun: true });
    return made.then(() => false).catch(() => true);
  };
  const failing = webhook('/none', { clientConfig, failurePolicy: 'Fail' });
  await withWebhook(MUTATING_WEBHOOK_CONFIGURATIONS, failing, isFailing, async () => {
    const status = await failure(create('unreachable'));
    assert.equal(status.code, 500);
    assert.match(status.message ?? '', /failed calling webhook "suite\.example\.com"/);
  });
  const ignored = webhook('/none', { clientConfig, failurePolicy: 'Ignore' });
  await withWebhook(
    MUTATING_WEBHOOK_CONFIGURATIONS,
    ignored,
    async () => true,
    async () => {
      await create('passed-over');
    },
  );
});

test('selectors decide what a webhook sees', async () => {
  asked.clear();
  const hook = webhook('/mutate', {
    objectSelector: { matchExpressions: [{ key: 'seen', operator: 'Exists' }] },
  });
  const probe = async () => {
    await client.create(
      CONFIG_MAPS,
      { metadata: { generateName: 'probe-', labels: { seen: 'yes' } } },
      { namespace, dryRun: true },
    );
    return asked.has('/mutate');
  };
  await withWebhook(MUTATING_WEBHOOK_CONFIGURATIONS, hook, probe, async () => {
    const seen = await create('seen', {}, { seen: 'yes' });
    assert.equal(seen.metadata.labels?.mutated, 'yes');
    const unseen = await create('unseen');
    assert.equal(unseen.metadata.labels?.mutated, undefined);
  });
});
