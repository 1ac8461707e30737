/** Where requests go and how: the examples of docs/ on routing, retries, breakers, egress and service profiles, on real proxies. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import {
  agentOf,
  apply,
  deployPeers,
  enterNetwork,
  inForce,
  installMesh,
  openCluster,
  podsOf,
  type TestCluster,
  tulle,
  until,
  untilDeploymentReady,
} from './support/cluster.ts';
import { exampleOf } from './support/examples.ts';
import { type Agent, namespaceManifest, PORTS, peerManifests } from './support/peers.ts';

const NAMESPACE = 'emojiivoto';
const IN_FORCE_MS = 15_000;
const ORIGIN = `http://emoji:${PORTS.http}`;
/** Of the block for documentation (RFC 5737): outside every cluster. */
const OUTSIDE = '203.0.113.7';
const OUTSIDE_PORT = 8080;

let cluster: TestCluster;
let web: Agent;

before(async () => {
  cluster = await openCluster();
  await installMesh(cluster);
  await deployPeers(cluster, NAMESPACE, [
    { name: 'emoji', role: 'server' },
    { name: 'emoji-next', role: 'server' },
    { name: 'web', role: 'agent' },
  ]);
  web = await agentOf(cluster, NAMESPACE, 'web');
});

after(() => cluster?.[Symbol.asyncDispose]());

interface Answer {
  status: number;
  headers: Record<string, string>;
  /** The pod's Deployment. */
  from: string;
  echo: any;
}

async function get(path: string, headers: Record<string, string> = {}, origin = ORIGIN): Promise<Answer> {
  const { status, headers: answered, body } = await web.run('http', { url: `${origin}${path}`, headers });
  const echo = body.startsWith('{') ? JSON.parse(body) : {};
  return { status, headers: answered, from: (echo.pod ?? '').replace(/-[^-]+-[^-]+$/, ''), echo };
}

/** Share of the answers that came from a Deployment's pods. */
async function shareOf(name: string, seconds: number): Promise<number> {
  const { http } = await web.load({ httpUrl: `${ORIGIN}/`, seconds });
  assert.equal(http?.failed, 0, JSON.stringify(http?.reasons));
  const own = Object.entries(http?.pods ?? {}).filter(([pod]) => pod.replace(/-[^-]+-[^-]+$/, '') === name);
  return own.reduce((sum, [, count]) => sum + count, 0) / (http?.ok || 1);
}

test('requests are split by weight', async () => {
  await using _ = await inForce(cluster, exampleOf('traffic-splitting.md', 'split'));
  await until('the split is in force', async () => (await shareOf('emoji-next', 1)) > 0, IN_FORCE_MS);
  const share = await shareOf('emoji-next', 10);
  // 2,000 requests at a tenth: six standard deviations are 4 in a hundred.
  assert.ok(Math.abs(share - 0.1) < 0.04, `emoji-next got ${(share * 100).toFixed(1)} %`);
});

test('requests go by header and by query', async () => {
  await using _ = await inForce(cluster, exampleOf('traffic-splitting.md', 'headers'));
  await until(
    'the header decides',
    async () => (await get('/', { 'x-tester': 'yes' })).from === 'emoji-next',
    IN_FORCE_MS,
  );
  assert.equal((await get('/?preview=1')).from, 'emoji-next');
  assert.equal((await get('/?preview=2')).from, 'emoji');
  assert.equal((await get('/', { 'x-tester': 'no' })).from, 'emoji');
});

test('a route in the namespace of the client holds for its clients alone', async () => {
  const other = 'elsewhere';
  await apply(cluster, [namespaceManifest(other), ...peerManifests({ name: 'web', namespace: other, role: 'agent' })]);
  await untilDeploymentReady(cluster, other, 'web');
  const route = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { namespace: other, name: 'consumer' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'emoji', namespace: NAMESPACE, port: PORTS.http }],
      rules: [
        {
          filters: [
            { type: 'ResponseHeaderModifier', responseHeaderModifier: { set: [{ name: 'x-by', value: 'consumer' }] } },
          ],
        },
      ],
    },
  };
  await using _ = await inForce(cluster, [route]);
  const elsewhere = await agentOf(cluster, other, 'web');
  const url = `http://emoji.${NAMESPACE}:${PORTS.http}/`;
  const by = async (agent: Agent) => (await agent.run('http', { url })).headers['x-by'];
  await until('the consumer route is in force', async () => (await by(elsewhere)) === 'consumer', IN_FORCE_MS);
  assert.equal(await by(web), undefined);
});

