/**
 * `npm run bench -- --scale`: the control plane's own process beside 1,000 Services, 5,000 pods, 500 Servers, 500
 * AuthorizationPolicies, 2,000 routes and 2,000 open streams. Prints how long it takes to answer all of them, how long a
 * change takes to every stream that it concerns, and what memory and idle CPU that costs.
 *
 *   --control-plane PATH   another program than dist/control-plane.js
 *   --changes N            changes of each kind (default 40)
 *   --idle-seconds S       over which the idle CPU is taken (default 15)
 *   -o json|table
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { AUTHORIZATION_POLICIES, ENDPOINT_SLICES, SERVERS, SERVICE_PROFILES } from '@tulle/api';
import { HTTP_ROUTES } from '@tulle/api/kinds.ts';
import { Authority } from './authority.ts';
import { cpuUs, peakRssBytes, rssBytes } from './process-figures.ts';
import { ScaleApiServer } from './scale-api-server.ts';
import { endpointSlice, fill, httpRoute, type ScaleService, server } from './scale-cluster.ts';
import { openWatches, type Ports, type Watch, type WatchKind } from './scale-watches.ts';

/** What the figures must keep to. */
const TARGETS = { startS: 10, changeP99Ms: 100, rssMiB: 250, idleCpuPercent: 2 };
const START_TIMEOUT_MS = 120_000;
const CHANGE_TIMEOUT_MS = 10_000;
/** Between changes, so that each is one. */
const PAUSE_MS = 20;
const MIB = 2 ** 20;

interface Change {
  name: string;
  kind: WatchKind;
  concerns: (watch: Watch) => boolean;
  make: (round: number) => void;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      scale: { type: 'boolean' },
      'control-plane': { type: 'string', default: join(import.meta.dirname, '../../dist/control-plane.js') },
      changes: { type: 'string', default: '40' },
      'idle-seconds': { type: 'string', default: '15' },
      output: { type: 'string', short: 'o', default: 'table' },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), 'tulle-scale-'));
  await using api = new ScaleApiServer();
  const services = fill(api);
  const startedAtMs = performance.now();
  const child = await startControlPlane(values['control-plane'], folder, await api.listen());
  const ending = new AbortController();
  try {
    const watches = openWatches(await listening(child), services, ending.signal);
    await until(() => watches.every(({ messages }) => messages > 0), START_TIMEOUT_MS, 'an answer on every stream');
    const startS = (performance.now() - startedAtMs) / 1000;
    const rssStartMiB = rssBytes(child.pid!) / MIB;
    await settled(api, watches);
    const latencies = new Map<string, number[]>();
    for (const change of changesOf(api, services)) {
      latencies.set(change.name, await measure(change, watches, Number(values.changes)));
    }
    await settled(api, watches);
    const [cpuBefore, beforeMs] = [cpuUs(child.pid!), performance.now()];
    await sleep(Number(values['idle-seconds']) * 1000);
    const idleCpuPercent = (cpuUs(child.pid!) - cpuBefore) / (performance.now() - beforeMs) / 10;
    const all = [...latencies.values()].flat();
    const report = {
      streams: watches.length,
      startS,
      changeMs: { p50: quantile(all, 0.5), p99: quantile(all, 0.99), max: Math.max(...all) },
      changes: Object.fromEntries(
        [...latencies].map(([name, ms]) => [name, { p50: quantile(ms, 0.5), p99: quantile(ms, 0.99) }]),
      ),
      rssMiB: rssBytes(child.pid!) / MIB,
      rssStartMiB,
      rssPeakMiB: peakRssBytes(child.pid!) / MIB,
      idleCpuPercent,
      writes: api.writes,
    };
    print(values.output === 'json', report);
  } finally {
    ending.abort();
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

async function startControlPlane(program: string, folder: string, apiUrl: string): Promise<ChildProcess> {
  const authority = await Authority.create();
  const { key, cert } = await authority.createServerIdentity('webhook.linkerd.svc');
  const tls = join(folder, 'tls');
  mkdirSync(tls);
  writeFileSync(join(tls, 'tls.key'), key);
  writeFileSync(join(tls, 'tls.crt'), cert);
  const kubeconfig = join(folder, 'kubeconfig');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'scale', cluster: { server: apiUrl } }],
    users: [{ name: 'scale', user: {} }],
    contexts: [{ name: 'scale', context: { cluster: 'scale', user: 'scale', namespace: 'linkerd' } }],
    'current-context': 'scale',
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  const names = ['identity', 'destination', 'policy', 'injector', 'policy-validator', 'sp-validator', 'admin'];
  const webhooks = ['injector', 'policy-validator', 'sp-validator'];
  const args = [
    ...names.map((name) => `--${name}-addr=127.0.0.1:0`),
    ...webhooks.map((name) => `--${name}-tls-path=${tls}`),
    `--kubeconfig=${kubeconfig}`,
    `--identity-issuer-path=${folder}`,
    `--identity-trust-anchors-path=${join(folder, 'none')}`,
  ];
  return spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** The ports of the services that are watched, from the log. */
