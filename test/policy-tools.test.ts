/** What policies say of themselves, on a real control plane: refusals, warnings, statuses, `explain`, `policy suggest` and `policy test`. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { HTTP_LOCAL_RATE_LIMIT_POLICIES, HTTP_ROUTES, type Kind, type KubeObject, MeshError } from '@tulle/api';
import {
  agentOf,
  apply,
  applyText,
  deployPeers,
  installMesh,
  openCluster,
  root,
  type TestCluster,
  tulle,
  until,
} from './support/cluster.ts';
import { type Agent, PORTS } from './support/peers.ts';

const NAMESPACE = 'policy-tools';
const POLICY = 'policy.linkerd.io';
let cluster: TestCluster;
let web: Agent;
let bot: Agent;

before(async () => {
  cluster = await openCluster();
  await installMesh(cluster);
  await deployPeers(cluster, NAMESPACE, [
    { name: 'emoji', role: 'server' },
    { name: 'web', role: 'agent' },
    { name: 'bot', role: 'agent' },
  ]);
  web = await agentOf(cluster, NAMESPACE, 'web');
  bot = await agentOf(cluster, NAMESPACE, 'bot');
});

after(() => cluster?.[Symbol.asyncDispose]());

const object = (apiVersion: string, kind: string, name: string, spec: object) => ({
  apiVersion,
  kind,
  metadata: { name, namespace: NAMESPACE },
  spec,
});
const server = (name: string, port: number | string) =>
  object(`${POLICY}/v1beta3`, 'Server', name, { podSelector: { matchLabels: { app: 'emoji' } }, port });
const ask = async (agent: Agent) =>
  (await agent.run('http', { url: `http://emoji:${PORTS.http}/list`, method: 'GET' })).status;

/** `Type=Status Reason` of all conditions, of all parents. */
async function conditions(kind: Kind, name: string): Promise<string[]> {
  const { status } = await cluster.client.get<KubeObject>(kind, name, NAMESPACE);
  const entries: { conditions: any[] }[] = status?.parents ?? [{ conditions: status?.conditions ?? [] }];
  return entries.flatMap((entry) => entry.conditions.map(({ type, status: is, reason }) => `${type}=${is} ${reason}`));
}

test('an object that cannot be carried out is refused, with its field', async () => {
  await assert.rejects(apply(cluster, [server('bad', 0)]), (error: MeshError) => {
    assert.match(error.message, /spec\.port: found 0, allowed is 1 to 65535 or a port's name/);
    return true;
  });
  const profile = { routes: [{ name: 'a', condition: { method: 'GET' }, timeout: 'soon' }] };
  await assert.rejects(
    apply(cluster, [object('linkerd.io/v1alpha2', 'ServiceProfile', `emoji.${NAMESPACE}.svc.cluster.local`, profile)]),
    /spec\.routes\[0\]\.timeout: found "soon", allowed is a duration/,
  );
});

test('statuses follow parents, backends and rivals', async () => {
  const parentRefs = [{ group: '', kind: 'Service', name: 'emoji' }];
  const route = (backend: string) =>
    object('gateway.networking.k8s.io/v1', 'HTTPRoute', 'api', {
      parentRefs,
      rules: [{ backendRefs: [{ name: backend, port: PORTS.http }] }],
    });
  const limit = (name: string) =>
    object(`${POLICY}/v1alpha1`, 'HTTPLocalRateLimitPolicy', name, {
      targetRef: { group: POLICY, kind: 'Server', name: 'none-yet' },
      total: { requestsPerSecond: 100 },
    });
  await apply(cluster, [route('gone'), limit('limit')]);
  const becomes = (kind: Kind, name: string, expected: string[]) =>
    until(`${name} has ${expected}`, async () => String(await conditions(kind, name)) === String(expected), 15_000);
  await becomes(HTTP_ROUTES, 'api', ['Accepted=True Accepted', 'ResolvedRefs=False BackendNotFound']);
  await becomes(HTTP_LOCAL_RATE_LIMIT_POLICIES, 'limit', ['Accepted=False NoMatchingTarget']);
  await apply(cluster, [route('emoji'), server('none-yet', 9999)]);
  await becomes(HTTP_ROUTES, 'api', ['Accepted=True Accepted', 'ResolvedRefs=True ResolvedRefs']);
  await becomes(HTTP_LOCAL_RATE_LIMIT_POLICIES, 'limit', ['Accepted=True Accepted']);
  await cluster.client.delete(HTTP_ROUTES, 'api', NAMESPACE);
});

test('what traffic suggests lets in just who was seen, and is foretold', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tulle-policy-tools-'));
  t.after(() => rm(folder, { recursive: true }));
  await until('web is answered', async () => (await ask(web)) === 200);
  const suggested = await tulle(cluster, 'policy', 'suggest', '-n', NAMESPACE, 'deploy/emoji');
  assert.match(suggested, /# Seen: ServiceAccount policy-tools\/web, \d+ request/);
  const file = join(folder, 'suggested.yaml');
  await writeFile(file, suggested);
  assert.equal(await ask(bot), 200);

  const refused = await tryFile(file);
  assert.equal(refused.code, 1, 'bot came after the suggestion');
  const rows = JSON.parse(refused.stdout) as { client: string | null; port: number; change: string }[];
  const changes = rows
    .filter(({ port, client }) => port === PORTS.http && client !== null)
    .map(({ client, change }) => `${client!.split('.')[0]} ${change}`);
  assert.deepEqual(changes.sort(), ['bot refused', 'web none']);

  await applyText(cluster, suggested);
  await until(
    'bot is refused and web is not',
    async () => (await ask(bot)) === 403 && (await ask(web)) === 200,
    15_000,
  );
  const verdict = (from: string) =>
    tulle(cluster, 'explain', '-n', NAMESPACE, 'emoji', 'GET', '/list', '--port', String(PORTS.http), '--from', from);
  assert.match(await verdict('sa/web'), /verdict +let in +AuthorizationPolicy policy-tools\//);
  assert.match(await verdict('sa/bot'), /verdict +refused \(403\).* +Server policy-tools\//);
});

/** `tulle policy test`, whose exit code is an answer. */
async function tryFile(file: string): Promise<{ code: number; stdout: string }> {
  const args = [
    join(root, 'dist/tulle.js'),
    '--kubeconfig',
    cluster.kubeconfigPath,
    'policy',
    'test',
    file,
    '-o',
    'json',
  ];
  try {
    return { code: 0, stdout: (await promisify(execFile)(process.execPath, args)).stdout };
  } catch (error) {
    const { code, stdout } = error as { code?: number; stdout?: string };
    if (typeof code !== 'number' || !stdout) throw MeshError.from(error);
    return { code, stdout };
  }
}
