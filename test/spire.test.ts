/** A machine outside the cluster whose proxy has its identity from SPIRE: the examples of docs/spire.md. The test plays SPIRE. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { EXTERNAL_WORKLOADS, type KubeObject, parseMetricsText } from '@tulle/api';
import {
  agentOf,
  apply,
  deployPeers,
  enterNetwork,
  inForce,
  installMesh,
  openCluster,
  root,
  type TestCluster,
  tulle,
  until,
} from './support/cluster.ts';
import { exampleOf } from './support/examples.ts';
import { firstOutput, type Machine, startMachine } from './support/machine.ts';
import { type Agent, PORTS } from './support/peers.ts';
import { CertificateAuthority, startWorkloadApi, type WorkloadApi } from './support/spire.ts';

const PAGE = 'spire.md';
const NAMESPACE = 'emojiivoto';
const ID = 'spiffe://root.linkerd.cluster.local/vm';
const WEB = 'web.emojiivoto.serviceaccount.identity.linkerd.cluster.local';
/** A change is in force within a second; a loaded machine may need longer to say so. */
const IN_FORCE_MS = 15_000;
const skip = process.env.TEST_KUBECONFIG
  ? 'puts a machine beside the one-machine cluster'
  : process.getuid?.() !== 0
    ? 'only root may join two networks'
    : false;

let cluster: TestCluster;
let machine: Machine;
let agent: WorkloadApi;
let anchor: CertificateAuthority;
let spire: CertificateAuthority;
let web: Agent;
let bot: Agent;

before(async () => {
  if (skip) return;
  cluster = await openCluster();
  machine = await startMachine(cluster);
  anchor = await CertificateAuthority.create('root.linkerd.cluster.local');
  const issuer = await anchor.below('identity.linkerd.cluster.local');
  spire = await anchor.below('spire');
  const file = (name: string, text: string) => {
    writeFileSync(join(machine.folder, name), text, { mode: 0o600 });
    return join(machine.folder, name);
  };
  const anchorsPem = anchor.certificate.toString('pem');
  await installMesh(
    cluster,
    `--identity-trust-anchors-file=${file('anchors.pem', anchorsPem)}`,
    `--identity-issuer-certificate-file=${file('issuer.pem', issuer.certificate.toString('pem'))}`,
    `--identity-issuer-key-file=${file('issuer.key', await issuer.keyPem())}`,
  );
  await deployPeers(cluster, NAMESPACE, [
    { name: 'emoji', role: 'server' },
    { name: 'web', role: 'agent' },
    { name: 'bot', role: 'agent' },
  ]);
  web = await agentOf(cluster, NAMESPACE, 'web');
  bot = await agentOf(cluster, NAMESPACE, 'bot');
  await startApplication(anchorsPem);
  await apply(cluster, exampleOf(PAGE, 'machine'));
  const workload = await cluster.client.get<KubeObject>(EXTERNAL_WORKLOADS, 'vm-1', NAMESPACE);
  const status = { conditions: [{ type: 'Ready', status: 'True' }] };
  await cluster.client.updateStatus(EXTERNAL_WORKLOADS, { ...workload, status });
});