function listening(child: ChildProcess): Promise<Ports> {
  const { promise, resolve, reject } = Promise.withResolvers<Ports>();
  const ports: Partial<Ports> = {};
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const entry = JSON.parse(line) as { level: string; msg: string; component?: string; port?: number; error?: string };
    if (entry.level === 'error' || entry.level === 'fatal') process.stderr.write(`${line}\n`);
    if (entry.msg !== 'component listens') return;
    if (entry.component === 'destination' || entry.component === 'policy') ports[entry.component] = entry.port;
    if (ports.destination && ports.policy) resolve(ports as Ports);
  });
  child.once('exit', (code) => reject(new Error(`the control plane ended with ${code}`)));
  return promise;
}

function changesOf(api: ScaleApiServer, services: readonly ScaleService[]): Change[] {
  // The Service that every fifth client calls, and one whose pods have a Server.
  const hot = services[1]!;
  const guarded = services[0]!;
  const { namespace } = hot;
  const calls = (kind: WatchKind) => (watch: Watch) => watch.kind === kind && watch.service === hot;
  const profileName = `${hot.name}.${namespace}.svc.cluster.local`;
  return [
    {
      name: 'an endpoint',
      kind: 'get',
      concerns: calls('get'),
      make: (round) => api.put(ENDPOINT_SLICES, endpointSlice(hot, 4 + (round % 2))),
    },
    {
      name: 'a route',
      kind: 'outbound',
      concerns: calls('outbound'),
      make: (round) => api.put(HTTP_ROUTES, httpRoute(namespace, 'route-1', hot.name, 100 + (round % 2))),
    },
    {
      name: 'a ServiceProfile',
      kind: 'profile',
      concerns: calls('profile'),
      make: (round) => {
        const routes = [{ name: `route-${round % 2}`, condition: { pathRegex: '/x' } }];
        api.put(SERVICE_PROFILES, { metadata: { name: profileName, namespace }, spec: { routes } });
      },
    },
    {
      name: 'a Server',
      kind: 'inbound',
      concerns: (watch) => watch.kind === 'inbound' && watch.service === guarded,
      make: (round) => {
        const policy = round % 2 === 0 ? 'all-authenticated' : 'deny';
        api.put(SERVERS, server(guarded.namespace, guarded.name, policy));
      },
    },
    {
      name: 'a namespace’s authorization',
      kind: 'inbound',
      // Servers guard the first half of each namespace's Services.
      concerns: (watch) =>
        watch.kind === 'inbound' && watch.service.namespace === namespace && Number(watch.service.name.slice(4)) < 10,
      make: (round) => {
        const reference = { group: 'policy.linkerd.io', kind: 'MeshTLSAuthentication', name: 'app-0' };
        const targetRef = { kind: 'Namespace', name: namespace };
        const spec = { targetRef, requiredAuthenticationRefs: round % 2 === 0 ? [reference] : [] };
        api.put(AUTHORIZATION_POLICIES, { metadata: { name: 'everyone', namespace }, spec });
      },
    },
  ];
}

