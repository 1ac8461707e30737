import assert from 'node:assert/strict';
import test from 'node:test';
import { formatIp } from '../ip-address.ts';
import type { KubeObject } from '../kubernetes.ts';
import { parseAuthorizationPolicy } from './authorization-policy.ts';
import { parseHTTPLocalRateLimitPolicy } from './http-local-rate-limit-policy.ts';
import { identityMatches, parseIdentityMatch } from './identity-match.ts';
import { parseMeshTLSAuthentication } from './mesh-tls-authentication.ts';
import { parseNetworkAuthentication } from './network-authentication.ts';
import { parseServerAuthorization } from './server-authorization.ts';

const object = (spec: unknown): KubeObject => ({ metadata: { name: 'x', namespace: 'app' }, spec });
const exact = (name: string) => ({ kind: 'exact', name });

/** Reads `spec` and expects all of these problems, and no other. */
function refuses(parse: (object: KubeObject) => unknown, spec: unknown, ...problems: string[]): void {
  assert.throws(() => parse(object(spec)), { code: 'INVALID_ARGUMENT', message: problems.join('; ') });
}

test('reads whom a ServerAuthorization lets in', () => {
  const clients = (client: unknown) => parseServerAuthorization(object({ server: { name: 's' }, client })).clients;
  const web = { kind: 'mesh', identities: [], serviceAccounts: [{ namespace: 'app', name: 'web' }] };
  assert.deepEqual(clients({ unauthenticated: true }), { kind: 'unauthenticated' });
  assert.deepEqual(clients({ unauthenticated: true, meshTLS: null }), { kind: 'unauthenticated' });
  assert.deepEqual(clients({ meshTLS: { unauthenticatedTLS: true } }), { kind: 'tls' });
  assert.deepEqual(clients({ meshTLS: { identities: ['*', '*.app.example', 'a.b'] } }), {
    kind: 'mesh',
    identities: [{ kind: 'suffix', parts: [] }, { kind: 'suffix', parts: ['app', 'example'] }, exact('a.b')],
    serviceAccounts: [],
  });
  assert.deepEqual(clients({ meshTLS: { serviceAccounts: [{ name: 'web' }] } }), web);
  assert.deepEqual(clients({ meshTLS: { serviceAccounts: [{ name: 'web', namespace: 'other' }] } }), {
    ...web,
    serviceAccounts: [{ namespace: 'other', name: 'web' }],
  });
});

test('takes serviceAccounts beside meshTLS for what they are below it, and never for anyone', () => {
  const clients = (client: unknown) => parseServerAuthorization(object({ server: { name: 's' }, client })).clients;
  const web = { kind: 'mesh', identities: [], serviceAccounts: [{ namespace: 'app', name: 'web' }] };
  const serviceAccounts = [{ name: 'web' }];
  for (const meshTLS of [null, undefined, {}]) assert.deepEqual(clients({ meshTLS, serviceAccounts }), web);
  const both = clients({ meshTLS: { identities: ['a.b'], serviceAccounts: [{ name: 'bot' }] }, serviceAccounts });
  assert.deepEqual(both, {
    kind: 'mesh',
    identities: [exact('a.b')],
    serviceAccounts: [
      { namespace: 'app', name: 'bot' },
      { namespace: 'app', name: 'web' },
    ],
  });
  for (const client of [
    { meshTLS: null },
    { meshTLS: null, serviceAccounts: [] },
    { meshTLS: {} },
    { meshTLS: { identities: [], serviceAccounts: [] } },
    { meshTLS: { unauthenticatedTLS: false } },
    { unauthenticated: false },
    {},
    { networks: [{ cidr: '10.0.0.0/8' }] },
  ]) {
    assert.equal(clients(client).kind, 'nobody', JSON.stringify(client));
  }
});

