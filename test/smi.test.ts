/** Resources of the Service Mesh Interface on real proxies: the examples of docs/smi.md. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  agentOf,
  applyText,
  deployPeers,
  inForce,
  installMesh,
  openCluster,
  type TestCluster,
  tulle,
  until,
} from './support/cluster.ts';
import { exampleOf } from './support/examples.ts';
import { type Agent, PORTS } from './support/peers.ts';

const NAMESPACE = 'emojiivoto';
const IN_FORCE_MS = 15_000;
const URL_OF_EMOJI = `http://emoji:${PORTS.http}`;
const FIREFOX = { 'user-agent': 'Mozilla/5.0 Firefox/140' };

let cluster: TestCluster;
let web: Agent;
let bot: Agent;

before(async () => {
  cluster = await openCluster();
  await applyText(cluster, await tulle(cluster, 'install', '--crds', '--enable-smi'));
  await installMesh(cluster, '--enable-smi');
  await deployPeers(cluster, NAMESPACE, [
    { name: 'emoji', role: 'server' },
    { name: 'emoji-next', role: 'server' },
    { name: 'web', role: 'agent' },
    { name: 'bot', role: 'agent' },
  ]);
  [web, bot] = [await agentOf(cluster, NAMESPACE, 'web'), await agentOf(cluster, NAMESPACE, 'bot')];
});

after(() => cluster?.[Symbol.asyncDispose]());

/** The status, and the Deployment of the pod that answered. */
async function get(from: Agent, path: string, headers: Record<string, string> = {}) {
  const { status, body } = await from.run('http', { url: `${URL_OF_EMOJI}${path}`, headers });
  const pod = body.startsWith('{') ? String(JSON.parse(body).pod ?? '') : '';
  return `${status} ${pod.replace(/-[^-]+-[^-]+$/, '')}`.trim();
}

test('a TrafficSplit with a route group splits what it matches, and nothing else', async () => {
  await using _ = await inForce(cluster, exampleOf('smi.md', 'traffic-split'));
  await until('the group is split', async () => (await get(web, '/', FIREFOX)) === '200 emoji-next', IN_FORCE_MS);
  for (let i = 0; i < 10; i++) {
    assert.equal(await get(web, '/', FIREFOX), '200 emoji-next');
    assert.equal(await get(web, '/', { 'user-agent': 'curl' }), '200 emoji');
  }
});

test('a TrafficTarget lets in whom it names, for what it says', async () => {
  await using _ = await inForce(cluster, exampleOf('smi.md', 'traffic-target'));
  await until('the target is in force', async () => (await get(bot, '/list')).startsWith('403'), IN_FORCE_MS);
  assert.equal(await get(web, '/list'), '200 emoji');
  assert.ok((await get(web, '/other')).startsWith('403'));
});
