/** A Service of another cluster, reached through that cluster's gateway: the examples of docs/gateway-mode.md, both clusters being one. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  agentOf,
  apply,
  deployPeers,
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
import { type Agent, PORTS } from './support/peers.ts';

const PAGE = 'gateway-mode.md';
const MIRROR = 'emoji-east';
const REAL = 'emoji.emojiivoto.svc.cluster.local';
/** A change is in force within a second; a loaded machine may need longer to say so. */
const IN_FORCE_MS = 15_000;
const idOf = (name: string, namespace: string) => `${name}.${namespace}.serviceaccount.identity.linkerd.cluster.local`;
const GATEWAY_ID = idOf('gateway', 'multicluster');

let cluster: TestCluster;
let web: Agent;
let bot: Agent;
let plain: Agent;
let gatewayIp: string;

before(async () => {
  cluster = await openCluster();
  await installMesh(cluster);
  await Promise.all([
    apply(cluster, exampleOf(PAGE, 'gateway')).then(() => untilDeploymentReady(cluster, 'multicluster', 'gateway')),
    deployPeers(cluster, 'emojiivoto', [{ name: 'emoji', role: 'server' }]),
    deployPeers(cluster, 'west', [
      { name: 'web', role: 'agent' },
      { name: 'bot', role: 'agent' },
      { name: 'plain', role: 'agent', isMeshed: false },
    ]),
  ]);
  const [gateway] = await podsOf(cluster, 'multicluster', 'gateway');
  gatewayIp = gateway?.status.podIP;
  await apply(cluster, mirror());
  web = await agentOf(cluster, 'west', 'web');
  bot = await agentOf(cluster, 'west', 'bot');
  plain = await agentOf(cluster, 'west', 'plain');
  await until('the mirrored Service answers', async () => (await ask(web)).status === 200, IN_FORCE_MS);
});

after(() => cluster?.[Symbol.asyncDispose]());

/** The mirrored Service and its Endpoints, under another name or to another Service where given. */
function mirror(name = MIRROR, remote = REAL): Record<string, any>[] {
  const [service, endpoints] = exampleOf(PAGE, 'mirror') as [any, any];
  for (const { metadata } of [service, endpoints]) {
    metadata.name = name;
    metadata.annotations['mirror.linkerd.io/remote-svc-fq-name'] = remote;
  }
  endpoints.subsets[0].addresses[0].ip = gatewayIp;
  return [service, endpoints];
}

const ask = (agent: Agent, headers: Record<string, string> = {}, name = MIRROR) =>
  agent.run('http', { url: `http://${name}:${PORTS.http}/list?a=b`, headers });

const echo = (agent: Agent) => agent.run('tcp', { host: MIRROR, port: PORTS.echo, send: 'over there', readBytes: 10 });

const metricsOf = (namespace: string, resource: string) =>
  tulle(cluster, 'diagnostics', 'proxy-metrics', '-n', namespace, resource);

test('requests reach the Service through the gateway, and tell who sent and who forwarded them', async () => {
  const { status, body } = await ask(web, { 'l5d-client-id': 'somebody' });
  assert.equal(status, 200);
  const { path, headers } = JSON.parse(body);
  const host = `${REAL}:${PORTS.http}`;
  assert.equal(path, '/list?a=b');
  assert.equal(headers.host, host);
  assert.equal(headers['l5d-client-id'], GATEWAY_ID);
  assert.equal(headers.forwarded, `by=${GATEWAY_ID};for=${idOf('web', 'west')};host=${host};proto=https`);
});

test('HTTP/2, gRPC, WebSockets and opaque TCP go the same way', async () => {
  const origin = `http://${MIRROR}:${PORTS.grpc}`;
  for (const shape of ['unary', 'clientStream', 'serverStream', 'bidiStream']) {
    const { code, message } = await web.run('grpc', { origin, shape });
    assert.equal(code, 0, `${shape}: ${message}`);
  }
  assert.equal((await web.run('http2', { origin })).status, 200);
  const socket = await web.run('webSocket', { url: `ws://${MIRROR}:${PORTS.http}/` });
  assert.equal(socket.answers.length, 2);
  assert.equal((await echo(web)).received, 'over there');
});

test('both legs are mutual TLS', async () => {
  await ask(web);
  const series = (metrics: string, name: string, ...labels: string[]) =>
    metrics.split('\n').some((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)));
  const client = await metricsOf('west', 'deploy/web');
  const target = [
    'dst_target_cluster="east"',
    'dst_target_service="emoji"',
    'dst_target_service_namespace="emojiivoto"',
  ];
  assert.ok(series(client, 'request_total', 'tls="true"', `server_id="${GATEWAY_ID}"`, ...target), client);
  const gateway = await metricsOf('multicluster', 'deploy/gateway');
  const serverId = `server_id="${idOf('emoji', 'emojiivoto')}"`;
  assert.ok(series(gateway, 'request_total', 'direction="outbound"', 'tls="true"', serverId), gateway);
  const server = await metricsOf('emojiivoto', 'deploy/emoji');
  assert.ok(series(server, 'request_total', 'direction="inbound"', 'tls="true"', `client_id="${GATEWAY_ID}"`), server);
});

test('a request that has passed the gateway does not pass it again', async () => {
  assert.equal((await ask(web, { forwarded: `for=x;by=${GATEWAY_ID}` })).status, 508);
  assert.equal((await ask(web, { forwarded: `by=another;for=${GATEWAY_ID}` })).status, 200);
});

test('nobody without an identity gets through', async () => {
  const direct = plain.run('tcp', { host: gatewayIp, port: 4143, send: 'GET / HTTP/1.1\r\n\r\n', readBytes: 1 });
  await assert.rejects(direct, /closed after 0 of 1 bytes|ECONNRESET/);
  // Without a proxy of its own the address of the mirrored Service leads to the gateway's port, and no further.
  await assert.rejects(ask(plain), /ECONNRESET|hang up|Parse Error/);
});

test('the policy of the gateway’s port says who passes', async () => {
  const [authentication] = exampleOf(PAGE, 'gateway').filter(({ kind }) => kind === 'MeshTLSAuthentication');
  const onlyWeb = { ...authentication, spec: { identities: [idOf('web', 'west')] } };
  assert.equal((await ask(bot)).status, 200);
  await apply(cluster, [onlyWeb]);
  await until('the bot is refused', async () => (await ask(bot)).status === 403, IN_FORCE_MS);
  await assert.rejects(echo(bot));
  assert.equal((await ask(web)).status, 200);
  assert.equal((await echo(web)).received, 'over there');
  await apply(cluster, [authentication!]);
  await until('the bot passes again', async () => (await ask(bot)).status === 200, IN_FORCE_MS);
});

test('a gateway leads to Services of its own cluster alone', async () => {
  for (const [name, remote] of [
    ['outside', 'example.org'],
    ['nothing', 'nothing.emojiivoto.svc.cluster.local'],
  ] as const) {
    await using _ = await inForce(cluster, mirror(name, remote));
    const answered = async () => (await ask(web, {}, name).catch(() => undefined))?.status;
    await until(`${name} is refused by the gateway`, async () => (await answered()) === 502, IN_FORCE_MS);
  }
});
