/** The definitions that `tulle install --crds` prints, and objects of them, through a current kubectl. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { KubeObject } from '@tulle/api';
import { root } from './support/cluster.ts';
import { openKubectl } from './support/kubectl-cluster.ts';

const namespace = `crds-${randomBytes(4).toString('hex')}`;
const cluster = await openKubectl();
let printed: string;

const kubectl = (...args: string[]) => cluster.kubectl('-n', namespace, ...args);
const apply = (text: string, ...flags: string[]) =>
  cluster.kubectl.withInput(text, '-n', namespace, 'apply', ...flags, '-f', '-');
const attempt = (text: string, ...flags: string[]) =>
  cluster.kubectl.run(['-n', namespace, 'apply', ...flags, '-f', '-'], text);
const json = async (...args: string[]): Promise<KubeObject> => JSON.parse(await kubectl('get', ...args, '-o', 'json'));
const rows = (table: string) =>
  table
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().split(/ {2,}/));

/** The two resources that the project began with, as they were printed. */
const emoji = (ns: string) => `
apiVersion: policy.linkerd.io/v1beta1
kind: Server
metadata:
  namespace: ${ns}
  name: emoji-grpc
  labels:
    app-kind: internal
spec:
  podSelector:
    matchLabels:
      app: emoji # matches pods labeled app=emoji
  port: grpc # matches the containerPort named grpc
  proxyProtocol: gRPC # configures protocol detection
---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata:
  namespace: ${ns}
  name: emoji-grpc
spec:
  server:
    selector:
      app-kind: internal # matches servers by label
  client:
    meshTLS: # authorizes mTLS'd connections from web
    serviceAccounts:
      - name: web
`;

before(async () => {
  const flags = ['--kubeconfig', cluster.kubeconfig, 'install', '--crds', '--enable-smi'];
  const program = [join(root, 'cli/src/main.ts'), ...flags];
  ({ stdout: printed } = await promisify(execFile)(process.execPath, program, { maxBuffer: 2 ** 24 }));
  await cluster.kubectl.withInput(printed, 'apply', '-f', '-');
  const names = printed.match(/^ {2}name: \S+$/gm)!.map((line) => `crd/${line.trim().split(' ')[1]}`);
  await cluster.kubectl('wait', '--for=condition=Established', '--timeout=30s', ...names);
  await cluster.kubectl('create', 'namespace', namespace);
});

after(() => cluster.kubectl.run(['delete', 'namespace', namespace, '--wait=false']));

test('applying the definitions again changes nothing, so that they can be upgraded in place', async () => {
  const lines = (await cluster.kubectl.withInput(printed, 'apply', '-f', '-')).trim().split('\n');
  assert.deepEqual(
    lines.filter((line) => !line.endsWith(' unchanged')),
    [],
  );
  assert.equal(lines.length, printed.match(/^---$/gm)!.length);
  await cluster.kubectl.withInput(printed, 'apply', '--server-side', '--force-conflicts', '-f', '-');
});

test('the two printed resources survive apply and read-back in every version', async () => {
  const { code, stdout, stderr } = await attempt(emoji(namespace));
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    /server\.policy\.linkerd\.io\/emoji-grpc created\nserverauthorization\.policy\.linkerd\.io\/emoji-grpc created/,
  );
  assert.match(stderr, /Warning: policy\.linkerd\.io\/v1beta1 Server is deprecated/);
  assert.match(await apply(emoji(namespace)), /emoji-grpc unchanged\n.*emoji-grpc unchanged/);
  await apply(emoji(namespace), '--server-side', '--force-conflicts');
  assert.match(await kubectl('get', 'saz', 'emoji-grpc', '-o', 'yaml'), /\n {4}serviceAccounts:\n {4}- name: web\n/);
  for (const kind of [
    'serverauthorizations.v1beta1.policy.linkerd.io',
    'serverauthorizations.v1alpha1.policy.linkerd.io',
  ]) {
    const { spec } = await json(kind, 'emoji-grpc');
    assert.deepEqual(spec.client.serviceAccounts, [{ name: 'web' }], kind);
    assert.deepEqual(spec.server, { selector: { 'app-kind': 'internal' } }, kind);
    assert.equal(spec.client.meshTLS ?? null, null);
  }
  const { apiVersion, spec } = await json('server', 'emoji-grpc');
  assert.equal(apiVersion, 'policy.linkerd.io/v1beta3');
  assert.deepEqual(spec, {
    accessPolicy: 'deny',
    podSelector: { matchLabels: { app: 'emoji' } },
    port: 'grpc',
    proxyProtocol: 'gRPC',
  });
  // What that version does not know is kept all the same: its readers refuse what stands in a wrong place.
  const { spec: asWritten } = await json('servers.v1beta1.policy.linkerd.io', 'emoji-grpc');
  assert.deepEqual({ ...asWritten, accessPolicy: 'deny' }, spec);
});

