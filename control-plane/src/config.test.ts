import assert from 'node:assert/strict';
import test from 'node:test';
import { MeshError } from '@tulle/api';
import { FLAGS, type FlagName, parseConfig } from './config.ts';

test('has defaults for everything', () => {
  const config = parseConfig([], {});
  assert.ok(Object.isFrozen(config));
  assert.deepEqual([...config.components], ['identity', 'destination', 'policy', 'injector', 'status', 'admission']);
  assert.equal(config.issuanceLifetimeMs, 86_400_000);
  assert.equal(config.clockSkewAllowanceMs, 20_000);
  assert.equal(config.trustDomain, 'cluster.local');
  assert.equal(config.defaultInboundPolicy, 'all-unauthenticated');
  assert.ok(config.defaultOpaquePorts.has(3306));
});

test('reads flags in every form, and the environment after them', () => {
  const environment = { TULLE_CLUSTER_DOMAIN: 'env.local', TULLE_LOG_LEVEL: 'debug' };
  const args = [
    '--cluster-domain=flag.local',
    '-identity-issuance-lifetime',
    '1h30m',
    '--enable-ipv6',
    '--enable-h2-upgrade=false',
  ];
  const config = parseConfig(args, environment);
  assert.equal(config.clusterDomain, 'flag.local');
  assert.equal(config.trustDomain, 'flag.local');
  assert.equal(config.logLevel, 'debug');
  assert.equal(config.issuanceLifetimeMs, 5_400_000);
  assert.equal(config.isIpv6Enabled, true);
  assert.equal(config.isH2UpgradeEnabled, false);
});

test('reports every problem at once', () => {
  const bad: Partial<Record<FlagName, string>> = {
    components: 'identity,nonsense',
    'controller-namespace': 'UPPER',
    'identity-issuance-lifetime': '0s',
    'identity-clock-skew-allowance': '-1s',
    'default-opaque-ports': '70000',
    'cluster-networks': '10.0.0.0/99',
    'default-inbound-policy': 'some',
    'enable-ipv6': 'maybe',
    'outbound-transport-mode': 'magic',
    'policy-addr': '8090',
    'log-level': 'loud',
    'log-format': 'xml',
  };
  const args = Object.entries(bad).map(([name, value]) => `--${name}=${value}`);
  assert.throws(
    () => parseConfig([...args, '--unknown', 'stray', '--kubeconfig'], {}),
    (error) => {
      assert.ok(error instanceof MeshError);
      const lines = error.message.split('\n');
      for (const name of [...Object.keys(bad), 'unknown', 'kubeconfig']) {
        assert.ok(
          lines.some((line) => line.startsWith(`--${name}:`)),
          name,
        );
      }
      assert.ok(lines.some((line) => line.startsWith('stray:')));
      assert.equal(lines.length, Object.keys(bad).length + 3);
      return true;
    },
  );
});

test('explains every flag', () => {
  for (const [name, { help }] of Object.entries(FLAGS)) assert.ok(help.length > 3, name);
});
