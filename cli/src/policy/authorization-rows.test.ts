import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AUTHORIZATION_POLICIES,
  MESH_TLS_AUTHENTICATIONS,
  POLICY_HTTP_ROUTES,
  SERVER_AUTHORIZATIONS,
} from '@tulle/api';
import { pod } from '@tulle/control-plane/testing/objects.ts';
import { InboundWorld, MESH, policy, server } from '@tulle/control-plane/testing/policies.ts';
import { authorizationRows } from './authorization-rows.ts';

const authorization = (name: string, target: object) =>
  policy(AUTHORIZATION_POLICIES, name, {
    targetRef: target,
    requiredAuthenticationRefs: [{ group: 'policy.linkerd.io', kind: 'MeshTLSAuthentication', name: 'callers' }],
  });

test('shows what lets clients in, by server, route and object, once for all pods', () => {
  const { workloads, policies, settings } = new InboundWorld([
    pod('web-1', { labels: { app: 'web' } }),
    pod('web-2', { labels: { app: 'web' } }),
    server('http'),
    server('metrics', { port: 9090, accessPolicy: 'cluster-unauthenticated' }),
    server('younger', {}, { createdAt: '2026-02-01T00:00:00Z' }),
    policy(MESH_TLS_AUTHENTICATIONS, 'callers', { identityRefs: [{ kind: 'ServiceAccount', name: 'bot' }] }),
    policy(SERVER_AUTHORIZATIONS, 'old-style', {
      server: { name: 'http' },
      client: { meshTLS: { serviceAccounts: [{ name: 'bot' }] } },
    }),
    policy(SERVER_AUTHORIZATIONS, 'nobody', { server: { name: 'http' }, client: {} }),
    authorization('whole-server', { group: 'policy.linkerd.io', kind: 'Server', name: 'http' }),
    authorization('whole-namespace', { kind: 'Namespace', name: 'app' }),
    policy(POLICY_HTTP_ROUTES, 'admin', {
      parentRefs: [{ group: 'policy.linkerd.io', kind: 'Server', name: 'http' }],
      rules: [{ matches: [{ path: { type: 'PathPrefix', value: '/admin' } }] }],
    }),
    authorization('admins', { group: 'policy.linkerd.io', kind: 'HTTPRoute', name: 'admin' }),
  ]);
  const context = { workloads, policies, settings, mesh: MESH };
  const ports = [8080, 9090];
  const declared = new Set(ports);
  const { rows, notes } = authorizationRows(context, [
    { namespace: 'app', name: 'web-1', ports: [...ports, 7070, 7071], declared: new Set([...ports, 7070]) },
    { namespace: 'app', name: 'web-2', ports, declared },
    { namespace: 'app', name: 'gone', ports, declared },
  ]);
  assert.deepEqual(
    rows.map(({ route, server: name, authorizationPolicy = '-', serverAuthorization = '-' }) =>
      [route, name, authorizationPolicy, serverAuthorization].join(' '),
    ),
    [
      '* http whole-namespace -',
      '* http whole-server -',
      '* http - old-style',
      'admin http admins -',
      '* metrics whole-namespace -',
    ],
  );
  assert.match(notes.join('\n'), /Server metrics lets in what cluster-unauthenticated says/);
  assert.match(notes.join('\n'), /Server younger has no effect: Server http is older/);
  assert.match(notes.join('\n'), /ServerAuthorization nobody has no effect/);
  assert.deepEqual(
    notes.filter((note) => note.startsWith('port')),
    ['port 7070 has no Server: what all-unauthenticated says is in force'],
  );
});