test('tables have the columns of Linkerd, under every short name', async () => {
  await apply(emoji(namespace));
  const table = rows(await kubectl('get', 'srv'));
  assert.deepEqual(table[0], ['NAME', 'PORT', 'PROTOCOL', 'ACCESS POLICY']);
  assert.deepEqual(
    table.find(([name]) => name === 'emoji-grpc'),
    ['emoji-grpc', 'grpc', 'gRPC', 'deny'],
  );
  for (const kind of ['saz', 'serverauthz', 'srvauthz'])
    assert.deepEqual(rows(await kubectl('get', kind))[0], ['NAME', 'SERVER']);
  for (const kind of [
    'authzpolicy',
    'meshtlsauthn',
    'netauthn',
    'networkauthn',
    'sp',
    'ts',
    'tt',
    'htr',
    'tr',
    'refgrant',
    'egressnetworks',
    'externalworkloads',
    // Categories, as Linkerd has them.
    'policy',
    'external',
  ])
    assert.match((await cluster.kubectl.run(['-n', namespace, 'get', kind])).stderr, /No resources found/, kind);
  await apply(limits);
  assert.deepEqual(rows(await kubectl('get', 'httplocalratelimitpolicies')), [
    ['NAME', 'TARGET_KIND', 'TARGET_NAME', 'TOTAL_RPS', 'IDENTITY_RPS'],
    ['limits', 'Server', 'emoji-grpc', '100', '20'],
  ]);
});

const limits = `
apiVersion: policy.linkerd.io/v1alpha1
kind: HTTPLocalRateLimitPolicy
metadata: { name: limits }
spec:
  targetRef: { group: policy.linkerd.io, kind: Server, name: emoji-grpc }
  total: { requestsPerSecond: 100 }
  identity: { requestsPerSecond: 20 }
`;

const route = (apiVersion: string, name: string, rest = '') => `
apiVersion: ${apiVersion}
kind: HTTPRoute
metadata: { name: ${name} }
spec:
  hostnames: [shop.example]
  parentRefs: [{ group: "", kind: Service, name: web, port: 80 }]
  rules:
    - backendRefs:
      - name: web
        port: 80
${rest}`;

test('routes get the defaults of their matches, backends and parents', async () => {
  for (const apiVersion of ['policy.linkerd.io/v1beta3', 'gateway.networking.k8s.io/v1']) {
    await apply(route(apiVersion, 'web'));
    const [group, version] = apiVersion.split('/');
    const kind = `httproutes.${version}.${group}`;
    const { spec } = await json(kind, 'web');
    const rule = {
      matches: [{ path: { type: 'PathPrefix', value: '/' } }],
      backendRefs: [{ group: '', kind: 'Service', name: 'web', port: 80, weight: 1 }],
    };
    assert.deepEqual(spec.rules, [rule], apiVersion);
    const [head, row] = rows(await kubectl('get', kind));
    assert.deepEqual(head, ['NAME', 'HOSTNAMES', 'AGE']);
    assert.deepEqual(row!.slice(0, 2), ['web', '["shop.example"]']);
    assert.match(row![2]!, /^\d+s$/);
  }
  for (const version of ['v1alpha1', 'v1beta1', 'v1beta2']) {
    const { spec } = await json(`httproutes.${version}.policy.linkerd.io`, 'web');
    assert.equal(spec.rules[0].backendRefs[0].name, 'web', `${version} keeps backends`);
  }
  assert.match(await kubectl('get', 'gateway-api', '-o', 'name'), /^httproute\.gateway\.networking\.k8s\.io\/web$/m);
});

test('a status is written apart from the spec', async () => {
  await apply(route('gateway.networking.k8s.io/v1', 'web'));
  const kind = 'httproutes.v1.gateway.networking.k8s.io';
  const condition = {
    type: 'Accepted',
    status: 'True',
    reason: 'Accepted',
    message: '',
    lastTransitionTime: '2030-01-01T00:00:00Z',
  };
  const parentRef = { group: '', kind: 'Service', name: 'web', port: 80 };
  const parents = [{ parentRef, controllerName: 'example.com/controller', conditions: [condition] }];
  const patch = (body: object) => [
    'patch',
    kind,
    'web',
    '--subresource=status',
    '--type=merge',
    '-p',
    JSON.stringify(body),
  ];
  await kubectl(...patch({ status: { parents }, spec: { hostnames: ['other.example'] } }));
  const { status, spec, metadata } = await json(kind, 'web');
  // Where the mesh runs, it has a word of its own about the parent.
  const own = status.parents.filter((parent: any) => parent.controllerName === parents[0]?.controllerName);
  assert.deepEqual([own, spec.hostnames, metadata.generation], [parents, ['shop.example'], 1]);
});

const object = (apiVersion: string, kind: string, spec: object) =>
  JSON.stringify({ apiVersion, kind, metadata: { name: 'bad' }, spec });

