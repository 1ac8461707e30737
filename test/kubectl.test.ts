/** A current kubectl against the API server and the controllers, with nodes that only say that pods run. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { NODES, type Pod } from '@tulle/api';
import { type HollowCluster, startHollowCluster, status } from '@tulle/cluster/controllers/testing/hollow-cluster.ts';
import { setLogLevel } from '@tulle/cluster/logger.ts';
import { createKubectl, type Kubectl, kubectlPath } from './support/kubectl.ts';

setLogLevel('warn');

interface Fixture {
  cluster: HollowCluster;
  kubectl: Kubectl;
  kubeconfig: string;
}

async function start(t: TestContext): Promise<Fixture> {
  const cluster = await startHollowCluster(t, { run: runningPod });
  const { server, namespace } = cluster;
  const { certPem, keyPem } = await server.pki.issueClient('jane', ['system:masters']);
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const dir = mkdtempSync(join(tmpdir(), 'kubectl-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const kubeconfig = join(dir, 'kubeconfig');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [
      {
        name: 'test',
        cluster: { server: `https://127.0.0.1:${server.port}`, 'certificate-authority-data': base64(server.pki.caPem) },
      },
    ],
    users: [{ name: 'jane', user: { 'client-certificate-data': base64(certPem), 'client-key-data': base64(keyPem) } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'jane', namespace } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  return { cluster, kubectl: createKubectl(kubeconfig, dir), kubeconfig };
}

/** What an agent says of a pod whose containers all run. */
function runningPod(pod: Pod): Pod['status'] {
  const startedAt = '2030-01-01T00:00:00Z';
  const containerStatuses = (pod.spec?.containers ?? []).map(({ name, image = '' }) => ({
    name,
    image,
    imageID: image,
    ready: true,
    started: true,
    restartCount: 0,
    state: { running: { startedAt } },
  }));
  return { ...status('Running', true), containerStatuses };
}

const manifest = (image: string, replicas = 2) => `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: c, image: "${image}", ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`;

const rows = (table: string) =>
  table
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/).map((cell) => cell.trim()));

test('apply, roll out, scale, restart, undo, wait and delete a Deployment', async (t) => {
  const { kubectl } = await start(t);
  assert.match(
    await kubectl.withInput(manifest('a:1'), 'apply', '-f', '-'),
    /deployment.apps\/web created\nservice\/web created/,
  );
  assert.match(
    await kubectl.withInput(manifest('a:1'), 'apply', '-f', '-'),
    /deployment.apps\/web unchanged\nservice\/web unchanged/,
  );
  assert.match(await kubectl('rollout', 'status', 'deployment/web'), /successfully rolled out/);
  assert.match(await kubectl.withInput(manifest('a:2'), 'apply', '-f', '-'), /deployment.apps\/web configured/);
  assert.match(await kubectl('rollout', 'status', 'deployment/web'), /successfully rolled out/);
  await kubectl('rollout', 'restart', 'deployment/web');
  assert.match(await kubectl('rollout', 'status', 'deployment/web'), /successfully rolled out/);
  assert.deepEqual(
    rows(await kubectl('rollout', 'history', 'deployment/web'))
      .slice(2)
      .map(([revision]) => revision),
    ['1', '2', '3'],
  );
  await kubectl('rollout', 'undo', 'deployment/web', '--to-revision=1');
  await kubectl('rollout', 'status', 'deployment/web');
  assert.equal(
    await kubectl('get', 'deployment', 'web', '-o', 'jsonpath={.spec.template.spec.containers[0].image}'),
    'a:1',
  );
  await kubectl('scale', 'deployment/web', '--replicas=3');
  await kubectl('wait', '--for=jsonpath={.status.availableReplicas}=3', 'deployment/web', '--timeout=20s');
  await kubectl('wait', '--for=condition=Available', 'deployment/web', '--timeout=20s');
  await kubectl('delete', 'deployment', 'web', '--cascade=foreground', '--timeout=30s');
  assert.equal((await kubectl.run(['get', 'replicasets', '-o', 'name'])).stdout, '');
});

