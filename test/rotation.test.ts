/** Certificates that live 40 s rotate under load, at least five times, without a failed request. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { parseMetricsText } from '@tulle/api';
import { getFromPod } from '@tulle/client';
import { deployPeers, installMesh, openCluster, podsOf, type TestCluster } from './support/cluster.ts';
import { underLoad } from './support/load.ts';

const NAMESPACE = 'rotation';
const LIFETIME_S = 40;
const ROTATIONS_MIN = 5;
/** A proxy renews at 70 % of a certificate's life. */
const LOAD_SECONDS_FOR_ROTATIONS = Math.ceil(LIFETIME_S * 0.7 * (ROTATIONS_MIN + 1));

let cluster: TestCluster;

before(async () => {
  cluster = await openCluster();
  await installMesh(
    cluster,
    '--set',
    `identity.issuer.issuanceLifetime=${LIFETIME_S}s`,
    '--set',
    'identity.issuer.clockSkewAllowance=1s',
  );
  const annotations = {
    'config.linkerd.io/proxy-additional-env': JSON.stringify([
      { name: 'LINKERD2_PROXY_IDENTITY_MIN_REFRESH', value: '1s' },
    ]),
  };
  await deployPeers(cluster, NAMESPACE, [
    { name: 'server', role: 'server', replicas: 2, annotations },
    { name: 'agent', role: 'agent', annotations },
  ]);
});

after(() => cluster?.[Symbol.asyncDispose]());

async function refreshes(app: string): Promise<number> {
  const [pod] = await podsOf(cluster, NAMESPACE, app);
  const target = { namespace: NAMESPACE, pod: pod?.metadata.name ?? '', port: 4191, path: '/metrics' };
  const samples = parseMetricsText(await getFromPod(cluster.client, target));
  const ok = samples.filter((s) => s.name === 'control_identity_cert_refreshes_total' && s.labels.result !== 'error');
  return ok.reduce((sum, sample) => sum + sample.value, 0);
}

test('no request fails while certificates rotate', async () => {
  const before = { server: await refreshes('server'), agent: await refreshes('agent') };
  const way = { namespace: NAMESPACE, agent: 'agent', server: 'server', seconds: LOAD_SECONDS_FOR_ROTATIONS };
  const { http, grpc } = await underLoad(cluster, way, async () => {});
  for (const app of ['server', 'agent'] as const) {
    const count = (await refreshes(app)) - before[app];
    assert.ok(count >= ROTATIONS_MIN, `${app} has a new certificate ${count} times`);
  }
  assert.equal(http.failed, 0, JSON.stringify(http.reasons));
  assert.equal(grpc.failed, 0, JSON.stringify(grpc.reasons));
});