test('refuses a ServerAuthorization that contradicts itself', () => {
  const server = { name: 's' };
  const refusesClient = (client: unknown, ...problems: string[]) =>
    refuses(parseServerAuthorization, { server, client }, ...problems);
  refusesClient(
    { unauthenticated: true, meshTLS: {} },
    'spec.client.meshTLS: found {}, allowed is nothing where unauthenticated is true',
  );
  refusesClient(
    { unauthenticated: true, serviceAccounts: [{ name: 'web' }] },
    'spec.client.serviceAccounts: found [{"name":"web"}], allowed is nothing where unauthenticated is true',
  );
  const contradiction =
    'spec.client.meshTLS.unauthenticatedTLS: found true, allowed is false where identities or serviceAccounts are named';
  refusesClient({ meshTLS: { unauthenticatedTLS: true, identities: ['*'] } }, contradiction);
  refusesClient({ meshTLS: { unauthenticatedTLS: true }, serviceAccounts: [{ name: 'web' }] }, contradiction);
  refusesClient(
    { unauthenticated: true, networks: [{ cidr: '10.0.0.0/8', except: ['10.0.0.0/8', '192.168.0.1'] }, { cidr: 'x' }] },
    'spec.client.networks[0].except[0]: found "10.0.0.0/8", allowed is a part of the cidr, not all of it',
    'spec.client.networks[0].except[1]: found "192.168.0.1", allowed is a part of the cidr',
    'spec.client.networks[1].cidr: found "x", allowed is an address or a network such as 10.0.0.0/8',
  );
  refusesClient(
    { meshTLS: true, serviceAccounts: 'web' },
    'spec.client.meshTLS: found true, allowed is an object or null',
    'spec.client.serviceAccounts: found "web", allowed is a list',
  );
  refusesClient(undefined, 'spec.client: found nothing, allowed is who may speak to the server');
  const client = { unauthenticated: true };
  refuses(
    parseServerAuthorization,
    { client, server: {} },
    'spec.server: found {}, allowed is one of name and selector',
  );
  refuses(
    parseServerAuthorization,
    { client, server: { name: 's', selector: {} } },
    'spec.server.selector: found {}, allowed is one of name and selector',
  );
});

const ANY = { group: 'policy.linkerd.io', kind: 'Server', name: 's' };

test('reads the target and the authentications of an AuthorizationPolicy, whatever the case', () => {
  const parse = (targetRef: unknown, requiredAuthenticationRefs: unknown[] = []) =>
    parseAuthorizationPolicy(object({ targetRef, requiredAuthenticationRefs }));
  assert.deepEqual(parse(ANY).target, ANY);
  assert.deepEqual(parse({ kind: 'Namespace', name: 'app' }).target, { group: '', kind: 'Namespace', name: 'app' });
  assert.equal(parse({ group: 'CORE', kind: 'NAMESPACE', name: 'app' }).target.kind, 'Namespace');
  for (const [group, kind] of [
    ['policy.linkerd.io', 'HTTPRoute'],
    ['gateway.networking.k8s.io', 'HTTPRoute'],
    ['gateway.networking.k8s.io', 'GRPCRoute'],
  ]) {
    assert.deepEqual(parse({ group, kind, name: 'r' }).target, { group, kind, name: 'r' });
  }
  const mesh = { group: 'policy.linkerd.io', kind: 'MeshTLSAuthentication', name: 'm', namespace: 'other' };
  const network = { group: 'policy.linkerd.io', kind: 'NetworkAuthentication', name: 'n' };
  assert.deepEqual(parse(ANY, [mesh, network]).required, [
    { kind: 'MeshTLSAuthentication', namespace: 'other', name: 'm' },
    { kind: 'NetworkAuthentication', namespace: 'app', name: 'n' },
  ]);
  assert.deepEqual(parse(ANY, [{ kind: 'ServiceAccount', name: 'web' }]).required, [
    { kind: 'ServiceAccount', namespace: 'app', name: 'web' },
  ]);
  assert.deepEqual(parse(ANY).required, []);
});

test('refuses an AuthorizationPolicy for another namespace, for other kinds, and with two of a kind', () => {
  const refusesPolicy = (targetRef: unknown, required: unknown, problem: RegExp) =>
    assert.throws(
      () => parseAuthorizationPolicy(object({ targetRef, requiredAuthenticationRefs: required })),
      (error: Error) => problem.test(error.message),
      String(problem),
    );
  const targets = 'a reference to one of Server.policy.linkerd.io, Namespace, HTTPRoute.policy.linkerd.io';
  refusesPolicy({ kind: 'Namespace', name: 'other' }, [], /^spec\.targetRef\.name: found "other", allowed is app,/);
  refusesPolicy(
    { group: 'apps', kind: 'Deployment', name: 'd' },
    [],
    new RegExp(`^spec.targetRef: found .*${targets}`),
  );
  refusesPolicy({ kind: 'Server', name: 's' }, [], /^spec\.targetRef: found/);
  refusesPolicy({ group: 'policy.linkerd.io', kind: 'GRPCRoute', name: 's' }, [], /^spec\.targetRef: found/);
  refusesPolicy(undefined, [], /^spec\.targetRef: found nothing/);
  refusesPolicy(ANY, undefined, /^spec\.requiredAuthenticationRefs: found nothing/);
  const group = 'policy.linkerd.io';
  const mesh = { group, kind: 'MeshTLSAuthentication', name: 'm' };
  const network = { group, kind: 'NetworkAuthentication', name: 'n' };
  const account = { kind: 'ServiceAccount', name: 'web' };
  for (const [first, second] of [
    [mesh, mesh],
    [account, account],
    [mesh, account],
    [account, mesh],
    [network, network],
  ]) {
    refusesPolicy(ANY, [first, second], /^spec\.requiredAuthenticationRefs\[1\]: .* at most one/);
  }
  refusesPolicy(ANY, [{ group, kind: 'Server', name: 's' }], /^spec\.requiredAuthenticationRefs\[0\]: found/);
});

