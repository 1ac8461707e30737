/** `npm run demo` as a user runs it: the figures it prints, and that nothing of it is left however it ends. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { root } from './support/cluster.ts';

const GONE_MS = 2000;
const START_MS_MAX = 120_000;
const WORKLOADS = ['emoji', 'store', 'vote-bot', 'voting', 'web'];
const EDGES = [
  ['vote-bot', 'web'],
  ['web', 'emoji'],
  ['web', 'voting'],
  ['voting', 'store'],
];
const skip = process.env.TEST_KUBECONFIG ? 'the demo has a cluster of its own' : false;

const folders: string[] = [];
const demos: ChildProcess[] = [];
after(() => {
  // One that a failed test left would keep this process from ending.
  for (const { pid, exitCode, signalCode } of demos) {
    if (pid && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function startDemo(...args: string[]): { npm: ChildProcess; said: () => string; stateDir: string } {
  const stateDir = mkdtempSync(join(tmpdir(), 'tulle-demo-'));
  folders.push(stateDir);
  const npm = spawn('npm', ['run', '-s', 'demo', '--', '--state-dir', stateDir, ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that Ctrl-C can be sent to all of it as a terminal does.
    detached: true,
  });
  demos.push(npm);
  let text = '';
  for (const stream of [npm.stdout, npm.stderr]) {
    stream?.setEncoding('utf8');
    stream?.on('data', (chunk: string) => {
      text += chunk;
    });
  }
  return { npm, said: () => text, stateDir };
}

interface Process {
  pid: number;
  parent: number;
  startTime: string;
  command: string;
}

function processes(): Process[] {
  return readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (fields[0] === 'Z') return [];
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      return [{ pid: Number(entry), parent: Number(fields[1]), startTime: fields[19] ?? '', command }];
    } catch {
      return [];
    }
  });
}

/** A process and all below it. */
function tree(pid: number): Process[] {
  const all = processes();
  const found = all.filter((p) => p.pid === pid);
  for (let at = 0; at < found.length; at++) found.push(...all.filter((p) => p.parent === found[at]?.pid));
  return found;
}

/** The chain from npm down to the first process in a network of its own. */
function chainOf(pid: number): Process[] {
  const own = readlinkSync('/proc/self/ns/net');
  const chain: Process[] = [];
  const all = tree(pid);
  const inner = all.find((p) => {
    try {
      return readlinkSync(`/proc/${p.pid}/ns/net`) !== own;
    } catch {
      return false;
    }
  });
  for (let at = inner; at; at = all.find((p) => p.pid === at?.parent)) chain.unshift(at);
  return chain;
}

/** Names of what the host has of interfaces, tables, mounts and named namespaces; others on the machine change their contents. */
function hostState(): string[] {
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { encoding: 'utf8' }).split('\n');
  const links = run('ip', '-brief', 'link').map((line) => line.split(/[ @]/)[0] ?? '');
  const tables = process.getuid?.() === 0 ? run('nft', 'list', 'tables') : [];
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  return [...links, ...tables, ...mounts, ...namespaces];
}

async function untilUp(demo: { npm: ChildProcess; said: () => string }): Promise<void> {
  const deadline = Date.now() + START_MS_MAX;
  while (!demo.said().includes('The mesh is up')) {
    if (demo.npm.exitCode !== null) assert.fail(`the demo ended with ${demo.npm.exitCode}: ${demo.said()}`);
    if (Date.now() > deadline) assert.fail(`the demo is not up: ${demo.said()}`);
    await delay(100);
  }
}

async function assertNothingLeft(before: string[], running: Process[]): Promise<void> {
  await delay(GONE_MS);
  const left = processes().filter((p) => running.some((r) => r.pid === p.pid && r.startTime === p.startTime));
  for (const { pid } of left) process.kill(pid, 'SIGKILL');
  assert.deepEqual(
    left.map((p) => p.command),
    [],
    'processes are left',
  );
  assert.deepEqual(
    hostState().filter((name) => !before.includes(name)),
    [],
    'the host has something new',
  );
}

test('prints one document: five workloads with traffic, four mutual edges, and exits 0', { skip }, async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'tulle-demo-'));
  folders.push(stateDir);
  const npm = spawn('npm', ['run', '-s', 'demo', '--', '--state-dir', stateDir, '--for', '20s', '-o', 'json'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  npm.stdout.setEncoding('utf8');
  npm.stdout.on('data', (chunk: string) => {
    text += chunk;
  });
  const [code] = await once(npm, 'close');
  const document = JSON.parse(text);
  process.stdout.write(text);
  assert.equal(code, 0);
  const names = document.workloads.map((w: { name: string }) => w.name);
  assert.deepEqual(names.sort(), WORKLOADS);
  for (const { name, role, successRate, rps, latencyMs, tcpConnections } of document.workloads) {
    assert.equal(role, name === 'vote-bot' ? 'client' : 'server');
    assert.ok(tcpConnections >= 1, name);
    if (name === 'store') {
      assert.deepEqual([successRate, latencyMs], [null, null]);
      continue;
    }
    assert.ok(rps > 1, `${name}: ${rps}`);
    assert.ok(latencyMs.p50 > 0 && latencyMs.p99 >= latencyMs.p50, name);
    const isBroken = ['voting', 'web', 'vote-bot'].includes(name);
    assert.ok(isBroken ? successRate < 1 && successRate > 0.8 : successRate === 1, `${name}: ${successRate}`);
  }
  assert.deepEqual(
    document.edges.map((e: { client: string; server: string }) => [e.client, e.server]),
    EDGES,
  );
  for (const { client, server, clientId, serverId, tls } of document.edges) {
    assert.equal(tls, 'mutual', `${client} → ${server}`);
    assert.equal(clientId, `${client}.emojivote.serviceaccount.identity.linkerd.cluster.local`);
    assert.equal(serverId, `${server}.emojivote.serviceaccount.identity.linkerd.cluster.local`);
  }
  assert.ok(document.memoryBytes.controlPlane > 0);
  assert.ok(document.memoryBytes.proxies.length >= 7);
  for (const ms of Object.values(document.startMs)) assert.ok((ms as number) > 0);
});

describe('leaves nothing behind', () => {
  test('after Ctrl-C', { skip }, async () => {
    const before = hostState();
    const demo = startDemo();
    await untilUp(demo);
    const running = tree(demo.npm.pid ?? 0);
    process.kill(-(demo.npm.pid ?? 0), 'SIGINT');
    await assertNothingLeft(before, running);
  });

  test('after SIGTERM', { skip }, async () => {
    const before = hostState();
    const demo = startDemo();
    await untilUp(demo);
    const running = tree(demo.npm.pid ?? 0);
    demo.npm.kill('SIGTERM');
    await assertNothingLeft(before, running);
  });

  test('after SIGKILL of any one process of the chain', { skip }, async (context) => {
    const first = startDemo();
    await untilUp(first);
    const length = chainOf(first.npm.pid ?? 0).length;
    assert.ok(length >= 3, 'npm, the demo and the cluster at least');
    process.kill(-(first.npm.pid ?? 0), 'SIGKILL');
    await delay(GONE_MS);
    for (let at = 0; at < length; at++) {
      await context.test(`process ${at} of ${length}`, async () => {
        const before = hostState();
        const demo = startDemo();
        await untilUp(demo);
        const victim = chainOf(demo.npm.pid ?? 0)[at];
        assert.ok(victim, 'the chain is as long as before');
        const running = tree(demo.npm.pid ?? 0);
        process.kill(victim.pid, 'SIGKILL');
        await assertNothingLeft(before, running);
      });
    }
  });
});
