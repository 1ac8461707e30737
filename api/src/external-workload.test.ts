import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseExternalWorkload } from './external-workload.ts';
import type { KubeObject } from './kubernetes.ts';

const workload = (spec: object, status: object = {}): KubeObject => ({
  metadata: { name: 'vm', namespace: 'app', uid: 'u', labels: { app: 'vm' } },
  spec,
  status,
});
const meshTLS = { identity: 'spiffe://root.linkerd.cluster.local/vm', serverName: 'vm.cluster.local' };

test('reads a workload in either spelling', () => {
  const spec = { ports: [{ port: 80, name: 'http' }], workloadIPs: [{ ip: '192.0.2.1' }, { ip: '2001:DB8::1' }] };
  for (const tls of [{ meshTLS }, { meshTls: meshTLS }]) {
    const parsed = parseExternalWorkload(
      workload({ ...spec, ...tls }, { conditions: [{ type: 'Ready', status: 'True' }] }),
    );
    assert.equal(parsed.identity, meshTLS.identity);
    assert.equal(parsed.serverName, meshTLS.serverName);
    assert.deepEqual(parsed.ips, ['192.0.2.1', '2001:db8::1']);
    assert.deepEqual(parsed.ports, [{ name: 'http', port: 80, protocol: 'TCP' }]);
    assert.equal(parsed.isReady, true);
  }
});

test('is not ready unless a condition says so', () => {
  for (const conditions of [undefined, [], [{ type: 'Ready', status: 'False' }], 'odd']) {
    assert.equal(parseExternalWorkload(workload({ meshTLS }, { conditions })).isReady, false);
  }
});

test('names every field that it cannot read', () => {
  const spec = {
    meshTLS: { identity: 'spiffe://', serverName: 'not a name' },
    ports: [{ port: 0 }, {}],
    workloadIPs: [{ ip: '192.0.2.1' }, { ip: '192.0.2.2' }, { ip: 'nowhere' }],
  };
  assert.throws(() => parseExternalWorkload(workload(spec)), {
    code: 'INVALID_ARGUMENT',
    message: [
      'spec.meshTLS.identity: found "spiffe://", allowed is a SPIFFE URI such as spiffe://example.org/name, or a DNS name',
      'spec.meshTLS.serverName: found "not a name", allowed is a DNS name',
      'spec.ports[0].port: found 0, allowed is 1 to 65535',
      'spec.ports[1].port: found nothing, allowed is 1 to 65535',
      'spec.workloadIPs[1].ip: found "192.0.2.2", allowed is one address of each family',
      'spec.workloadIPs[2].ip: found "nowhere", allowed is an IP address',
    ].join('; '),
  });
  assert.throws(() => parseExternalWorkload(workload({})), /spec\.meshTLS: found nothing/);
});
