/** Who may call what: the examples of docs/access-policy.md and docs/rate-limiting.md, every access policy, and changes under load. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  agentOf,
  apply,
  deployPeers,
  inForce,
  installMesh,
  openCluster,
  remove,
  type TestCluster,
  tulle,
  until,
} from './support/cluster.ts';
import { exampleOf } from './support/examples.ts';
import { underLoad } from './support/load.ts';
import { type Agent, PORTS } from './support/peers.ts';

const NAMESPACE = 'emojiivoto';
/** A change is in force within a second; a loaded machine may need longer to say so. */
const IN_FORCE_MS = 15_000;
const HTTP = `http://emoji:${PORTS.http}/list`;
const GRPC = `http://emoji:${PORTS.grpc}`;
const CALLERS = ['web', 'bot', 'plain'] as const;

let cluster: TestCluster;
const callers = {} as Record<(typeof CALLERS)[number], Agent>;

before(async () => {
  cluster = await openCluster();
  await installMesh(cluster);
  await deployPeers(cluster, NAMESPACE, [
    { name: 'emoji', role: 'server' },
    { name: 'web', role: 'agent' },
    { name: 'bot', role: 'agent' },
    { name: 'plain', role: 'agent', isMeshed: false },
  ]);
  for (const name of CALLERS) callers[name] = await agentOf(cluster, NAMESPACE, name);
});

after(() => cluster?.[Symbol.asyncDispose]());

const status = async (caller: keyof typeof callers, method = 'GET'): Promise<number> =>
  (await callers[caller].run('http', { url: HTTP, method })).status;

const code = async (caller: keyof typeof callers, shape = 'unary'): Promise<number> =>
  (await callers[caller].run('grpc', { origin: GRPC, shape })).code;

/** Waits until each caller is answered as expected, in the order web, bot, plain. */
async function untilAnswered<T>(ask: (caller: keyof typeof callers) => Promise<T>, expected: T[]): Promise<void> {
  let last: T[] = [];
  const holds = async () => {
    last = await Promise.all(CALLERS.map(ask));
    return last.every((answer, at) => answer === expected[at]);
  };
  await until(`web, bot, plain get ${expected}`, holds, IN_FORCE_MS).catch(() => undefined);
  assert.deepEqual(last, expected);
}

const http = (expected: number[], method?: string) => untilAnswered((caller) => status(caller, method), expected);
const grpc = (expected: number[]) => untilAnswered((caller) => code(caller), expected);

test('without a policy everyone gets in', async () => {
  await http([200, 200, 200]);
  await grpc([0, 0, 0]);
});

test('a ServiceAccount beside meshTLS means mutual TLS as that ServiceAccount', async () => {
  const [server, authorization] = exampleOf('access-policy.md', 'server') as [any, any];
  await using _ = await inForce(cluster, [server, authorization]);
  await grpc([0, 7, 7]);
  for (const shape of ['clientStream', 'serverStream', 'bidiStream']) assert.equal(await code('web', shape), 0, shape);
  const kind = { apiVersion: authorization.apiVersion, kind: authorization.kind, plural: 'serverauthorizations' };
  const read: any = await cluster.client.get({ ...kind, namespaced: true }, authorization.metadata.name, NAMESPACE);
  assert.deepEqual(read.spec.client.serviceAccounts, [{ name: 'web' }]);
  // Only that port: the others have no Server.
  await http([200, 200, 200]);
});

test('the same under meshTLS, and nobody once the authorization is gone', async () => {
  const [server, authorization] = exampleOf('access-policy.md', 'server') as [any, any];
  authorization.spec.client = { meshTLS: { serviceAccounts: [{ name: 'web' }] } };
  await using _ = await inForce(cluster, [server]);
  {
    await using _authorization = await inForce(cluster, [authorization]);
    await grpc([0, 7, 7]);
  }
  await grpc([7, 7, 7]);
});

test('a Server without authorizations lets in whom its access policy says', async () => {
  const [server] = exampleOf('access-policy.md', 'authorization-policy') as [any];
  const expected: Record<string, number[]> = {
    deny: [403, 403, 403],
    'all-unauthenticated': [200, 200, 200],
    'all-authenticated': [200, 200, 403],
    'cluster-unauthenticated': [200, 200, 200],
    'cluster-authenticated': [200, 200, 403],
    audit: [200, 200, 200],
  };
  await using _ = await inForce(cluster, [server]);
  for (const [accessPolicy, answers] of Object.entries(expected)) {
    await apply(cluster, [{ ...server, spec: { ...server.spec, accessPolicy } }]);
    await http(answers);
  }
  const metrics = await tulle(cluster, 'diagnostics', 'proxy-metrics', '-n', NAMESPACE, 'deploy/emoji');
  assert.match(metrics, /inbound_http_authz_allow_total\{[^}]*authz_name="audit"/);
  assert.match(metrics, /inbound_http_authz_deny_total\{[^}]*srv_name="emoji-http"/);
});