test('what a schema does not allow is refused, with the field', async () => {
  const server = (spec: string) => `
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: { name: bad }
spec: ${spec}
`;
  const bad: [what: string, manifest: string, message: RegExp][] = [
    [
      'two selectors',
      server('{ port: 80, podSelector: {}, externalWorkloadSelector: {} }'),
      /spec.*one and only one schema \(oneOf\)/,
    ],
    ['no selector', server('{ port: 80 }'), /spec.*one and only one schema \(oneOf\)/],
    ['a port that is neither number nor name', server('{ port: true, podSelector: {} }'), /spec\.port.*integer,string/],
    [
      'a protocol that nobody speaks',
      server('{ port: 80, podSelector: {}, proxyProtocol: SMTP }'),
      /spec\.proxyProtocol: Unsupported value: "SMTP"/,
    ],
    [
      'a policy that is none',
      server('{ port: 80, podSelector: {}, accessPolicy: open }'),
      /spec\.accessPolicy: Unsupported value: "open"/,
    ],
    [
      'a field that is none',
      'apiVersion: policy.linkerd.io/v1beta3\nkind: HTTPRoute\nmetadata: { name: bad }\nspec: { hostname: a.example }\n',
      /unknown field "spec\.hostname"/,
    ],
    [
      'a weight beyond its limit',
      route('gateway.networking.k8s.io/v1', 'bad', '        weight: 1000001\n'),
      /weight.*less than or equal to 1000000/,
    ],
    [
      'a method that is none',
      route('policy.linkerd.io/v1beta3', 'bad', '      matches: [{ method: FETCH }]\n'),
      /method: Unsupported value: "FETCH"/,
    ],
    [
      'a client that is named by a URI in a ServerAuthorization',
      object('policy.linkerd.io/v1beta1', 'ServerAuthorization', {
        server: { name: 'web' },
        client: { meshTLS: { identities: ['spiffe://td/web'] } },
      }),
      /spec\.client\.meshTLS\.identities\[0\].*should match/,
    ],
    [
      'a second address where there was one',
      object('workload.linkerd.io/v1alpha1', 'ExternalWorkload', {
        meshTls: { identity: 'vm', serverName: 'vm' },
        workloadIPs: [{ ip: '192.0.2.1' }, { ip: '2001:db8::1' }],
      }),
      /workloadIPs.*at most 1/,
    ],
    [
      'a profile of the first version without routes',
      object('linkerd.io/v1alpha1', 'ServiceProfile', {}),
      /spec\.routes: Required value/,
    ],
    [
      'a reference to a kind that is no name',
      object('policy.linkerd.io/v1alpha1', 'AuthorizationPolicy', {
        targetRef: { kind: 'a b', name: 'web' },
        requiredAuthenticationRefs: [],
      }),
      /spec\.targetRef\.kind.*should match/,
    ],
  ];
  for (const [what, manifest, message] of bad) {
    const { code, stderr } = await attempt(manifest);
    assert.notEqual(code, 0, what);
    assert.match(stderr, message, what);
  }
});

test('what a foreign API server may send without a schema in mind is pruned or kept as the schema says', async () => {
  const manifest = `
apiVersion: workload.linkerd.io/v1alpha1
kind: ExternalWorkload
metadata: { name: vm }
spec:
  meshTls: { identity: vm.example, serverName: vm.example }
  ports: [{ port: 80 }]
  workloadIPs: [{ ip: 192.0.2.1 }]
  unknown: 1
`;
  await apply(manifest, '--validate=false');
  const { spec } = await json('externalworkloads', 'vm');
  assert.deepEqual(spec, {
    meshTls: { identity: 'vm.example', serverName: 'vm.example' },
    ports: [{ port: 80, protocol: 'TCP' }],
    workloadIPs: [{ ip: '192.0.2.1' }],
  });
  const profile = `
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: { name: web.shop.svc.cluster.local }
spec:
  routes:
    - name: GET /
      condition: { all: [{ pathRegex: / }, { not: { method: POST } }] }
  dstOverrides: [{ authority: other.shop.svc.cluster.local, weight: 500m }, { authority: web.shop.svc.cluster.local, weight: 1 }]
`;
  await apply(profile);
  const { spec: stored } = await json('sp', 'web.shop.svc.cluster.local');
  assert.deepEqual(stored.routes[0].condition, { all: [{ pathRegex: '/' }, { not: { method: 'POST' } }] });
  assert.deepEqual(
    stored.dstOverrides.map(({ weight }: { weight: unknown }) => weight),
    ['500m', 1],
  );
});

test('explain describes fields from the schema', async () => {
  assert.match(await explained('server.spec.accessPolicy'), /What happens to clients that no authorization lets in/);
});

/** The schemas of a definition appear in OpenAPI some seconds after it is established. */
async function explained(field: string): Promise<string> {
  for (let tries = 0; ; tries++) {
    const { code, stdout, stderr } = await cluster.kubectl.run(['explain', field]);
    if (code === 0 || tries === 20) return stdout || stderr;
    await delay(500);
  }
}
