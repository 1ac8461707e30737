import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KubeObject, MeshError } from '@tulle/api';
import { groupOf } from '@tulle/api/object-ref.ts';
import { parseConfig } from '@tulle/control-plane/config.ts';
import { INBOUND_KINDS } from '@tulle/control-plane/policy/inbound/inbound-index.ts';
import type { OutboundKind } from '@tulle/control-plane/policy/outbound/outbound-index.ts';
import { ClusterState } from '@tulle/control-plane/workloads/cluster-state.ts';
import type { WorkloadKind } from '@tulle/control-plane/workloads/workload-index.ts';
import { parseAllDocuments } from 'yaml';
import { viewOf } from './cluster-view.ts';
import { findCaller, parseHost, parseTarget } from './explain.ts';
import { explain, type Query } from './explanation.ts';

const CLUSTER = `
{ apiVersion: v1, kind: Namespace, metadata: { name: shop } }
---
{ apiVersion: v1, kind: Namespace, metadata: { name: client } }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop, annotations: { balancer.linkerd.io/failure-accrual: consecutive, timeout.linkerd.io/response: 5s } }
spec: { clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{ port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, namespace: shop, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: '', port: 8080 }]
endpoints: [{ addresses: [10.1.0.1], conditions: { ready: true }, targetRef: { kind: Pod, name: web-1, namespace: shop } }]
---
apiVersion: v1
kind: Pod
metadata: { name: web-1, namespace: shop, labels: { app: web, linkerd.io/control-plane-ns: linkerd } }
spec:
  serviceAccountName: web
  containers:
    - { name: app, ports: [{ name: http, containerPort: 8080 }] }
    - name: linkerd-proxy
      env: [{ name: LINKERD2_PROXY_INBOUND_LISTEN_ADDR, value: '0.0.0.0:4143' }, { name: LINKERD2_PROXY_ADMIN_LISTEN_ADDR, value: '0.0.0.0:4191' }, { name: LINKERD2_PROXY_CONTROL_LISTEN_ADDR, value: '0.0.0.0:4190' }]
status: { phase: Running, podIPs: [{ ip: 10.1.0.1 }] }
`;
const ROUTE = `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: api, namespace: shop, annotations: { retry.linkerd.io/http: 5xx } }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules:
    - matches: [{ path: { value: /api } }]
      timeouts: { request: 2s }
      backendRefs: [{ name: web, port: 80, weight: 3 }, { name: gone, port: 80, weight: 1 }]
`;
const CONSUMER = `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: mine, namespace: client, annotations: { timeout.linkerd.io/request: 1s } }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, namespace: shop }]
  rules: [{ filters: [{ type: URLRewrite, urlRewrite: { hostname: a.example } }] }]
`;
const PROFILE = `---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: { name: web.shop.svc.cluster.local, namespace: shop }
spec: { routes: [{ name: 'GET /api', condition: { method: GET, pathRegex: '/api.*' }, isRetryable: true, timeout: 300ms }] }
`;
const EGRESS = `---
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: { name: all, namespace: client, creationTimestamp: '2026-01-01T00:00:00Z', annotations: { timeout.linkerd.io/request: 9s } }
spec: { trafficPolicy: Deny }
---
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: { name: partner, namespace: client, creationTimestamp: '2026-01-02T00:00:00Z' }
spec: { trafficPolicy: Allow, networks: [{ cidr: 198.51.100.0/24, except: [198.51.100.7] }] }
---
apiVersion: policy.linkerd.io/v1alpha1
kind: EgressNetwork
metadata: { name: mesh, namespace: linkerd-egress }
spec: { trafficPolicy: Allow }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: public, namespace: client }
spec:
  parentRefs: [{ group: policy.linkerd.io, kind: EgressNetwork, name: all, port: 443 }]
  hostnames: [a.example]
  rules: [{ matches: [{ path: { value: /public } }] }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: other, namespace: client }
spec: { parentRefs: [{ group: policy.linkerd.io, kind: EgressNetwork, name: all, port: 443 }], hostnames: [b.example] }
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TLSRoute
metadata: { name: tls, namespace: client }
spec: { parentRefs: [{ group: policy.linkerd.io, kind: EgressNetwork, name: all, port: 443 }], rules: [{}] }
`;
const SERVER = `---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: web-http, namespace: shop }
spec: { podSelector: { matchLabels: { app: web } }, port: http, proxyProtocol: HTTP/1 }
---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: { name: bots, namespace: shop }
spec: { server: { name: web-http }, client: { meshTLS: { serviceAccounts: [{ name: bot }] } } }
---
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: { name: limit, namespace: shop }
spec: { targetRef: { group: policy.linkerd.io, kind: Server, name: web-http }, total: { requestsPerSecond: 9 } }
`;