after(async () => {
  await agent?.[Symbol.asyncDispose]();
  await machine?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

/** SPIRE's agent, the proxy, and the application: a server, and an agent that calls what it is told to. */
async function startApplication(anchorsPem: string): Promise<void> {
  const socket = join(machine.folder, 'agent.sock');
  agent = await startWorkloadApi(socket);
  agent.give(await spire.svid(ID, anchor));
  const [values] = exampleOf(PAGE, 'environment') as [Record<string, string>];
  const own = { IDENTITY_SPIRE_SOCKET: `unix://${socket}`, IDENTITY_TRUST_ANCHORS: anchorsPem };
  const env = Object.entries({ ...values, ...own }).map(([name, value]) => [`LINKERD2_PROXY_${name}`, value]);
  await machine.startProxy(Object.fromEntries(env));
  const program = join(root, 'dist/test-app.js');
  const roles = ['server', 'agent'].map((role) => machine.start({ HOSTNAME: 'vm-1' }, process.execPath, program, role));
  await Promise.all(roles.map(firstOutput));
  await until('the machine’s proxy is certified', async () => (await refreshes('ok')) === 1, IN_FORCE_MS);
}

const FETCH = `
  const [url, body] = process.argv.slice(1);
  fetch(url, body ? { method: 'POST', body } : {}).then(async (r) => console.log(await r.text()));
`;
const fetchThere = (url: string, body = '') => machine.run(process.execPath, '-e', FETCH, url, body);

/** Tells the agent on the machine to call a Service of the cluster. */
async function callFromMachine(service: string) {
  const call = { call: 'http', url: `http://${service}.${NAMESPACE}.svc.cluster.local:${PORTS.http}/list` };
  return JSON.parse(await fetchThere('http://127.0.0.1:9900/run', JSON.stringify(call)));
}

const callMachine = (from: Agent) => from.run('http', { url: `http://vm:${PORTS.http}/list` });

async function refreshes(result: string): Promise<number> {
  const samples = parseMetricsText(await fetchThere('http://127.0.0.1:4191/metrics'));
  const name = 'control_identity_cert_refreshes_total';
  return samples.find((sample) => sample.name === name && sample.labels.result === result)?.value ?? 0;
}

/** The serial number of the certificate that the machine's proxy shows to who connects now. */
async function serialOf(name: string): Promise<string> {
  const script = `
    const options = { host: '${machine.address}', port: 4143, servername: '${name}', rejectUnauthorized: false };
    const socket = require('tls').connect({ ...options, ALPNProtocols: ['transport.l5d.io/v1'] }, () => {
      console.log(socket.getPeerCertificate().serialNumber);
      process.exit();
    });
  `;
  const { stdout } = await promisify(execFile)(...enterNetwork(cluster, process.execPath, '-e', script));
  return stdout.trim();
}

test('a pod and the machine call each other with mutual TLS', { skip }, async () => {
  await until('the machine is an endpoint', async () => (await callMachine(web)).status === 200, IN_FORCE_MS);
  const there = JSON.parse((await callMachine(web)).body);
  assert.equal(there.pod, 'vm-1');
  assert.equal(there.headers['l5d-client-id'], WEB);
  const back = await callFromMachine('emoji');
  assert.equal(back.status, 200);
  assert.equal(JSON.parse(back.body).headers['l5d-client-id'], ID);
  const metrics = await tulle(cluster, 'diagnostics', 'proxy-metrics', '-n', NAMESPACE, 'deploy/web');
  const line = metrics.split('\n').find((each) => each.startsWith('request_total{') && each.includes(`"${ID}"`));
  assert.match(line ?? metrics, /dst_external_workload="vm-1".*tls="true"|tls="true".*dst_external_workload="vm-1"/);
});

test('policies know the machine by its SPIFFE id and select it by its labels', { skip }, async () => {
  await using _ = await inForce(cluster, exampleOf(PAGE, 'policy'));
  const emoji = { url: `http://emoji:${PORTS.http}/list` };
  await until('only the machine may call', async () => (await bot.run('http', emoji)).status === 403, IN_FORCE_MS);
  assert.equal((await callFromMachine('emoji')).status, 200);
  await until('only web may call it', async () => (await callMachine(bot)).status === 403, IN_FORCE_MS);
  assert.equal((await callMachine(web)).status, 200);
});

test('a new certificate takes the old one’s place, and a wrong one does not', { skip }, async () => {
  const serverName = exampleOf(PAGE, 'machine')[0]?.spec.meshTLS.serverName;
  const before = await serialOf(serverName);
  const refreshed = await refreshes('ok');
  agent.give(await spire.svid(ID, anchor));
  await until('it is taken', async () => (await refreshes('ok')) === refreshed + 1, IN_FORCE_MS);
  const second = await serialOf(serverName);
  assert.notEqual(second, before);

  agent.give(await spire.svid('spiffe://root.linkerd.cluster.local/other', anchor));
  await until('another’s is refused', async () => (await refreshes('error')) === 1, IN_FORCE_MS);
  assert.equal(await serialOf(serverName), second);
  assert.equal((await callMachine(web)).status, 200);
  assert.equal((await callFromMachine('emoji')).status, 200);
});

test('a certificate of another trust anchor is not taken', { skip }, async () => {
  const foreign = await CertificateAuthority.create('root.example.org');
  const failed = await refreshes('error');
  agent.give(await (await foreign.below('spire.example.org')).svid(ID, foreign));
  await until('it is refused', async () => (await refreshes('error')) === failed + 1, IN_FORCE_MS);
  assert.equal((await callMachine(web)).status, 200);
  assert.equal((await callFromMachine('emoji')).status, 200);
});