test('filters rewrite, redirect and change headers', async () => {
  await using _ = await inForce(cluster, exampleOf('traffic-splitting.md', 'filters'));
  await until(
    'the filters are in force',
    async () => (await get('/old/a')).headers['x-rewritten'] === 'yes',
    IN_FORCE_MS,
  );
  const rewritten = await get('/old/a?b=c');
  assert.equal(rewritten.echo.path, '/new/a?b=c');
  assert.equal(rewritten.echo.headers['x-from'], 'old');
  const moved = await get('/moved/x');
  assert.equal(moved.status, 301);
  assert.equal(new URL(moved.headers.location ?? '').hostname, 'emoji-next');
  const plain = await get('/other');
  assert.equal(plain.echo.path, '/other');
  assert.equal(plain.headers['x-rewritten'], undefined);
});

test('a mirror gets a copy, and its answer goes nowhere', async () => {
  await using _ = await inForce(cluster, exampleOf('traffic-splitting.md', 'mirror'));
  const next = `http://emoji-next:${PORTS.http}`;
  const seen = async (path: string) => (await get(`/?seen=${path}`, {}, next)).echo.seen;
  await until(
    'the mirror is in force',
    async () => {
      assert.equal((await get('/warm-up')).from, 'emoji');
      return (await seen('/warm-up')) > 0;
    },
    IN_FORCE_MS,
  );
  for (let i = 0; i < 10; i++) assert.equal((await get('/copied')).from, 'emoji');
  await until('all ten copies have come', async () => (await seen('/copied')) === 10, IN_FORCE_MS);
});

test('a session stays with the endpoint that answered first', async () => {
  await apply(cluster, [
    { ...peerManifests({ name: 'emoji', namespace: NAMESPACE, role: 'server', replicas: 3 })[1] } as any,
  ]);
  await untilDeploymentReady(cluster, NAMESPACE, 'emoji');
  await using _ = await inForce(cluster, exampleOf('traffic-splitting.md', 'session'));
  await until('sessions are in force', async () => 'emoji-session' in (await get('/')).headers, IN_FORCE_MS);
  const first = await get('/');
  const token = first.headers['emoji-session'] ?? '';
  for (let i = 0; i < 20; i++) {
    assert.equal((await get('/', { 'emoji-session': token })).echo.pod, first.echo.pod);
  }
  await apply(cluster, [{ ...peerManifests({ name: 'emoji', namespace: NAMESPACE, role: 'server' })[1] } as any]);
  await untilDeploymentReady(cluster, NAMESPACE, 'emoji');
  await until('one replica is left', async () => (await podsOf(cluster, NAMESPACE, 'emoji')).length === 1);
});

test('failed requests are sent again, and slow ones given up', async () => {
  const key = () => Math.random().toString(36).slice(2);
  assert.equal((await get(`/?fail=1&key=${key()}`)).status, 500);
  await using _ = await inForce(cluster, exampleOf('retries-and-timeouts.md', 'retries'));
  await until('retries are in force', async () => (await get(`/?fail=1&key=${key()}`)).status === 200, IN_FORCE_MS);
  const third = await get(`/?fail=2&key=${key()}`);
  assert.deepEqual([third.status, third.echo.attempt], [200, 3]);
  assert.equal((await get(`/?fail=3&key=${key()}`)).status, 500);
  const startedAt = Date.now();
  assert.equal((await get('/?delay=5000')).status, 504);
  assert.ok(Date.now() - startedAt < 4_000, 'it was given up before it was done');
});

test('routes of a GRPCRoute go by method', async () => {
  const route = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GRPCRoute',
    metadata: { namespace: NAMESPACE, name: 'unary' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'emoji', port: PORTS.grpc }],
      rules: [
        {
          matches: [{ method: { service: 'tulle.test.v1.Echo', method: 'Unary' } }],
          backendRefs: [{ name: 'emoji-next', port: PORTS.grpc }],
        },
        { backendRefs: [{ name: 'emoji', port: PORTS.grpc }] },
      ],
    },
  };
  await using _ = await inForce(cluster, [route]);
  const from = async (shape: string) => {
    const { answers } = await web.run('grpc', { origin: `http://emoji:${PORTS.grpc}`, shape });
    return answers[0].pod.replace(/-[^-]+-[^-]+$/, '');
  };
  await until('the route is in force', async () => (await from('unary')) === 'emoji-next', IN_FORCE_MS);
  assert.equal(await from('serverStream'), 'emoji');
});

test('an ingress controller names the Service that its requests are for', async () => {
  await using _ = await inForce(cluster, [
    ...exampleOf('ingress.md', 'ingress'),
    ...exampleOf('traffic-splitting.md', 'headers'),
  ]);
  await until('the ingress is ready', async () => {
    const [pod] = await podsOf(cluster, NAMESPACE, 'ingress');
    return pod?.status.conditions.some(
      (c: { type: string; status: string }) => c.type === 'Ready' && c.status === 'True',
    );
  });
  const ingress = await agentOf(cluster, NAMESPACE, 'ingress');
  const [pod] = await podsOf(cluster, NAMESPACE, 'emoji');
  const override = `emoji.${NAMESPACE}.svc.cluster.local:${PORTS.http}`;
  const ask = async (headers: Record<string, string>) => {
    const url = `http://${pod?.status.podIP}:${PORTS.http}/`;
    return JSON.parse((await ingress.run('http', { url, headers: { 'x-tester': 'yes', ...headers } })).body);
  };
  assert.equal((await ask({})).pod, pod?.metadata.name);
  const routed = await ask({ 'l5d-dst-override': override });
  assert.match(routed.pod, /^emoji-next-/);
  assert.equal(routed.headers['l5d-dst-override'], undefined);
});

