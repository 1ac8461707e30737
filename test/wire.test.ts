/**
 * What a third party on the pod network sees and can do: captured packets between two meshed pods hold nothing of the plaintext, and
 * only holders of a good certificate get in where authentication is required.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  agentOf,
  deployPeers,
  enterNetwork,
  installMesh,
  openCluster,
  podsOf,
  type TestCluster,
} from './support/cluster.ts';
import { PORTS } from './support/peers.ts';

const NAMESPACE = 'wire';
const MARKER = 'PLAINTEXT-MARKER-7f3a91';
const REQUESTS = 40;
const skip = process.env.TEST_KUBECONFIG ? 'captures on the bridge of the one-machine cluster' : false;

let cluster: TestCluster;

before(async () => {
  if (skip) return;
  cluster = await openCluster();
  await installMesh(cluster);
  await deployPeers(cluster, NAMESPACE, [
    { name: 'server', role: 'server' },
    { name: 'agent', role: 'agent' },
    {
      name: 'strict',
      role: 'server',
      annotations: { 'config.linkerd.io/default-inbound-policy': 'all-authenticated' },
    },
    { name: 'plain-server', role: 'server', isMeshed: false },
    { name: 'plain-agent', role: 'agent', isMeshed: false },
  ]);
});

after(() => cluster?.[Symbol.asyncDispose]());

/** Packets on the bridge while `traffic` runs, each written as it comes: a buffer would be lost when the traffic is over sooner than it fills. */
async function capture(traffic: () => Promise<void>): Promise<Buffer> {
  const file = join(cluster.oneMachine?.stateDir ?? '', 'capture.pcap');
  const [command, args] = enterNetwork(
    cluster,
    'tcpdump',
    '-i',
    'cni0',
    '-U',
    '--immediate-mode',
    '-s',
    '0',
    '-Z',
    'root',
    '-w',
    file,
    'tcp',
  );
  const tcpdump = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  tcpdump.stderr.setEncoding('utf8');
  let said = '';
  await new Promise<void>((resolve, reject) => {
    tcpdump.on('error', reject);
    tcpdump.on('exit', () => reject(new Error(`tcpdump: ${said}`)));
    tcpdump.stderr.on('data', (chunk: string) => {
      said += chunk;
      if (said.includes('listening on')) resolve();
    });
  });
  await traffic();
  const ended = once(tcpdump, 'exit');
  tcpdump.kill('SIGINT');
  await ended;
  return readFile(file);
}

/** TCP packets of a capture to or from a port (pcap: 24-byte header, 16 bytes before each Ethernet frame). */
function countPackets(pcap: Buffer, port: number): number {
  let count = 0;
  for (let at = 24; at + 16 <= pcap.length; ) {
    const length = pcap.readUInt32LE(at + 8);
    const frame = pcap.subarray(at + 16, at + 16 + length);
    at += 16 + length;
    const isV4 = frame.readUInt16BE(12) === 0x0800;
    const tcp = isV4 ? 14 + ((frame[14] ?? 0) & 0x0f) * 4 : 54;
    if (frame.length >= tcp + 4 && (frame.readUInt16BE(tcp) === port || frame.readUInt16BE(tcp + 2) === port))
      count += 1;
  }
  return count;
}

async function sendMarkers(from: string, to: string): Promise<void> {
  const agent = await agentOf(cluster, NAMESPACE, from);
  for (let i = 0; i < REQUESTS; i++) {
    const answer = await agent.run('http', { url: `http://${to}:${PORTS.http}/`, method: 'POST', body: MARKER });
    assert.equal(answer.status, 200);
  }
  const grpc = await agent.run('grpc', { origin: `http://${to}:${PORTS.grpc}`, shape: 'unary', texts: [MARKER] });
  assert.equal(grpc.answers[0].text, MARKER);
  const tcp = await agent.run('tcp', { host: to, port: PORTS.echo, send: MARKER, isHalfClosed: true });
  assert.equal(tcp.received, MARKER);
}

test('a capture finds the marker between plain pods', { skip }, async () => {
  const pcap = await capture(() => sendMarkers('plain-agent', 'plain-server'));
  assert.ok(pcap.includes(MARKER), 'the capture does not see the traffic at all');
});

test('between meshed pods not one byte of the marker is on the wire', { skip }, async () => {
  const pcap = await capture(() => sendMarkers('agent', 'server'));
  const packets = countPackets(pcap, 4143) + countPackets(pcap, PORTS.http) + countPackets(pcap, PORTS.grpc);
  assert.ok(packets >= 100, `only ${packets} packets were captured`);
  assert.ok(!pcap.includes(MARKER));
});

test('where authentication is required, a meshed client gets in and a pod without a proxy does not', {
  skip,
}, async () => {
  // Not `/`: that is the probe's path, which the node may ask for without an identity.
  const url = `http://strict:${PORTS.http}/orders`;
  const meshed = await (await agentOf(cluster, NAMESPACE, 'agent')).run('http', { url });
  assert.equal(meshed.status, 200);
  const plain = await agentOf(cluster, NAMESPACE, 'plain-agent');
  const refused = await plain.run('http', { url });
  assert.equal(refused.status, 403);
  assert.equal(refused.headers['l5d-proxy-error'], undefined, 'a stranger is told nothing');
  await assert.rejects(
    plain.run('tcp', { host: 'strict', port: PORTS.echo, send: 'x', readBytes: 1 }),
    'opaque ports are closed to it',
  );
});

test('probes work under a policy that requires authentication', { skip }, async () => {
  const [pod] = await podsOf(cluster, NAMESPACE, 'strict');
  const ready = pod?.status.conditions.find((c: { type: string }) => c.type === 'Ready');
  assert.equal(ready.status, 'True');
});
