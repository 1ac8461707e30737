import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KubeObject, type Pod, type ProxyScrape, parseMetricsText } from '@tulle/api';
import { type PortNow, suggestPolicies } from './suggestion.ts';

const ID = 'serviceaccount.identity.linkerd.cluster.local';

function pod(name: string, ports: { name?: string; containerPort: number }[]): Pod {
  const labels = {
    app: name.split('-')[0]!,
    'pod-template-hash': 'x',
    'linkerd.io/proxy-deployment': name.split('-')[0]!,
  };
  return {
    metadata: { name, namespace: 'shop', labels },
    spec: { containers: [{ name: 'c', ports }] },
  } as unknown as Pod;
}

function scrape(podName: string, lines: string): ProxyScrape {
  const samples = parseMetricsText(lines.trim().replaceAll(/^\s+/gm, ''));
  return {
    namespace: 'shop',
    pod: podName,
    workload: { kind: 'deployment', name: podName.split('-')[0]! },
    identity: '',
    samples,
  };
}

const byDefault = 'srv_kind="default",srv_name="all-unauthenticated"';
const ofServer = 'srv_kind="server",srv_name="web-http"';
const http = (port: number, client: string, labels: string, value: number, verdict = 'allow') =>
  `inbound_http_authz_${verdict}_total{target_port="${port}",tls="${client ? 'true' : 'no_identity'}",${client ? `client_id="${client}",` : ''}${labels}} ${value}\n`;
const tcp = (...args: Parameters<typeof http>) => http(...args).replace('inbound_http', 'inbound_tcp');

const suggest = (scrapes: ProxyScrape[], pods: Pod[], now: Partial<PortNow> = {}, existing: KubeObject[] = []) =>
  suggestPolicies({
    scrapes,
    pods,
    selectors: new Map(),
    portOf: () => ({ routes: [], isOpaque: false, openBy: [], ...now }),
    existing,
  });
const kinds = (of: ReturnType<typeof suggest>) =>
  of.suggestions.map(({ object }) => `${object.kind} ${object.metadata.name}`);

test('a port without a Server gets one, after those who may pass it, from all pods of the workload', () => {
  const found = suggest(
    [
      scrape('web-1', http(8080, `bot.shop.${ID}`, byDefault, 3) + http(4191, '', byDefault, 9)),
      scrape(
        'web-2',
        http(8080, `bot.shop.${ID}`, byDefault, 4) +
          http(8080, `admin.other.${ID}`, byDefault, 1) +
          http(8080, '', byDefault, 5) +
          tcp(8080, `bot.shop.${ID}`, byDefault, 1),
      ),
    ],
    [pod('web-1', [{ name: 'http', containerPort: 8080 }]), pod('web-2', [{ name: 'http', containerPort: 8080 }])],
  );
  assert.deepEqual(kinds(found), [
    'MeshTLSAuthentication web-http-callers',
    'AuthorizationPolicy web-http-callers',
    'Server web-http',
  ]);
  const [authentication, policy, server] = found.suggestions;
  assert.deepEqual(authentication!.object.spec.identityRefs, [
    { kind: 'ServiceAccount', name: 'admin', namespace: 'other' },
    { kind: 'ServiceAccount', name: 'bot', namespace: 'shop' },
  ]);
  assert.deepEqual(policy!.object.spec.targetRef, { group: 'policy.linkerd.io', kind: 'Server', name: 'web-http' });
  assert.deepEqual(server!.object.spec, {
    podSelector: { matchLabels: { app: 'web' } },
    port: 'http',
    proxyProtocol: 'unknown',
  });
  assert.ok(
    authentication!.notes.includes('Seen: ServiceAccount shop/bot, 7 requests.'),
    authentication!.notes.join('\n'),
  );
  assert.match(server!.notes.join('\n'), /5 requests of port 8080 that came without an identity/);
});