test('takes what clients of other languages leave null for what is not set', () => {
  const network = { cidr: '10.0.0.0/8', except: null };
  assert.equal(parseNetworkAuthentication(object({ networks: [network] })).networks[0]?.except.length, 0);
  const refs = [{ group: null, kind: 'ServiceAccount', name: 'web', namespace: null }];
  const web = { namespace: 'app', name: 'web' };
  const mesh = parseMeshTLSAuthentication(object({ identities: null, identityRefs: refs }));
  assert.deepEqual(mesh.serviceAccounts, [web]);
  const policy = parseAuthorizationPolicy(object({ targetRef: ANY, requiredAuthenticationRefs: refs }));
  assert.deepEqual(policy.required, [{ kind: 'ServiceAccount', ...web }]);
  const meshTLS = { unauthenticatedTLS: null, identities: null, serviceAccounts: [{ name: 'web', namespace: null }] };
  const { clients, networks } = parseServerAuthorization(
    object({ server: { name: 's', selector: null }, client: { networks: null, unauthenticated: false, meshTLS } }),
  );
  assert.deepEqual([clients, networks], [{ kind: 'mesh', identities: [], serviceAccounts: [web] }, []]);
  const limited = parseHTTPLocalRateLimitPolicy(
    object({ targetRef: ANY, total: { requestsPerSecond: 5 }, identity: null, overrides: null }),
  );
  assert.deepEqual([limited.total, limited.identity, limited.overrides], [5, undefined, []]);
});

test('reads and refuses identities', () => {
  for (const good of [
    '*',
    '*.app',
    '*.app.serviceaccount.identity.linkerd.cluster.local',
    'web.app',
    'web',
    'spiffe://td.example/ns/app/sa/Web_1',
    'spiffe://td',
  ]) {
    assert.ok(parseIdentityMatch(good), good);
  }
  for (const bad of [
    '',
    '**',
    'a.*',
    '*a',
    '*.',
    '.a',
    'a..b',
    'A.b',
    'a_b',
    'spiffe://',
    'spiffe://td/',
    'spiffe://td/a//b',
    'spiffe://td/../a',
    'spiffe://TD/a',
    'spiffe://td/a?b',
    'https://td/a',
  ]) {
    assert.equal(parseIdentityMatch(bad), undefined, bad);
  }
  const matches = (match: string, identity: string) => identityMatches(parseIdentityMatch(match)!, identity);
  assert.ok(matches('*', 'web.app'));
  assert.ok(matches('*.app', 'web.app'));
  assert.ok(!matches('*.app', 'app'));
  assert.ok(!matches('*.app', 'webapp'));
  assert.ok(!matches('*', 'spiffe://td/web'));
  assert.ok(matches('spiffe://td/web', 'spiffe://td/web'));
});

test('reads MeshTLSAuthentications', () => {
  const parse = (spec: unknown) => parseMeshTLSAuthentication(object(spec));
  assert.deepEqual(parse({ identities: ['*'] }).identities, [{ kind: 'suffix', parts: [] }]);
  const refs = [
    { kind: 'ServiceAccount', name: 'web' },
    { kind: 'ServiceAccount', name: 'web', namespace: 'other' },
    { kind: 'Namespace', name: 'ns' },
  ];
  const { serviceAccounts, namespaces } = parse({ identityRefs: refs });
  assert.deepEqual(serviceAccounts, [
    { namespace: 'app', name: 'web' },
    { namespace: 'other', name: 'web' },
  ]);
  assert.deepEqual(namespaces, ['ns']);
  const one = 'allowed is one of identities and identityRefs';
  refuses(parseMeshTLSAuthentication, {}, `spec.identities: found nothing, ${one}`);
  refuses(
    parseMeshTLSAuthentication,
    { identities: ['*'], identityRefs: [{ kind: 'Namespace', name: 'ns' }] },
    `spec.identityRefs: found [{"kind":"Namespace","name":"ns"}], ${one}`,
  );
  refuses(parseMeshTLSAuthentication, { identities: [] }, 'spec.identities: found [], allowed is at least one');
  refuses(
    parseMeshTLSAuthentication,
    {
      identityRefs: [
        { kind: 'Namespace', name: 'ns', namespace: 'app' },
        { kind: 'Pod', name: 'p' },
      ],
    },
    'spec.identityRefs[0].namespace: found "app", allowed is nothing for a Namespace',
    'spec.identityRefs[1]: found {"kind":"Pod","name":"p"}, allowed is a reference to one of ServiceAccount, Namespace',
  );
  assert.throws(() => parse({ identities: ['*', 'A'] }), /^MeshError: spec\.identities\[1\]: found "A"/);
});

