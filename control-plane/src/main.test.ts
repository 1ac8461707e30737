import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { writeKubeconfig } from './testing/control-plane.ts';
import { startFakeKubernetes } from './testing/fake-kubernetes.ts';

const MAIN = join(import.meta.dirname, 'main.ts');

function start(t: TestContext, args: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  const output = { text: '' };
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => (output.text += text));
  return { child, output };
}

async function untilLogged(child: ChildProcess, output: { text: string }, text: string): Promise<void> {
  while (!output.text.includes(text)) await once(child.stdout!, 'data');
}

test('exits with 64 and every problem when its flags are bad', async (t) => {
  const { child, output } = start(t, ['--cluster-networks=x', '--nonsense=1']);
  const [code] = await once(child, 'close');
  assert.equal(code, 64);
  assert.match(output.text, /--cluster-networks: "x" is not a list of networks/);
  assert.match(output.text, /--nonsense=1: no such flag/);
});

test('says what is missing when it cannot start', async (t) => {
  const { child, output } = start(t, ['--kubeconfig=/does/not/exist', '--admin-addr=127.0.0.1:0']);
  const [code] = await once(child, 'close');
  assert.equal(code, 1);
  assert.match(output.text, /"error":"[^"]*\/does\/not\/exist/);
});

test('is ready once it knows the cluster, and ends on SIGTERM', async (t) => {
  const kubernetes = await startFakeKubernetes(t);
  const flags = ['destination', 'policy', 'admin'].map((name) => `--${name}-addr=127.0.0.1:0`);
  const kubeconfig = `--kubeconfig=${writeKubeconfig(t, kubernetes.url)}`;
  const { child, output } = start(t, ['--components=destination,policy', kubeconfig, ...flags]);
  await untilLogged(child, output, '"msg":"control plane started"');
  const started = output.text.split('\n').find((line) => line.includes('control plane started'))!;
  const admin = `http://127.0.0.1:${JSON.parse(started).ports.admin}`;
  const get = async (path: string) => {
    const response = await fetch(admin + path);
    return [response.status, await response.text()] as const;
  };
  while ((await get('/ready'))[0] !== 200);
  assert.deepEqual(await get('/ready'), [200, 'ready\n']);
  assert.deepEqual(await get('/live'), [200, 'live\n']);
  assert.equal((await get('/nothing'))[0], 404);
  const [, metrics] = await get('/metrics');
  assert.match(metrics, /^workload_index_size\{table="pods"\} 0$/m);
  assert.match(metrics, /^process_resident_memory_bytes [1-9]\d{6,}$/m);
  child.kill('SIGTERM');
  const [code] = await once(child, 'close');
  assert.equal(code, 0);
});

test('ends on SIGTERM while it still waits for the API server', async (t) => {
  const kubernetes = await startFakeKubernetes(t);
  kubernetes.setAway(true);
  const kubeconfig = `--kubeconfig=${writeKubeconfig(t, kubernetes.url)}`;
  const { child, output } = start(t, [
    '--components=injector',
    kubeconfig,
    '--admin-addr=127.0.0.1:0',
    '--log-level=debug',
  ]);
  await untilLogged(child, output, '"msg":"admin server listens"');
  child.kill('SIGTERM');
  const [code] = await once(child, 'close');
  assert.equal(code, 0);
});
