import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  CUSTOM_RESOURCE_DEFINITIONS,
  ENDPOINT_SLICES,
  type EndpointSlice,
  EXTERNAL_WORKLOADS,
  NAMESPACES,
  SERVICES,
} from '@tulle/api';
import { waitFor } from '@tulle/client';
import { parse } from 'yaml';
import { startTestServer } from '../cluster/src/apiserver/testing/test-server.ts';
import { createExternalWorkloads } from '../control-plane/src/external-workloads/controller.ts';
import { createLoggers } from '../control-plane/src/logger.ts';
import { ClusterState } from '../control-plane/src/workloads/cluster-state.ts';

/** For one step; each takes some milliseconds. */
const STEP_MS = 10_000;

test('workloads outside the cluster become endpoints of the Services that select them, and go again', async (t) => {
  const { admin } = await startTestServer(t);
  const crd = readFileSync(join(import.meta.dirname, '../api/crds/external-workload.yaml'), 'utf8');
  await admin.create(CUSTOM_RESOURCE_DEFINITIONS, parse(crd));
  for (const name of ['app', 'linkerd']) await admin.create(NAMESPACES, { metadata: { name } });
  const spec = { selector: { app: 'vm' }, ports: [{ port: 80, targetPort: 8080 }] };
  await admin.create(SERVICES, { metadata: { name: 'web', namespace: 'app' }, spec });

  const state = new ClusterState();
  const stop = new AbortController();
  const logger = createLoggers({ level: 'silent', format: 'json' }).of('workloads');
  const run = createExternalWorkloads({ client: admin, state, controllerNamespace: 'linkerd', holder: 'me', logger });
  const synced = state.start(admin, logger, stop.signal);
  const running = run(synced, stop.signal);

  const create = (name: string, ip: string) =>
    admin.create(EXTERNAL_WORKLOADS, {
      metadata: { name, namespace: 'app', labels: { app: 'vm' } },
      spec: {
        meshTLS: { identity: `spiffe://example.org/${name}`, serverName: `${name}.example.org` },
        ports: [{ port: 8080 }],
        workloadIPs: [{ ip }],
      },
    });
  /** Until the endpoints are these: `+` ready, `-` not. */
  const until = (...wanted: string[]) => {
    const read = (slices: EndpointSlice[]) =>
      slices.flatMap(({ endpoints }) =>
        endpoints.map(({ addresses, conditions }) => `${conditions?.ready ? '+' : '-'}${addresses[0]}`),
      );
    const isThere = (slices: EndpointSlice[]) => read(slices).sort().join() === wanted.join();
    const signal = AbortSignal.timeout(STEP_MS);
    return waitFor<EndpointSlice>(admin, ENDPOINT_SLICES, { namespace: 'app' }, isThere, signal);
  };

  const first = await create('vm-1', '192.0.2.1');
  await until('-192.0.2.1');
  await admin.updateStatus(EXTERNAL_WORKLOADS, {
    ...first,
    status: { conditions: [{ type: 'Ready', status: 'True' }] },
  });
  await create('vm-2', '192.0.2.2');
  const [slice, ...others] = await until('+192.0.2.1', '-192.0.2.2');
  assert.deepEqual(others, []);
  assert.equal(slice?.metadata.ownerReferences?.[0]?.name, 'web');
  assert.deepEqual(slice?.ports, [{ name: '', port: 8080, protocol: 'TCP' }]);
  await admin.delete(EXTERNAL_WORKLOADS, 'vm-1', 'app');
  await until('-192.0.2.2');
  await admin.delete(EXTERNAL_WORKLOADS, 'vm-2', 'app');
  assert.deepEqual(await until(), []);
  stop.abort();
  await running;
});