const OUTBOUND: Record<string, OutboundKind> = { HTTPRoute: 'http', TLSRoute: 'tls', EgressNetwork: 'egress-network' };
const WORKLOADS = ['Namespace', 'Service', 'EndpointSlice', 'Pod'];

function view(text: string) {
  const state = new ClusterState();
  const made = viewOf(state, parseConfig([], {}));
  for (const document of parseAllDocuments(text)) {
    const object = document.toJS() as KubeObject;
    const group = groupOf(object.apiVersion!);
    const inbound = INBOUND_KINDS.find(({ kind, apiVersion }) => kind === object.kind && groupOf(apiVersion) === group);
    if (WORKLOADS.includes(object.kind!)) state.apply(object.kind as WorkloadKind, 'set', object);
    if (inbound) made.inbound.policies.apply(inbound, 'set', object);
    const outbound = OUTBOUND[object.kind!];
    if (outbound) made.routes.apply({ kind: outbound, type: 'set', object });
    if (object.kind === 'ServiceProfile') made.profiles.apply({ kind: 'ServiceProfile', type: 'set', object });
  }
  return made;
}

/** `label | value | object field`, a line each, without the title. */
function told(
  text: string,
  query: { from?: string; path?: string; method?: string; target?: Query['target']; port?: number } = {},
): string[] {
  const of = view(text);
  const {
    from,
    path = '/api/list',
    method = 'GET',
    target = { kind: 'Service', namespace: 'shop', name: 'web' },
  } = query;
  const caller = findCaller(of, from, 'shop');
  const { sections } = explain(of, {
    target,
    request: { isGiven: true, method, path, headers: {} },
    caller,
    ...(query.port ? { port: query.port } : {}),
  });
  return sections.flatMap(({ title, facts }) => [
    title,
    ...facts.map((fact) =>
      [fact.label, fact.value, [fact.from?.object, fact.from?.field].filter(Boolean).join(' ')]
        .filter(Boolean)
        .join(' | '),
    ),
  ]);
}

test('without any policy, says what holds by default', () => {
  assert.deepEqual(told(CLUSTER), [
    'client',
    'protocol | HTTP, TLS or bytes, by what the client sends | default',
    'route | none of its own | default http',
    'backend | shop/web:80 100 %',
    'timeout | response 5s | Service shop/web metadata.annotations[timeout.linkerd.io/response]',
    'breaker | 7 failures in a row take an endpoint off for 1s to 1m | Service shop/web metadata.annotations[balancer.linkerd.io/…]',
    'server shop/web-1 port 8080',
    'protocol | HTTP or bytes, by what the client sends | default all-unauthenticated of the control plane',
    'route | none of its own | default',
    'lets in | everybody | default all-unauthenticated of the control plane',
    'server | no Server selects this port',
  ]);
});

test('names the field of a route that each value comes from, and a backend that is not there', () => {
  const facts = told(CLUSTER + ROUTE);
  for (const fact of [
    'route | paths below /api | HTTPRoute shop/api spec.rules[0]',
    'backend | shop/web:80 75 % | HTTPRoute shop/api spec.rules[0].backendRefs[0]',
    'backend | Service shop/gone:80 25 % fails: Service not found gone | HTTPRoute shop/api spec.rules[0].backendRefs[1]',
    'timeout | request 2s | HTTPRoute shop/api spec.rules[0].timeouts.request',
    'retries | up to 1 on 500-599 | HTTPRoute shop/api metadata.annotations[retry.linkerd.io/…]',
  ]) {
    assert.ok(facts.includes(fact), `${fact}\nnot in\n${facts.join('\n')}`);
  }
  assert.ok(told(CLUSTER + ROUTE, { path: '/other' }).includes('refused | no route takes the request (404)'));
});

test("takes the routes of the client's namespace, and says what they hide", () => {
  const facts = told(CLUSTER + ROUTE + CONSUMER, { from: 'client' });
  assert.ok(
    facts.includes(
      "filter | rewritten: host a.example (Tulle's proxy only) | HTTPRoute client/mine spec.rules[0].filters",
    ),
    facts.join('\n'),
  );
  assert.ok(
    facts.includes('timeout | request 1s | HTTPRoute client/mine metadata.annotations[timeout.linkerd.io/request]'),
  );
  assert.ok(facts.includes('hidden | namespace client has routes of its own | HTTPRoute shop/api'));
});