test('get shows tables, wide tables, YAML, JSON, names, columns, labels and all', async (t) => {
  const { kubectl } = await start(t);
  await kubectl.withInput(manifest('a:1', 1), 'apply', '-f', '-');
  await kubectl('rollout', 'status', 'deployment/web');
  const [head, row] = rows(await kubectl('get', 'deployments'));
  assert.deepEqual(head, ['NAME', 'READY', 'UP-TO-DATE', 'AVAILABLE', 'AGE']);
  assert.deepEqual(row!.slice(0, 4), ['web', '1/1', '1', '1']);
  assert.deepEqual(rows(await kubectl('get', 'deploy', 'web', '-o', 'wide'))[0], [
    'NAME',
    'READY',
    'UP-TO-DATE',
    'AVAILABLE',
    'AGE',
    'CONTAINERS',
    'IMAGES',
    'SELECTOR',
  ]);
  const [podHead, pod] = rows(await kubectl('get', 'pods', '-o', 'wide', '--show-labels'));
  assert.deepEqual(podHead, [
    'NAME',
    'READY',
    'STATUS',
    'RESTARTS',
    'AGE',
    'IP',
    'NODE',
    'NOMINATED NODE',
    'READINESS GATES',
    'LABELS',
  ]);
  assert.deepEqual([pod![1], pod![2], pod![3], pod![6]], ['1/1', 'Running', '0', 'n1']);
  assert.equal(await kubectl('get', 'service/web', '-o', 'name'), 'service/web\n');
  assert.match(await kubectl('get', 'service', 'web', '-o', 'yaml'), /kind: Service\n/);
  const list = JSON.parse(await kubectl('get', 'deploy,svc', '-l', 'app=web', '-o', 'json'));
  assert.deepEqual(
    list.items.map(({ kind }: { kind: string }) => kind),
    ['Deployment'],
  );
  assert.deepEqual(
    rows(await kubectl('get', 'pods', '-o', 'custom-columns=IMAGE:.spec.containers[*].image,NODE:.spec.nodeName')),
    [
      ['IMAGE', 'NODE'],
      ['a:1', 'n1'],
    ],
  );
  assert.equal(rows(await kubectl('get', 'pods', '--field-selector=status.phase=Running', '--no-headers')).length, 1);
  for (const kind of ['pod/', 'service/web', 'deployment.apps/web', 'replicaset.apps/'])
    assert.ok((await kubectl('get', 'all')).includes(kind), kind);
  assert.match(await kubectl('get', 'nodes'), /n1 +Ready/);
  assert.match(await kubectl('get', 'endpointslices'), /IPv4 +80 +10\.42\.0\./);
  assert.match(
    await kubectl('describe', 'deployment', 'web'),
    /Replicas: +1 desired \| 1 updated \| 1 total \| 1 available \| 0 unavailable/,
  );
  assert.match(await kubectl('describe', 'pod'), /Service Account: +default/);
  assert.match(await kubectl('describe', 'service', 'web'), /Endpoints: +10\.42\.0\.\d+:80/);
  assert.match(await kubectl('events'), /ScalingReplicaSet/);
  assert.match(await kubectl('get', 'events', '--field-selector', 'involvedObject.kind=Deployment'), /deployment\/web/);
});

test('get -w prints changes as rows until it is stopped', async (t) => {
  const { kubectl, kubeconfig } = await start(t);
  await kubectl('create', 'configmap', 'one', '--from-literal=a=b');
  const child = spawn(kubectlPath(), ['get', 'configmaps', '-w', '--no-headers'], {
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });
  t.after(() => child.kill());
  const seen: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    const [name, count] = line.split(/ +/);
    if (name === 'kube-root-ca.crt') continue;
    seen.push(`${name} ${count}`);
    if (seen.length === 1) await kubectl('create', 'configmap', 'two');
    if (seen.length === 2) await kubectl('patch', 'configmap', 'one', '-p', '{"data":{"c":"d"}}');
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, ['one 1', 'two 0', 'one 2']);
});

test('create, label, annotate, patch in all ways, and dry run', async (t) => {
  const { kubectl } = await start(t);
  await kubectl('create', 'configmap', 'x', '--from-literal=a=1');
  await kubectl('label', 'configmap', 'x', 'tier=front');
  await kubectl('annotate', 'configmap', 'x', 'note=hello');
  await kubectl('patch', 'configmap', 'x', '-p', '{"data":{"b":"2"}}');
  await kubectl('patch', 'configmap', 'x', '--type=merge', '-p', '{"data":{"a":null}}');
  await kubectl('patch', 'configmap', 'x', '--type=json', '-p', '[{"op":"add","path":"/data/c","value":"3"}]');
  const { metadata, data } = JSON.parse(await kubectl('get', 'configmap', 'x', '-o', 'json'));
  assert.deepEqual(
    [metadata.labels, metadata.annotations, data],
    [{ tier: 'front' }, { note: 'hello' }, { b: '2', c: '3' }],
  );
  await kubectl('create', 'secret', 'generic', 's', '--from-literal=k=v');
  assert.equal(await kubectl('get', 'secret', 's', '-o', 'jsonpath={.data.k}'), Buffer.from('v').toString('base64'));
  await kubectl('create', 'deployment', 'd', '--image=a:1', '--replicas=0');
  await kubectl('create', 'service', 'clusterip', 'd', '--tcp=80:8080');
  await kubectl('expose', 'deployment', 'd', '--port=81', '--name=exposed');
  assert.equal(await kubectl('get', 'service', 'exposed', '-o', 'jsonpath={.spec.ports[0].targetPort}'), '81');
  await kubectl('create', 'job', 'j', '--image=a:1');
  await kubectl('set', 'image', 'deployment/d', 'a=a:2');
  await kubectl('create', 'configmap', 'never', '--dry-run=server');
  assert.match((await kubectl.run(['get', 'configmap', 'never'])).stderr, /configmaps "never" not found/);
  assert.match((await kubectl.run(['create', 'configmap', 'x'])).stderr, /configmaps "x" already exists/);
});

