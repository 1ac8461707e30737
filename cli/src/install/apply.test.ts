import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { KubeObject } from '@tulle/api';
import { type Client, collectionPath, createClient } from '@tulle/client';
import { type ApiServer, startApiServer } from '@tulle/cluster/apiserver/server.ts';
import { createIdentityCredentials, createWebhookCertificate } from './certificates.ts';
import { INSTALL_FLAGS, valuesFrom } from './install-values.ts';
import { controlPlaneManifests } from './manifests.ts';
import { WEBHOOKS } from './webhooks.ts';

describe('an API server that takes no unknown field', () => {
  let server: ApiServer;
  let client: Client;

  before(async () => {
    server = await startApiServer({ listen: [{ host: '127.0.0.1', port: 0 }], addresses: ['127.0.0.1'] });
    server.setReady(true);
    const admin = await server.pki.issueClient('admin', ['system:masters']);
    client = createClient({
      server: `https://127.0.0.1:${server.port}`,
      caPem: server.pki.caPem,
      clientCertPem: admin.certPem,
      clientKeyPem: admin.keyPem,
      namespace: 'default',
    });
  });
  after(async () => {
    client.close();
    await server[Symbol.asyncDispose]();
  });

  for (const [what, options] of Object.entries({ default: {}, 'highly available': { ha: true } })) {
    test(`takes every object of a ${what} control plane`, async () => {
      const namespace = what === 'default' ? 'linkerd' : 'mesh';
      const { values, overrides } = valuesFrom(options, INSTALL_FLAGS);
      const credentials = await createIdentityCredentials(namespace, 'cluster.local');
      values.identityTrustAnchorsPEM = credentials.trustAnchorsPem;
      values.identity.issuer.tls = { crtPEM: credentials.issuerCertPem, keyPEM: credentials.issuerKeyPem };
      const pairs = WEBHOOKS.map(async ({ name }) => [name, await createWebhookCertificate(name, namespace)]);
      const certificates = Object.fromEntries(await Promise.all(pairs));
      const objects = controlPlaneManifests({ namespace, values, overrides, certificates, createdBy: 'test' });
      for (const object of objects) await createStrictly(client, object);
      assert.ok(objects.length > 20);
    });
  }
});

async function createStrictly(client: Client, object: KubeObject): Promise<void> {
  const kind = await client.kindFor(object.apiVersion!, object.kind!);
  const path = collectionPath(kind, object.metadata.namespace);
  try {
    const answer = await client.request('POST', path, { body: object, query: { fieldValidation: 'Strict' } });
    await answer.text();
  } catch (error) {
    // Cluster-wide objects are the same for any namespace of a control plane.
    if ((error as { code?: string }).code !== 'ALREADY_EXISTS' || kind.namespaced) throw error;
  }
}
