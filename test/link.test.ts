/** Two clusters of one machine that are linked: pods reach each other by address, and the other's API server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agentOf, deployPeers, openCluster, podsOf } from './support/cluster.ts';
import { PORTS } from './support/peers.ts';

const NAMESPACE = 'linked';
const skip = process.env.TEST_KUBECONFIG
  ? 'links one-machine clusters'
  : process.getuid?.() !== 0
    ? 'only root may join two networks'
    : false;

test('pods of linked clusters reach each other and the other API server', { skip }, async () => {
  await using west = await openCluster();
  await using east = await openCluster({ links: [west.oneMachine?.stateDir ?? ''] });
  const peers = [
    { name: 'server', role: 'server', isMeshed: false },
    { name: 'agent', role: 'agent', isMeshed: false },
  ] as const;
  await Promise.all([west, east].map((cluster) => deployPeers(cluster, NAMESPACE, [...peers])));
  for (const [from, to] of [
    [west, east],
    [east, west],
  ] as const) {
    const agent = await agentOf(from, NAMESPACE, 'agent');
    const [server] = await podsOf(to, NAMESPACE, 'server');
    for (const { ip } of server?.status.podIPs ?? []) {
      const host = ip.includes(':') ? `[${ip}]` : ip;
      const answer = await agent.run('http', { url: `http://${host}:${PORTS.http}/` });
      assert.equal(JSON.parse(answer.body).pod, server?.metadata.name, ip);
    }
    // It wants TLS, so it ends the connection; one that cannot be reached would fail here.
    await agent.run('tcp', { host: server?.status.hostIP, port: 6443, send: 'not TLS' });
  }
});

test('a cluster that does not run cannot be linked to', { skip }, async () => {
  await assert.rejects(openCluster({ links: ['/nonexistent'] }), /link to \/nonexistent: no cluster runs there/);
});
