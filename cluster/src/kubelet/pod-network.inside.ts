/** Pods on the network: addresses, Services, DNS, probes, port-forwards. Started by pods.test.ts in own namespaces. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { ENDPOINT_SLICES, type KubeObject, PODS, SERVICES } from '@tulle/api';
import { WebSocket } from 'ws';
import { isOver, isReady, js, sh, startNodeFixture } from './testing/node-fixture.ts';

const node = await startNodeFixture();
const { client, run, until, logs } = node;
after(() => node[Symbol.asyncDispose]());

const SERVER = `
import http from 'node:http';
http.createServer((request, response) => response.end(request.socket.remoteAddress + ' ' + process.env.HOSTNAME)).listen(8080, '::');
http.createServer((request, response) => response.end('local only')).listen(8081, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));`;
const readinessProbe = { httpGet: { port: 8080 }, periodSeconds: 1 };

/** Writes one line for each URL: the body, or the code of the error. */
const fetcher = (urls: string[]) => `
for (const url of ${JSON.stringify(urls)})
  console.log(await fetch(url).then((r) => r.text(), (e) => e.cause.code));`;

function putService(name: string, clusterIPs: string[], pods: KubeObject[], more: object = {}) {
  const spec = { clusterIP: clusterIPs[0], clusterIPs, ports: [{ name: 'http', port: 80, targetPort: 8080 }], ...more };
  client.put(SERVICES, { metadata: { name }, spec });
  for (const [index, addressType] of ['IPv4', 'IPv6'].entries()) {
    const endpoints = pods.map((pod) => ({
      addresses: [pod.status.podIPs[index].ip],
      conditions: { ready: true },
      targetRef: { kind: 'Pod', name: pod.metadata.name },
    }));
    const metadata = { name: `${name}-${index}`, labels: { 'kubernetes.io/service-name': name } };
    client.put(ENDPOINT_SLICES, {
      metadata,
      addressType,
      endpoints,
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    });
  }
}

async function fetchFromPod(name: string, urls: string[]): Promise<string[]> {
  run(name, { restartPolicy: 'Never', containers: [js(fetcher(urls))] });
  await until(name, isOver);
  return (await logs(name)).trim().split('\n');
}

for (const name of ['web-a', 'web-b']) run(name, { containers: [js(SERVER, { readinessProbe })] });
const [a, b] = await Promise.all([until('web-a', isReady), until('web-b', isReady)]);
putService('web', ['10.96.1.0', 'fd96::100'], [a, b]);
putService('self', ['10.96.1.1', 'fd96::101'], [a]);
putService('none', ['10.96.1.2', 'fd96::102'], []);
putService('heads', ['None'], [a, b]);

test('reaches a Service by name and by address of both families, with the pod as source', async () => {
  const lines = await fetchFromPod('client', [
    'http://web',
    'http://10.96.1.0',
    'http://[fd96::100]',
    'http://heads:8080',
  ]);
  const { podIPs } = (await client.get<KubeObject>(PODS, 'client', 'default')).status;
  const [v4, v6] = podIPs.map(({ ip }: { ip: string }) => ip);
  for (const line of lines) assert.match(line, new RegExp(`^(::ffff:${v4}|${v6}) web-[ab]$`));
});

test('refuses a Service without endpoints, an unknown one, and names outside', async () => {
  const urls = ['http://none', 'http://10.96.9.9', 'http://[fd96::999]', 'http://example.invalid'];
  assert.deepEqual(await fetchFromPod('refused', urls), ['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED', 'ENOTFOUND']);
});