test('a Server that is there is used, and a route gets its own callers', () => {
  const route = 'route_group="gateway.networking.k8s.io",route_kind="HTTPRoute",route_name="api"';
  const found = suggest(
    [
      scrape(
        'web-1',
        http(8080, `bot.shop.${ID}`, `${ofServer},${route}`, 3) + http(8080, `mob.shop.${ID}`, ofServer, 2, 'deny'),
      ),
    ],
    [pod('web-1', [{ containerPort: 8080 }])],
    { server: 'web-http', routes: [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'api' }] },
  );
  assert.deepEqual(kinds(found), ['MeshTLSAuthentication api-callers', 'AuthorizationPolicy api-callers']);
  assert.deepEqual(found.suggestions[1]!.object.spec.targetRef, {
    group: 'gateway.networking.k8s.io',
    kind: 'HTTPRoute',
    name: 'api',
  });
  assert.match(found.suggestions[0]!.notes.join('\n'), /Refused until now: ServiceAccount shop\/mob, 2 requests/);
});

test('a Server and a route that are gone are not relied upon', () => {
  const route = 'route_group="gateway.networking.k8s.io",route_kind="HTTPRoute",route_name="api"';
  const found = suggest(
    [scrape('web-1', http(8080, `bot.shop.${ID}`, `${ofServer},${route}`, 3))],
    [pod('web-1', [{ containerPort: 8080 }])],
  );
  assert.deepEqual(kinds(found).at(-1), 'Server web-8080');
  assert.equal(found.suggestions[1]!.object.spec.targetRef.kind, 'Server');
});

test('a port that is opaque stays so, an open connection counts, and any identity is named as it is', () => {
  const found = suggest(
    [
      scrape(
        'db-1',
        `tcp_open_connections{direction="inbound",peer="src",target_port="5432",tls="true",client_id="spiffe://vm/app"} 2`,
      ),
    ],
    [pod('db-1', [])],
    { isOpaque: true },
  );
  assert.deepEqual(kinds(found).at(-1), 'Server db-5432');
  assert.deepEqual(found.suggestions.at(-1)!.object.spec, {
    podSelector: { matchLabels: { app: 'db' } },
    port: 5432,
    proxyProtocol: 'opaque',
  });
  assert.deepEqual(found.suggestions[0]!.object.spec, { identities: ['spiffe://vm/app'] });
});

test('nothing is closed where nobody with an identity was let in, nor for probes', () => {
  const found = suggest(
    [
      scrape(
        'web-1',
        http(8080, '', byDefault, 3) + http(8081, `bot.shop.${ID}`, `${byDefault},route_name="probe"`, 3),
      ),
    ],
    [pod('web-1', [])],
  );
  assert.deepEqual(found, {
    suggestions: [],
    leftOut: ['port 8080 of deployment shop/web: nobody with an identity was let in'],
  });
});

test("nobody's objects are written over, but those of an earlier suggestion", () => {
  const scrapes = [scrape('web-1', http(8080, `bot.shop.${ID}`, byDefault, 3))];
  const pods = [pod('web-1', [{ name: 'http', containerPort: 8080 }])];
  const object = (kind: string, name: string, target?: string) => ({
    kind,
    metadata: { name, namespace: 'shop' },
    spec: target ? { targetRef: { kind: 'Server', name: target } } : {},
  });
  const others = [object('Server', 'web-http'), object('MeshTLSAuthentication', 'web-http-2-callers')];
  assert.deepEqual(kinds(suggest(scrapes, pods, {}, others)), [
    'MeshTLSAuthentication web-http-2-callers-2',
    'AuthorizationPolicy web-http-2-callers-2',
    'Server web-http-2',
  ]);
  const ours = [
    object('MeshTLSAuthentication', 'web-http-callers'),
    object('AuthorizationPolicy', 'web-http-callers', 'web-http'),
  ];
  assert.equal(kinds(suggest(scrapes, pods, {}, ours))[0], 'MeshTLSAuthentication web-http-callers');
});

test('says who else a Server that is there lets in', () => {
  const scrapes = [scrape('web-1', http(8080, `bot.shop.${ID}`, ofServer, 3))];
  const now = { server: 'web-http', openBy: ['AuthorizationPolicy web-http-callers', 'accessPolicy audit'] };
  const { suggestions } = suggest(scrapes, [pod('web-1', [])], now);
  assert.deepEqual(suggestions[0]!.notes, [
    'Server web-http goes on to let in others too, by accessPolicy audit.',
    'Seen: ServiceAccount shop/bot, 3 requests.',
  ]);
});