test('what leaves the cluster is what the EgressNetwork allows', {
  skip: process.env.TEST_KUBECONFIG ? 'adds an address to the network of the one-machine cluster' : false,
}, async () => {
  await using _outside = await startOutside();
  const outside = async (path: string, host = 'allowed.example') =>
    (await get(path, { host }, `http://${OUTSIDE}:${OUTSIDE_PORT}`)).status;
  assert.equal(await outside('/private'), 200);
  await using _ = await inForce(cluster, exampleOf('egress.md', 'egress'));
  await until('egress is denied', async () => (await outside('/private')) === 403, IN_FORCE_MS);
  assert.equal(await outside('/public/x'), 200);
  assert.equal(await outside('/public/x', 'other.example'), 403);
  const [network] = exampleOf('egress.md', 'egress') as [any];
  await apply(cluster, [{ ...network, spec: { trafficPolicy: 'Allow' } }]);
  await until('egress is allowed', async () => (await outside('/private')) === 200, IN_FORCE_MS);
});

/** A web server on an address that is not of the cluster, in the network of its node. */
async function startOutside(): Promise<AsyncDisposable> {
  const program = `require('http').createServer((q, s) => s.end('outside')).listen(${OUTSIDE_PORT}, '${OUTSIDE}', () => console.log('listens'))`;
  const script = `ip address add ${OUTSIDE}/32 dev lo && exec setpriv --pdeathsig KILL ${process.execPath} -e "${program}"`;
  const [command, args] = enterNetwork(cluster, 'sh', '-c', script);
  const server = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await Promise.race([
    once(server.stdout, 'data'),
    once(server, 'exit').then(() => Promise.reject(new Error('the server outside has ended'))),
  ]);
  return {
    async [Symbol.asyncDispose]() {
      server.kill('SIGKILL');
    },
  };
}

test('a service profile names routes, retries them and splits', async () => {
  {
    await using _ = await inForce(cluster, exampleOf('service-profiles.md', 'profile'));
    const key = () => Math.random().toString(36).slice(2);
    await until(
      'its retries are in force',
      async () => (await get(`/list?fail=1&key=${key()}`)).status === 200,
      IN_FORCE_MS,
    );
    assert.equal((await get('/list?delay=3000')).status, 504);
    assert.equal((await get(`/other?fail=1&key=${key()}`)).status, 500);
    const metrics = await tulle(cluster, 'diagnostics', 'proxy-metrics', '-n', NAMESPACE, 'deploy/web');
    assert.match(metrics, /^route_response_total\{[^}]*rt_route="GET \/list"/m);
  }
  await using _ = await inForce(cluster, exampleOf('service-profiles.md', 'overrides'));
  await until('the split is in force', async () => (await shareOf('emoji-next', 1)) > 0, IN_FORCE_MS);
  const share = await shareOf('emoji-next', 10);
  assert.ok(Math.abs(share - 0.5) < 0.1, `emoji-next got ${(share * 100).toFixed(1)} %`);
});

test('a breaker keeps requests from a replica that fails', async () => {
  // A second Deployment behind the same Service that fails every request. Last, since it stays.
  const [, failing] = peerManifests({ name: 'failing', namespace: NAMESPACE, role: 'server', env: { STATUS: '503' } });
  const deployment = failing as any;
  deployment.spec.selector.matchLabels = { app: 'emoji', state: 'failing' };
  deployment.spec.template.metadata.labels = { app: 'emoji', state: 'failing' };
  deployment.spec.template.spec.serviceAccountName = 'emoji';
  deployment.spec.template.spec.containers[0].readinessProbe = { tcpSocket: { port: PORTS.http }, periodSeconds: 1 };
  await apply(cluster, [deployment]);
  await untilDeploymentReady(cluster, NAMESPACE, 'failing');
  const failedShare = async () => {
    const { http } = await web.load({ httpUrl: `${ORIGIN}/`, seconds: 4 });
    return (http?.failed ?? 0) / (http?.sent || 1);
  };
  await until('the failing replica has its share', async () => (await failedShare()) > 0.1, 60_000);
  const [service] = exampleOf('circuit-breaking.md', 'breaker') as [any];
  await cluster.client.patch(
    await cluster.client.kindFor('v1', 'Service'),
    'emoji',
    NAMESPACE,
    { metadata: { annotations: service.metadata.annotations } },
    'merge',
  );
  // Five failures open it; then one request now and then finds out whether it is back.
  await until('the breaker keeps requests away', async () => (await failedShare()) < 0.02, 60_000);
});