test('an AuthorizationPolicy lets in who has all authentications', async () => {
  await using _ = await inForce(cluster, exampleOf('access-policy.md', 'authorization-policy'));
  await http([200, 403, 403]);
  await using _networks = await inForce(cluster, exampleOf('access-policy.md', 'networks'));
  await http([403, 403, 403]);
});

test('routes have authorizations of their own, and what none takes is not found', async () => {
  await using _ = await inForce(cluster, [
    ...exampleOf('access-policy.md', 'authorization-policy'),
    ...exampleOf('access-policy.md', 'routes'),
  ]);
  await http([200, 200, 200], 'GET');
  await http([200, 403, 403], 'POST');
  await http([404, 404, 404], 'PUT');
});

test('a connection that is open is cut when the policy changes', async () => {
  const server = {
    apiVersion: 'policy.linkerd.io/v1beta3',
    kind: 'Server',
    metadata: { namespace: NAMESPACE, name: 'emoji-echo' },
    spec: { podSelector: {}, port: PORTS.echo, proxyProtocol: 'opaque', accessPolicy: 'all-authenticated' },
  };
  const hold = () => callers.bot.run('tcp', { host: 'emoji', port: PORTS.echo, send: 'x', readBytes: 2 });
  await using _ = await inForce(cluster, [server]);
  await until(
    'the port asks for an identity',
    () =>
      callers.plain.run('tcp', { host: 'emoji', port: PORTS.echo, send: 'x', readBytes: 1 }).then(
        () => false,
        () => true,
      ),
    IN_FORCE_MS,
  );
  const held = hold();
  held.catch(() => undefined);
  await until('its connection is let in', async () => {
    const metrics = await tulle(cluster, 'diagnostics', 'proxy-metrics', '-n', NAMESPACE, 'deploy/emoji');
    return /^inbound_tcp_authz_allow_total\{[^}]*srv_name="emoji-echo"[^}]*\} [1-9]/m.test(metrics);
  });
  await apply(cluster, [{ ...server, spec: { ...server.spec, accessPolicy: 'deny' } }]);
  await assert.rejects(held, /closed after 1 of 2 bytes|ECONNRESET/);
});

test('a rate limit holds for each identity, and overrides for whom they name', async () => {
  await using _ = await inForce(cluster, exampleOf('rate-limiting.md', 'rate-limit'));
  const burst = async (caller: keyof typeof callers) => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => status(caller)));
    return answers.filter((answer) => answer === 429).length;
  };
  await until('the bot is limited', async () => (await burst('bot')) > 10, IN_FORCE_MS);
  // A second later its own limit of 50 is full again.
  await delay(1_000);
  assert.equal(await burst('web'), 0);
});

test('changes of policies drop no request that stays permitted', async () => {
  const policies = exampleOf('access-policy.md', 'authorization-policy') as any[];
  const [server, authentication, authorization] = policies;
  const [legacyServer, legacy] = exampleOf('access-policy.md', 'server');
  // Each state lets web in on both ports: what lets it in next comes before what let it in goes.
  await using _ = await inForce(cluster, [authentication]);
  const reports = await underLoad(cluster, { namespace: NAMESPACE, agent: 'web', server: 'emoji' }, async () => {
    const open = { ...server, spec: { ...server.spec, accessPolicy: 'all-authenticated' } };
    for (let round = 0; round < 6; round++) {
      await apply(cluster, [authorization, legacy as any]);
      await delay(1_000);
      await apply(cluster, [server, legacyServer as any]);
      await delay(2_000);
      await apply(cluster, [open]);
      await delay(1_000);
      await remove(cluster, [authorization]);
      await delay(1_000);
      await apply(cluster, [authorization]);
      await delay(1_000);
      await remove(cluster, [server, legacyServer as any]);
      await delay(1_000);
      await remove(cluster, [authorization, legacy as any]);
    }
  });
  assert.equal(reports.http.failed, 0, JSON.stringify(reports.http.reasons));
  assert.equal(reports.grpc.failed, 0, JSON.stringify(reports.grpc.reasons));
});