test('reads NetworkAuthentications', () => {
  const { networks } = parseNetworkAuthentication(
    object({
      networks: [
        { cidr: '10.0.0.0/8', except: ['10.1.0.0/16', '10.2.3.4'] },
        { cidr: 'fd00::/8' },
        { cidr: '1.2.3.4' },
      ],
    }),
  );
  const text = ({ address, prefixLength }: (typeof networks)[0]['network']) => `${formatIp(address)}/${prefixLength}`;
  assert.deepEqual(
    networks.map(({ network, except }) => [text(network), except.map(text)]),
    [
      ['10.0.0.0/8', ['10.1.0.0/16', '10.2.3.4/32']],
      ['fd00::/8', []],
      ['1.2.3.4/32', []],
    ],
  );
  refuses(parseNetworkAuthentication, {}, 'spec.networks: found nothing, allowed is at least one network');
  refuses(parseNetworkAuthentication, { networks: [] }, 'spec.networks: found [], allowed is at least one network');
  refuses(
    parseNetworkAuthentication,
    {
      networks: [
        { cidr: '10.0.0.0/8', except: ['0.0.0.0/0'] },
        { cidr: '10.0.0.0/8', except: ['fd00::/8'] },
      ],
    },
    'spec.networks[0].except[0]: found "0.0.0.0/0", allowed is a part of the cidr, not all of it',
    'spec.networks[1].except[0]: found "fd00::/8", allowed is a part of the cidr',
  );
});

test('reads HTTPLocalRateLimitPolicies', () => {
  const clientRefs = [{ kind: 'ServiceAccount', name: 'web' }];
  const limit = (requestsPerSecond: number) => ({ requestsPerSecond });
  const parsed = parseHTTPLocalRateLimitPolicy(
    object({ targetRef: ANY, total: limit(100), identity: limit(10), overrides: [{ ...limit(100), clientRefs }] }),
  );
  assert.deepEqual(
    [parsed.serverName, parsed.total, parsed.identity, parsed.overrides],
    ['s', 100, 10, [{ requestsPerSecond: 100, serviceAccounts: [{ namespace: 'app', name: 'web' }] }]],
  );
  const refusesLimit = (spec: object, problem: string) =>
    refuses(parseHTTPLocalRateLimitPolicy, { targetRef: ANY, ...spec }, problem);
  const all = 'allowed is 1 to 4294967295';
  refusesLimit({ total: limit(0) }, `spec.total.requestsPerSecond: found 0, ${all}`);
  refusesLimit({ identity: limit(0) }, `spec.identity.requestsPerSecond: found 0, ${all}`);
  refusesLimit({ total: {} }, `spec.total.requestsPerSecond: found nothing, ${all}`);
  refusesLimit({ overrides: [{ ...limit(0), clientRefs }] }, `spec.overrides[0].requestsPerSecond: found 0, ${all}`);
  refusesLimit(
    { total: limit(5), identity: limit(6) },
    'spec.identity.requestsPerSecond: found 6, allowed is 1 to 5, the total',
  );
  refusesLimit(
    { total: limit(5), overrides: [{ ...limit(6), clientRefs }] },
    'spec.overrides[0].requestsPerSecond: found 6, allowed is 1 to 5, the total',
  );
  refusesLimit(
    { overrides: [{ ...limit(1), clientRefs: [{ kind: 'Namespace', name: 'n' }] }] },
    'spec.overrides[0].clientRefs[0]: found {"kind":"Namespace","name":"n"}, allowed is a reference to one of ServiceAccount',
  );
  refuses(
    parseHTTPLocalRateLimitPolicy,
    { targetRef: { kind: 'Namespace', name: 'app' } },
    'spec.targetRef: found {"kind":"Namespace","name":"app"}, allowed is a reference to one of Server.policy.linkerd.io',
  );
});
