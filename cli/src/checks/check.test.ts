import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CONFIG_MAPS, type Kind, type KubeObject, MeshError, NAMESPACES, NODES, PODS, REPLICA_SETS } from '@tulle/api';
import type { Client } from '@tulle/client';
import { checkJson, statusLine, tableObserver } from '../output/check-report.ts';
import { type Category, type Check, runChecks, Skip } from './check.ts';
import { CheckContext, type CheckSettings, fail } from './context.ts';
import { linkerdConfig, linkerdExistence, linkerdHaChecks } from './control-plane.ts';
import { gatewayApiCrd, linkerdCrd, tullePolicy } from './definitions.ts';
import { identityDataPlane, linkerdIdentity, webhooksTls } from './identity.ts';
import { kubernetesApi, kubernetesVersion, preKubernetesSetup } from './kubernetes.ts';
import { controlPlaneProxy, controlPlaneVersion, dataPlane } from './proxies.ts';

type Objects = ReadonlyMap<Kind, readonly KubeObject[]>;

function contextOf(
  objects: Objects,
  settings: Partial<CheckSettings> = {},
  paths: Record<string, unknown> = {},
): CheckContext {
  const client = {
    get: async (kind: Kind, name: string) => {
      const found = objects.get(kind)?.find(({ metadata }) => metadata.name === name);
      if (!found) throw new MeshError('NOT_FOUND', `${kind.plural} "${name}" not found`);
      return found;
    },
    list: async (kind: Kind, { labelSelector }: { labelSelector?: string } = {}) => {
      const key = labelSelector?.split('=')[0];
      const items = (objects.get(kind) ?? []).filter(({ metadata }) => !key || metadata.labels?.[key] !== undefined);
      return { items, resourceVersion: '1' };
    },
    request: async (_method: string, path: string) => ({ json: async () => paths[path] }),
    close: () => undefined,
  } as unknown as Client;
  return new CheckContext({ controlPlaneNamespace: 'linkerd', ...settings }, async () => client);
}

const check = (description: string, run: Check['run'], flags: Partial<Check> = {}): Check => ({
  description,
  anchor: 'anchor',
  run,
  ...flags,
});
const pass = async () => undefined;
const category = (...checks: Check[]): Category => ({ name: 'some-category', checks });

async function outcome(checks: Category, context = contextOf(new Map())) {
  const [result] = await runChecks([checks], context, 0);
  return Object.fromEntries(
    (result?.checks ?? []).map(({ description, result: verdict, error }) => [description, error ?? verdict]),
  );
}

test('shows a category, its marks, errors with hints, and the outcome, as Linkerd does', async () => {
  let text = '';
  const failing = category(
    check('works', pass),
    check('warns', async () => fail('first\nsecond'), { isWarning: true }),
    check('does not apply', async () => {
      throw new Skip();
    }),
    check('fails', async () => fail('broken')),
  );
  const observer = tableObserver(
    (part) => {
      text += part;
    },
    false,
    false,
  );
  const results = await runChecks([failing], contextOf(new Map()), 0, observer);
  assert.equal(
    text + statusLine(results),
    `some-category
-------------
√ works
‼ warns
    first
    second
    see docs/checks.md#anchor for hints
× fails
    broken
    see docs/checks.md#anchor for hints

Status check results are ×
`,
  );
});

test('short output has only what is wrong', async () => {
  let text = '';
  const observer = tableObserver(
    (part) => {
      text += part;
    },
    true,
    false,
  );
  const good = { name: 'good', checks: [check('works', pass)] };
  await runChecks(
    [
      good,
      category(
        check('works', pass),
        check('fails', async () => fail('broken')),
      ),
    ],
    contextOf(new Map()),
    0,
    observer,
  );
  assert.equal(text, 'some-category\n-------------\n× fails\n    broken\n    see docs/checks.md#anchor for hints\n\n');
});

test('a fatal failure ends all, a warning fails nothing', async () => {
  const results = await runChecks(
    [
      category(check('warns', async () => fail('x'), { isWarning: true })),
      category(
        check('fatal', async () => fail('y'), { isFatal: true }),
        check('later', pass),
      ),
      category(check('never', pass)),
    ],
    contextOf(new Map()),
    0,
  );
  assert.deepEqual(
    results.map(({ checks }) => checks.map(({ result }) => result)),
    [['warning'], ['error']],
  );
  assert.equal(statusLine(results.slice(0, 1)), 'Status check results are √\n');
});

test('JSON has the keys that scripts for Linkerd read', async () => {
  const results = await runChecks(
    [
      category(
        check('works', pass),
        check('fails', async () => fail('broken')),
      ),
    ],
    contextOf(new Map()),
    0,
  );
  assert.deepEqual(JSON.parse(checkJson(results)), {
    success: false,
    categories: [
      {
        categoryName: 'some-category',
        checks: [
          { description: 'works', result: 'success' },
          { description: 'fails', hint: 'docs/checks.md#anchor', error: 'broken', result: 'error' },
        ],
      },
    ],
  });
});