test('server-side apply tells conflicts and takes over when forced', async (t) => {
  const { kubectl } = await start(t);
  const apply = (image: string, ...more: string[]) =>
    kubectl.withInput(manifest(image, 0), 'apply', '--server-side', '-f', '-', ...more);
  assert.match(await apply('a:1'), /deployment.apps\/web serverside-applied/);
  await assert.rejects(
    apply('a:2', '--field-manager=other'),
    /conflict with "kubectl"[\s\S]*containers\[name="c"\].image/,
  );
  await apply('a:2', '--field-manager=other', '--force-conflicts');
  assert.equal(
    await kubectl('get', 'deployment', 'web', '-o', 'jsonpath={.spec.template.spec.containers[0].image}'),
    'a:2',
  );
  assert.match(
    await kubectl.withInput(manifest('a:2', 0), 'diff', '--server-side', '--field-manager=other', '-f', '-'),
    /^$/,
  );
});

test('wrong manifests are refused with the field that is wrong', async (t) => {
  const { kubectl } = await start(t);
  const refuse = async (text: string, pattern: RegExp) => {
    const { code, stderr } = await kubectl.run(['apply', '-f', '-'], text);
    assert.notEqual(code, 0);
    assert.match(stderr, pattern);
  };
  await refuse(manifest('a:1').replace('replicas', 'replicaz'), /strict decoding error: unknown field "spec.replicaz"/);
  await refuse(
    manifest('a:1').replace('containerPort: 80', 'containerPort: 80000'),
    /spec.template.spec.containers\[0\].ports\[0\].containerPort: Invalid value: 80000: must be between 1 and 65535/,
  );
  await refuse(
    manifest('a:1').replace('matchLabels: {app: web}', 'matchLabels: {app: other}'),
    /`selector` does not match template `labels`/,
  );
  await refuse(manifest('a:1').replace('replicas: 2', 'replicas: two'), /cannot unmarshal string/);
  await refuse(
    '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Bad_Name"}}',
    /metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain/,
  );
  await refuse(
    '{"apiVersion":"example.com/v1","kind":"Nothing","metadata":{"name":"x"}}',
    /no matches for kind "Nothing"/,
  );
});

test('auth can-i, whoami, tokens, explain, api-resources and version', async (t) => {
  const { kubectl, cluster } = await start(t);
  const account = `--as=system:serviceaccount:${cluster.namespace}:default`;
  assert.equal(await kubectl('auth', 'can-i', 'create', 'pods'), 'yes\n');
  assert.equal((await kubectl.run(['auth', 'can-i', 'create', 'pods', account])).stdout, 'no\n');
  await kubectl('create', 'role', 'r', '--verb=get,list', '--resource=pods');
  await kubectl('create', 'rolebinding', 'r', '--role=r', `--serviceaccount=${cluster.namespace}:default`);
  assert.equal(await kubectl('auth', 'can-i', 'list', 'pods', account), 'yes\n');
  assert.match(await kubectl('auth', 'can-i', '--list', account), /pods +\[\] +\[\] +\[get list\]/);
  assert.match(await kubectl('auth', 'whoami'), /jane/);
  const token = (await kubectl('create', 'token', 'default')).trim();
  assert.equal(
    JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).sub,
    `system:serviceaccount:${cluster.namespace}:default`,
  );
  assert.match(await kubectl('explain', 'deployment.spec.strategy.rollingUpdate'), /maxSurge/);
  assert.match(await kubectl('api-resources'), /deployments +deploy +apps\/v1 +true +Deployment/);
  assert.match(await kubectl('version'), /Server Version: v1\.34\./);
});

test('logs come from the agent of the node', async (t) => {
  const { kubectl, cluster } = await start(t);
  const agent = createServer(({ url }, outgoing) => outgoing.end(`${url}\n`));
  agent.listen(0, '127.0.0.1');
  await once(agent, 'listening');
  t.after(() => agent.close());
  const nodeStatus = {
    addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
    daemonEndpoints: { kubeletEndpoint: { Port: (agent.address() as AddressInfo).port } },
  };
  await cluster.client.patch(NODES, 'n1', undefined, { status: nodeStatus }, 'merge', { subresource: 'status' });
  await kubectl('run', 'p', '--image=a:1');
  await kubectl('wait', '--for=condition=Ready', 'pod/p', '--timeout=20s');
  const line = `/containerLogs/${cluster.namespace}/p/p?follow=true&tailLines=5\n`;
  assert.equal(await kubectl('logs', '-f', 'p', '--tail=5'), line);
  await kubectl('delete', 'pod', 'p');
  await kubectl('create', 'namespace', 'gone');
  await kubectl('delete', 'namespace', 'gone', '--timeout=20s');
});