/** How long each concerned stream took, for every change. */
async function measure(change: Change, watches: readonly Watch[], rounds: number): Promise<number[]> {
  const concerned = watches.filter(change.concerns);
  if (concerned.length === 0) throw new Error(`${change.name}: concerns no stream`);
  const latencies: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const before = concerned.map(({ messages }) => messages);
    const atMs = performance.now();
    change.make(round);
    const isTold = () => concerned.every(({ messages }, i) => messages > before[i]!);
    await until(isTold, CHANGE_TIMEOUT_MS, `${change.name} on every stream that it concerns`);
    // The first round has what came before in it: another name, a stream that was still being told.
    if (round > 0) latencies.push(...concerned.map(({ lastAtMs }) => lastAtMs - atMs));
    await sleep(PAUSE_MS);
  }
  return latencies;
}

/** Until the control plane has written what it wants to write and streams are quiet. */
async function settled(api: ScaleApiServer, watches: readonly Watch[]): Promise<void> {
  const sum = () => api.writes + watches.reduce((total, { messages }) => total + messages, 0);
  for (let last = -1; last !== sum(); ) {
    last = sum();
    await sleep(3_000);
  }
}

async function until(isDone: () => boolean, timeoutMs: number, what: string): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!isDone()) {
    if (performance.now() > endMs) throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}`);
    await sleep(2);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

interface Report {
  streams: number;
  startS: number;
  changeMs: { p50: number; p99: number; max: number };
  changes: Record<string, { p50: number; p99: number }>;
  rssMiB: number;
  rssStartMiB: number;
  rssPeakMiB: number;
  idleCpuPercent: number;
  writes: number;
}

function print(isJson: boolean, report: Report): void {
  if (isJson) {
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return;
  }
  const { startS, changeMs, rssMiB, idleCpuPercent } = report;
  const row = (what: string, value: string, isKept?: boolean, target = '') =>
    `${what.padEnd(44)}${value.padStart(12)}${isKept === undefined ? '' : `   ${isKept ? 'keeps' : 'MISSES'} ${target}`}\n`;
  process.stdout.write(
    [
      row('streams', String(report.streams)),
      row('start to an answer on each', `${startS.toFixed(1)} s`, startS <= TARGETS.startS, `${TARGETS.startS} s`),
      row(
        'a change to every stream it concerns, p99',
        `${changeMs.p99.toFixed(1)} ms`,
        changeMs.p99 <= TARGETS.changeP99Ms,
        `${TARGETS.changeP99Ms} ms`,
      ),
      row('  p50 / max', `${changeMs.p50.toFixed(1)} / ${changeMs.max.toFixed(1)} ms`),
      ...Object.entries(report.changes).map(([name, { p50, p99 }]) =>
        row(`  ${name}: p50 / p99`, `${p50.toFixed(1)} / ${p99.toFixed(1)} ms`),
      ),
      row('memory (RSS)', `${rssMiB.toFixed(0)} MiB`, rssMiB <= TARGETS.rssMiB, `${TARGETS.rssMiB} MiB`),
      row(
        '  when all were answered / at most',
        `${report.rssStartMiB.toFixed(0)} / ${report.rssPeakMiB.toFixed(0)} MiB`,
      ),
      row(
        'CPU when idle',
        `${idleCpuPercent.toFixed(2)} %`,
        idleCpuPercent <= TARGETS.idleCpuPercent,
        `${TARGETS.idleCpuPercent} %`,
      ),
      row('writes of statuses and Events', String(report.writes)),
    ].join(''),
  );
}

try {
  await main();
  process.exit();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
}