test('every check has an answer in the documentation', () => {
  const anchors = [
    kubernetesApi,
    kubernetesVersion,
    preKubernetesSetup,
    linkerdExistence,
    linkerdConfig,
    linkerdIdentity,
  ]
    .concat([webhooksTls, identityDataPlane, controlPlaneVersion, controlPlaneProxy, dataPlane, linkerdHaChecks])
    .concat([gatewayApiCrd({ mayBeAbsent: false }), linkerdCrd, tullePolicy])
    .flatMap(({ checks }) => checks.map(({ anchor }) => anchor));
  const page = readFileSync(new URL('../../../docs/checks.md', import.meta.url), 'utf8');
  for (const anchor of anchors) assert.ok(page.includes(`<a id="${anchor}"></a>`), anchor);
});

test('an old Kubernetes is refused, a newer one taken', async () => {
  const on = (gitVersion: string) =>
    outcome(kubernetesVersion, contextOf(new Map(), {}, { '/version': { gitVersion } }));
  const description = 'is running the minimum Kubernetes API version';
  assert.match((await on('v1.30.9'))[description]!, /is on version \[1\.30\.9\], but version \[1\.31\.0\]/);
  for (const version of ['v1.31.0', 'v1.34.2+k3s1', 'v2.0.0'])
    assert.equal((await on(version))[description], 'success');
});

const config = (text: string): KubeObject => ({
  metadata: { name: 'linkerd-config', namespace: 'linkerd' },
  data: { values: text },
});
const controlPlanePod = (isReady: boolean): KubeObject => ({
  metadata: { name: 'cp-1', namespace: 'linkerd', labels: { 'linkerd.io/control-plane-component': 'destination' } },
  spec: {},
  status: {
    phase: 'Running',
    podIPs: [{ ip: '10.42.0.2' }, { ip: 'fd42::2' }],
    containerStatuses: [{ name: 'control-plane', ready: isReady }],
  },
});

test('tells which container is not ready, and what lies outside the cluster networks', async () => {
  const objects: Objects = new Map([
    [CONFIG_MAPS, [config('clusterNetworks: 10.0.0.0/8')]],
    [
      REPLICA_SETS,
      [
        {
          metadata: { name: 'rs', labels: { 'linkerd.io/control-plane-component': 'destination' } },
          spec: { replicas: 1 },
          status: { readyReplicas: 1 },
        },
      ],
    ],
    [PODS, [controlPlanePod(true)]],
    [NODES, [{ metadata: { name: 'n1' }, spec: { podCIDRs: ['10.42.0.0/16', '11.0.0.0/16'] } }]],
  ]);
  const found = await outcome(linkerdExistence, contextOf(objects));
  assert.equal(found['control plane pods are ready'], 'success');
  assert.equal(
    found['cluster networks contains all node podCIDRs'],
    'the clusterNetworks ["10.0.0.0/8"] do not include\n* n1: 11.0.0.0/16',
  );
  assert.equal(
    found['cluster networks contains all pods'],
    'the clusterNetworks ["10.0.0.0/8"] do not include\n* linkerd/cp-1: fd42::2',
  );
  const unready = new Map([...objects, [PODS, [controlPlanePod(false)]] as const]);
  assert.match(
    (await outcome(linkerdExistence, contextOf(unready)))['control plane pods are ready']!,
    /container "control-plane" is not ready/,
  );
});

test('finds annotations written as labels, and ports that only one side says are opaque', async () => {
  const proxy = { name: 'linkerd-proxy', ready: true };
  const pod: KubeObject = {
    metadata: {
      name: 'db-1',
      namespace: 'shop',
      labels: { app: 'db', 'linkerd.io/control-plane-ns': 'linkerd', 'config.linkerd.io/proxy-log-level': 'debug' },
      annotations: { 'config.linkerd.io/opaque-ports': '3306' },
    },
    spec: { containers: [{ name: 'app', ports: [{ name: 'sql', containerPort: 3306 }] }] },
    status: { phase: 'Running', containerStatuses: [proxy] },
  };
  const service: KubeObject = {
    metadata: { name: 'db', namespace: 'shop' },
    spec: { selector: { app: 'db' }, ports: [{ port: 3306, targetPort: 'sql' }] },
  };
  const kinds = await import('@tulle/api');
  const objects: Objects = new Map([
    [CONFIG_MAPS, [config('{}')]],
    [NAMESPACES, [{ metadata: { name: 'shop' } }]],
    [PODS, [pod]],
    [kinds.SERVICES, [service]],
  ]);
  const found = await outcome(dataPlane, contextOf(objects, { dataPlaneNamespace: 'shop' }));
  assert.equal(found['data plane proxies are ready'], 'success');
  assert.match(
    found['data plane pod labels are configured correctly']!,
    /\* shop\/db-1\n\tconfig\.linkerd\.io\/proxy-log-level/,
  );
  assert.match(
    found['opaque ports are properly annotated']!,
    /pod db-1 has opaque port 3306 but service db has not port 3306/,
  );
});
