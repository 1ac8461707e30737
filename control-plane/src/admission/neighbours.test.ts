import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '@tulle/api';
import { Neighbours } from './neighbours.ts';

const POLICY = 'policy.linkerd.io/v1beta3';

function object(apiVersion: string, kind: string, name: string, spec: object, meta: object = {}): KubeObject {
  return { apiVersion, kind, metadata: { name, namespace: 'app', ...meta }, spec };
}
const at = (second: number) => ({ creationTimestamp: `2026-01-01T00:00:0${second}Z` });
const server = (name: string, port: number | string, labels: object = { app: 'web' }, meta: object = {}) =>
  object(POLICY, 'Server', name, { podSelector: { matchLabels: labels }, port }, meta);
const pod = (name: string, labels: object) =>
  object(
    'v1',
    'Pod',
    name,
    { containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 8080 }] }] },
    { labels },
  );
const profile = (name: string, namespace: string, routes: object[] = [{ name: 'a', condition: { method: 'GET' } }]) =>
  object('linkerd.io/v1alpha2', 'ServiceProfile', name, { routes }, { namespace });
const route = (name: string, namespace = 'app') =>
  object(
    'gateway.networking.k8s.io/v1',
    'HTTPRoute',
    name,
    { parentRefs: [{ group: '', kind: 'Service', name: 'web', namespace: 'app' }] },
    { namespace },
  );

function around(...objects: KubeObject[]): Neighbours {
  const neighbours = new Neighbours('cluster.local');
  for (const one of objects) neighbours.apply('set', one);
  return neighbours;
}

test('tells which of two Servers on a port wins', () => {
  const old = server('old', 'http', {}, at(1));
  const neighbours = around(old, pod('web-1', { app: 'web' }), server('elsewhere', 8080, {}, { namespace: 'other' }));
  assert.deepEqual(neighbours.warnings(server('new', 8080)), [
    'Servers old and new both take port 8080 of pod web-1: old wins, for it is older, and new has no effect there',
  ]);
  assert.deepEqual(neighbours.warnings(server('new', 8081)), []);
  assert.deepEqual(neighbours.warnings(server('new', 8080, { app: 'db' })), []);
  assert.deepEqual(neighbours.warnings(old), [], 'not with itself');
  assert.match(
    around(server('a', 80), pod('web-1', { app: 'web' })).warnings(server('b', 80, {}, at(1)))[0]!,
    /: b wins/,
  );
});

test('tells of two Servers that are written alike before there is a pod', () => {
  assert.deepEqual(around(server('a', 80, {}, at(1))).warnings(server('b', 80, {}, at(1))), [
    'Servers a and b both take port 80 of the same pods: a wins, for it comes first by name, and b has no effect there',
  ]);
});

test('tells of two Servers on the same external workloads, and of none where one is for pods', () => {
  const external = (name: string) => object(POLICY, 'Server', name, { externalWorkloadSelector: {}, port: 80 }, at(1));
  assert.match(
    around(external('a')).warnings(external('b'))[0]!,
    /^Servers a and b both take port 80 of the same external workloads: a wins/,
  );
  assert.deepEqual(around(external('a')).warnings(server('b', 80, {})), []);
});

test('tells of an authorization for a Server that is not there', () => {
  const saz = (serverRef: object) =>
    object('policy.linkerd.io/v1beta1', 'ServerAuthorization', 'a', {
      server: serverRef,
      client: { unauthenticated: true },
    });
  const neighbours = around(server('web', 80, {}, { labels: { app: 'web' } }));
  assert.deepEqual(neighbours.warnings(saz({ name: 'web' })), []);
  assert.deepEqual(neighbours.warnings(saz({ selector: { matchLabels: { app: 'web' } } })), []);
  assert.match(neighbours.warnings(saz({ name: 'db' }))[0]!, /^there is no Server app\/db yet/);
  assert.match(neighbours.warnings(saz({ selector: { matchLabels: { app: 'db' } } }))[0]!, /selects no Server/);
});

test('tells what an AuthorizationPolicy names and is not there', () => {
  const policy = (target: string, authentication: string) =>
    object('policy.linkerd.io/v1alpha1', 'AuthorizationPolicy', 'p', {
      targetRef: { group: 'policy.linkerd.io', kind: 'Server', name: target },
      requiredAuthenticationRefs: [{ group: 'policy.linkerd.io', kind: 'MeshTLSAuthentication', name: authentication }],
    });
  const mtls = object('policy.linkerd.io/v1alpha1', 'MeshTLSAuthentication', 'mtls', { identities: ['*'] });
  const neighbours = around(server('web', 80), mtls);
  assert.deepEqual(neighbours.warnings(policy('web', 'mtls')), []);
  assert.deepEqual(neighbours.warnings(policy('db', 'other')), [
    'there is no Server app/db yet: until there is, this AuthorizationPolicy has no effect',
    'there is no MeshTLSAuthentication app/other yet: until there is, this AuthorizationPolicy authorizes nobody',
  ]);
});

test('tells what a profile hides, and that a route is hidden', () => {
  const name = 'web.app.svc.cluster.local';
  const neighbours = around(route('r'), route('s', 'client'));
  assert.deepEqual(neighbours.warnings(profile(name, 'app')), [
    'this ServiceProfile hides HTTPRoute app/r, HTTPRoute client/s: proxies follow a profile with routes, and no other route of its Service',
  ]);
  assert.deepEqual(neighbours.warnings(profile(name, 'app', [])), [], 'one without routes hides nothing');
  assert.deepEqual(neighbours.warnings(profile('db.app.svc.cluster.local', 'app')), []);
  assert.match(around(profile(name, 'client')).warnings(route('r', 'client'))[0]!, /^ServiceProfile client\/web\.app/);
  assert.deepEqual(around(profile(name, 'client')).warnings(route('r', 'other')), [], "another client's profile");
});

test('forgets what is deleted', () => {
  const objects = [server('a', 80), pod('p', {}), route('r'), profile('web.app.svc.cluster.local', 'app')];
  const neighbours = around(...objects);
  assert.equal(neighbours.size(), 4);
  for (const one of objects)
    neighbours.apply('delete', { apiVersion: one.apiVersion!, kind: one.kind!, metadata: one.metadata });
  assert.equal(neighbours.size(), 0);
});
