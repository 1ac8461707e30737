/** The two resources that the project began with, exactly as they were printed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseServerAuthorization } from './server-authorization.ts';

const printed = {
  apiVersion: 'policy.linkerd.io/v1beta1',
  kind: 'ServerAuthorization',
  metadata: { namespace: 'emojiivoto', name: 'emoji-grpc' },
  spec: {
    server: { selector: { 'app-kind': 'internal' } },
    client: { meshTLS: null, serviceAccounts: [{ name: 'web' }] },
  },
};

test('the printed authorization means Servers with the label, and mutual TLS as the ServiceAccount', () => {
  const { server, clients } = parseServerAuthorization(printed);
  const requirements = [{ key: 'app-kind', operator: 'In', values: ['internal'] }];
  assert.deepEqual(server, { selector: { requirements } });
  const serviceAccounts = [{ namespace: 'emojiivoto', name: 'web' }];
  assert.deepEqual(clients, { kind: 'mesh', identities: [], serviceAccounts });
});

test('the same in the shape that Linkerd documents means the same', () => {
  const documented = structuredClone(printed) as Parameters<typeof parseServerAuthorization>[0];
  documented.spec.server.selector = { matchLabels: { 'app-kind': 'internal' } };
  documented.spec.client = { meshTLS: { serviceAccounts: [{ name: 'web' }] } };
  assert.deepEqual(parseServerAuthorization(documented), parseServerAuthorization(printed));
});

test('a selector whose labels are no texts is refused, never taken for one that means every Server', () => {
  const broken = structuredClone(printed) as Parameters<typeof parseServerAuthorization>[0];
  broken.spec.server.selector = { matchLabel: { 'app-kind': 'internal' } };
  assert.throws(
    () => parseServerAuthorization(broken),
    /spec\.server\.selector\.matchLabel: found .* allowed is a text/,
  );
});