test('follows a profile with routes, and says that it hides the others', () => {
  const facts = told(CLUSTER + ROUTE + PROFILE);
  for (const fact of [
    'route | GET /api | ServiceProfile shop/web.shop.svc.cluster.local spec.routes[0]',
    'timeout | 300ms | ServiceProfile shop/web.shop.svc.cluster.local spec.routes[0].timeout',
    'retries | at most 20 % more requests and 10 a second | ServiceProfile shop/web.shop.svc.cluster.local spec.routes[0].isRetryable',
    'hidden | the profile has routes or overrides, and takes its place | HTTPRoute shop/api',
  ]) {
    assert.ok(facts.includes(fact), `${fact}\nnot in\n${facts.join('\n')}`);
  }
});

test('says whether a client is let in, by what, and what does not fit', () => {
  const pod: Query['target'] = { kind: 'Pod', namespace: 'shop', name: 'web-1' };
  assert.deepEqual(told(CLUSTER + SERVER, { from: 'sa/bot', target: pod }), [
    'server shop/web-1 port 8080',
    'protocol | HTTP/1 | Server shop/web-http spec.proxyProtocol',
    'route | none of its own | default',
    'verdict | let in | ServerAuthorization shop/bots',
    'limit | 9 requests a second of all clients | HTTPLocalRateLimitPolicy shop/limit spec.total',
  ]);
  assert.deepEqual(told(CLUSTER + SERVER, { from: 'sa/mob', target: pod }).slice(3, 5), [
    'verdict | refused (403): no authorization fits the client | Server shop/web-http',
    'not by | mob.shop.serviceaccount.identity.linkerd.cluster.local is none of its identities | ServerAuthorization shop/bots',
  ]);
  assert.equal(
    told(CLUSTER + SERVER, { target: pod })[3],
    "lets in | bot.shop.serviceaccount.identity.linkerd.cluster.local from the cluster's networks | ServerAuthorization shop/bots",
  );
});

test('a client without a proxy follows no route, and shows no identity', () => {
  const plain = `---
{ apiVersion: v1, kind: Pod, metadata: { name: plain, namespace: client }, spec: { containers: [] }, status: { podIPs: [{ ip: 10.1.0.9 }] } }
`;
  const facts = told(CLUSTER + plain + ROUTE + SERVER, { from: 'po/client/plain' });
  assert.equal(facts[1], 'proxy | none: the request goes where the Service sends it, by no route');
  assert.ok(
    facts.includes('verdict | refused (403): no authorization fits the client | Server shop/web-http'),
    facts.join('\n'),
  );
  assert.ok(facts.includes('not by | the client is not meshed | ServerAuthorization shop/bots'));
});

test('says which EgressNetwork holds for a host outside, what it hides, and what becomes of a request', () => {
  const target: Query['target'] = { kind: 'Address', ip: '203.0.113.9', host: 'a.example' };
  const from = 'client';
  assert.deepEqual(told(CLUSTER + EGRESS, { target, from, path: '/public/x' }), [
    'network',
    "addresses | everything outside the cluster's networks | EgressNetwork client/all spec.networks",
    'policy | Deny | EgressNetwork client/all spec.trafficPolicy',
    'hidden | namespace client has its own | EgressNetwork linkerd-egress/mesh',
    'client, HTTP on port 443',
    'protocol | HTTP, TLS or bytes, by what the client sends | default',
    'route | paths below /public | HTTPRoute client/public spec.rules[0]',
    'backend | where it was going 100 %',
    'timeout | request 9s | EgressNetwork client/all metadata.annotations[timeout.linkerd.io/request]',
    'hidden | it takes the request too, but less exactly or later in order | default http-egress-deny',
    'hidden | routes of kind HTTPRoute are attached to the same port | TLSRoute client/tls',
    'other | for b.example | HTTPRoute client/other',
    'client, TLS and anything else',
    'protocol | bytes, not looked into | default',
    'route | none of its own | default tcp-egress-deny',
    'refused | traffic not allowed (the connection is closed) | default tcp-egress-deny',
    'hidden | routes of kind HTTPRoute are attached to the same port | TLSRoute client/tls',
  ]);
  const denied = told(CLUSTER + EGRESS, { target, from, path: '/private' });
  assert.ok(denied.includes('refused | traffic not allowed (403) | default http-egress-deny'), denied.join('\n'));
});