test('lets a pod reach itself through its Service', async () => {
  putService('loop', ['10.96.1.3', 'fd96::103'], []);
  const script = `${SERVER}
    for (const url of ['http://10.96.1.3', 'http://[fd96::103]']) {
      for (;;) {
        const body = await fetch(url).then((r) => r.text(), () => undefined);
        if (body) { console.log(body.split(' ')[1]); break; }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    process.exit(0);`;
  run('loop', { restartPolicy: 'Never', containers: [js(script, { readinessProbe })] });
  putService('loop', ['10.96.1.3', 'fd96::103'], [await until('loop', isReady)]);
  await until('loop', isOver);
  assert.equal(await logs('loop'), 'loop\nloop\n');
});

test('follows endpoints as they come and go', async () => {
  putService('moving', ['10.96.1.4', 'fd96::104'], [a]);
  const script = `
    import http from 'node:http';
    const ask = () => new Promise((resolve) => http.get('http://10.96.1.4', { agent: false }, (response) => response.setEncoding('utf8').once('data', resolve)).once('error', (e) => resolve(e.code)));
    const until = async (end) => { for (;;) { const body = await ask(); if (body.endsWith(end)) break; await new Promise((r) => setTimeout(r, 10)); } console.log(end); };
    for (const end of ['web-a', 'web-b', 'ECONNREFUSED']) await until(end);`;
  run('watcher', { restartPolicy: 'Never', containers: [js(script)] });
  await until('watcher', (pod) => pod.status?.phase === 'Running');
  const follow = await fetch(`${node.agentUrl}/containerLogs/default/watcher/main?follow=true`);
  let text = '';
  for await (const chunk of follow.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.endsWith('web-a\n')) putService('moving', ['10.96.1.4', 'fd96::104'], [b]);
    if (text.endsWith('web-b\n')) putService('moving', ['10.96.1.4', 'fd96::104'], []);
  }
  assert.equal(text, 'web-a\nweb-b\nECONNREFUSED\n');
});

test('probes a pod from the address of its node', async () => {
  const script = `
    import http from 'node:http';
    http.createServer((request, response) => { console.log(request.socket.remoteAddress); response.end(); }).listen(8080, '0.0.0.0');
    process.on('SIGTERM', () => process.exit(0));`;
  run('probed', { containers: [js(script, { readinessProbe })] });
  await until('probed', isReady);
  assert.match(await logs('probed'), /^10\.42\.0\.1\n/);
});

test('lets an init container with NET_ADMIN change the rules of its own pod alone', async () => {
  const securityContext = { capabilities: { add: ['NET_ADMIN'] }, runAsUser: 65_534, allowPrivilegeEscalation: false };
  run('rules', {
    restartPolicy: 'Never',
    initContainers: [sh('nft add table ip inside', { name: 'init', securityContext })],
    containers: [sh('nft list ruleset 2>&1 | head -1')],
  });
  assert.equal((await until('rules', isOver)).status.phase, 'Succeeded');
  const outside = spawnSync('nft', ['list', 'ruleset'], {
    encoding: 'utf8',
    env: { PATH: `${process.env.PATH}:/usr/sbin` },
  });
  assert.doesNotMatch(outside.stdout, /table ip inside/);
});

test('forwards a port to what listens on the pod’s own loopback', async () => {
  const url = `${node.agentUrl.replace('http', 'ws')}/portForward/default/web-a?port=8081`;
  const socket = new WebSocket(url, 'v4.channel.k8s.io');
  await once(socket, 'open');
  socket.send(Buffer.from('\0GET / HTTP/1.0\r\n\r\n'));
  let text = '';
  socket.on('message', (data: Buffer) => (text += data[0] === 0 ? data.subarray(1).toString() : ''));
  await once(socket, 'close');
  assert.match(text, /local only$/);
});

test('answers for a pod that is not here', async () => {
  const response = await fetch(`${node.agentUrl}/containerLogs/default/nobody/main`);
  assert.equal(response.status, 404);
  const socket = new WebSocket(`${node.agentUrl.replace('http', 'ws')}/portForward/default/nobody?port=1`);
  const [error] = (await once(socket, 'error')) as [Error];
  assert.match(error.message, /404/);
});