test('the most specific network holds, and a network says what others take of it', () => {
  const from = 'client';
  const partner: Query['target'] = { kind: 'Address', ip: '198.51.100.1' };
  assert.deepEqual(told(CLUSTER + EGRESS, { target: partner, from }).slice(0, 5), [
    'network',
    'addresses | 198.51.100.0/24 without 198.51.100.7/32 | EgressNetwork client/partner spec.networks',
    'policy | Allow | EgressNetwork client/partner spec.trafficPolicy',
    'hidden | it has the address too, less specifically | EgressNetwork client/all',
    'hidden | namespace client has its own | EgressNetwork linkerd-egress/mesh',
  ]);
  const all: Query['target'] = { kind: 'EgressNetwork', namespace: 'client', name: 'all' };
  const facts = told(CLUSTER + EGRESS, { target: all, from });
  assert.equal(facts[3], 'hidden | takes 198.51.100.0/24 of it | EgressNetwork client/partner');
  assert.equal(facts[4], 'client, HTTP on port 443');
  assert.ok(facts.includes('other | for a.example | HTTPRoute client/public'), facts.join('\n'));
  const mesh: Query['target'] = { kind: 'EgressNetwork', namespace: 'linkerd-egress', name: 'mesh' };
  const ofMesh = told(CLUSTER + EGRESS, { target: mesh, from });
  assert.ok(ofMesh.includes('hidden | takes all of it | EgressNetwork client/all'), ofMesh.join('\n'));
  assert.deepEqual(told(CLUSTER + EGRESS, { target: all, from: 'shop' }).slice(3), [
    'refused | it holds for clients of namespace client only, and this is one of shop',
  ]);
});

test('an address that is nothing passes, one of a Service is explained as that', () => {
  const at = (ip: string, text = CLUSTER) => told(text, { target: { kind: 'Address', ip }, port: 80 });
  assert.deepEqual(at('203.0.113.9'), [
    'network',
    'address | no EgressNetwork has it: passed on as it is | default egress-fallback',
  ]);
  assert.match(
    at('10.99.0.1', CLUSTER + EGRESS)[1]!,
    /^address \| in the cluster's networks, and no Service or pod has it/,
  );
  assert.deepEqual(at('10.96.0.1'), told(CLUSTER));
  assert.deepEqual(at('10.1.0.1')[0], 'server shop/web-1 port 80');
});

test('reads hosts as they are written', () => {
  const cases: [string, object | undefined][] = [
    ['web', undefined],
    ['svc/web', undefined],
    ['93.184.216.34', { host: '93.184.216.34' }],
    ['93.184.216.34:443', { host: '93.184.216.34', port: 443 }],
    ['2001:DB8::1', { host: '2001:db8::1' }],
    ['[2001:db8::1]:80', { host: '2001:db8::1', port: 80 }],
    ['A.example', { host: 'a.example' }],
    ['a.example:8443', { host: 'a.example', port: 8443 }],
    ['https://a.example', { host: 'a.example', port: 443 }],
    ['http://a.example:81/b?c', { host: 'a.example', port: 81, path: '/b?c' }],
    ['a.example/b', undefined],
  ];
  for (const [word, expected] of cases) {
    const parsed = parseHost(word);
    assert.deepEqual(
      parsed && Object.fromEntries(Object.entries(parsed).filter(([, value]) => value !== undefined)),
      expected,
      word,
    );
  }
  assert.throws(() => parseHost('a.example:99999'), /not a port/);
  assert.deepEqual(parseTarget('egressnetwork/all', 'shop'), { kind: 'EgressNetwork', namespace: 'shop', name: 'all' });
  assert.throws(() => parseTarget('deploy/web', 'shop'), /want svc\/NAME, po\/NAME, egressnetwork\/NAME or an address/);
});

test('says what is not there or not clear', () => {
  const of = view(CLUSTER);
  const caller = findCaller(of, 'client', 'shop');
  const request = { isGiven: false, method: 'GET', path: '/', headers: {} };
  const ask = (target: Query['target']) => () => explain(of, { target, request, caller });
  assert.throws(ask({ kind: 'Service', namespace: 'shop', name: 'db' }), /^MeshError: there is no Service shop\/db$/);
  assert.throws(ask({ kind: 'Pod', namespace: 'shop', name: 'db' }), MeshError);
  assert.throws(() => findCaller(of, 'nowhere', 'shop'), /there is no such namespace/);
  assert.throws(() => findCaller(of, 'deploy/web', 'shop'), /want a namespace, po\/NAME or sa\/NAME/);
});
