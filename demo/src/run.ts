/** The demo's course: cluster, mesh, application, first metrics, then the live table or the report. */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DEPLOYMENTS, type KubeObject, MeshError } from '@tulle/api';
import { type Client, createClient, loadKubeconfig } from '@tulle/client';
import { runningCluster, startCluster } from '@tulle/cluster';
import { parseAllDocuments } from 'yaml';
import { Progress } from '../../scripts/progress.mjs';
import { showLive } from './live-table.ts';
import { applicationManifests, NAMESPACE, workloadNames } from './manifests.ts';
import type { Options } from './options.ts';
import { checkReport, type StartTimes, worksOut } from './report.ts';
import { Scraper } from './scraper.ts';

const VERSION = process.env.TULLE_VERSION ?? '0.1.0';
const CONTROL_PLANE = { namespace: 'linkerd', names: ['linkerd-destination'] };
const FIELD_MANAGER = 'tulle-demo';
/** What starts slower than this on one machine does not start. */
const READY_MS_MAX = 120_000;
const POLL_MS = 100;

export async function runDemo(options: Options, signal: AbortSignal): Promise<void> {
  const progress = new Progress(process.stderr);
  const startMs: StartTimes = { cluster: 0, controlPlane: 0, application: 0, firstMetrics: 0 };
  const timed = async <T>(key: keyof StartTimes, title: string, work: () => Promise<T>): Promise<T> => {
    const startedAt = performance.now();
    const result = await progress.step(title, work);
    startMs[key] = Math.round(performance.now() - startedAt);
    return result;
  };

  const installAndShow = async (kubeconfigPath: string): Promise<void> => {
    const client = createClient(loadKubeconfig({ path: kubeconfigPath }));
    await timed('controlPlane', 'control plane', async () => {
      await applyAll(client, await installManifests(options.root, kubeconfigPath, '--crds'));
      await applyAll(client, await installManifests(options.root, kubeconfigPath));
      await untilReady(client, CONTROL_PLANE.namespace, CONTROL_PLANE.names, signal);
    });
    await timed('application', 'application: vote-bot, web, emoji, voting, store', async () => {
      await applyAll(client, applicationManifests(VERSION) as unknown as KubeObject[]);
      await untilReady(client, NAMESPACE, workloadNames, signal);
    });
    const scraper = new Scraper(client, [NAMESPACE, CONTROL_PLANE.namespace]);
    await timed('firstMetrics', 'first golden metrics', () => untilMetrics(scraper, signal));
    progress.end();

    if (options.output === 'json') {
      await report(scraper, options.forMs ?? 0, startMs, signal);
    } else {
      await showLive({ scraper, kubeconfigPath: kubeconfigPath, startMs, forMs: options.forMs }, signal);
    }
    client.close();
  };

  try {
    await using cluster = await timed('cluster', 'cluster', async () => {
      forgetLastRun(options.stateDir);
      const started = await startCluster({ stateDir: options.stateDir, signal });
      await started.ready;
      return started;
    });
    // Whatever the demo is at, the end of the cluster is its end.
    await Promise.race([installAndShow(cluster.kubeconfigPath), cluster.ended]);
  } catch (error) {
    if (!signal.aborted) progress.fail();
    progress.end();
    throw error;
  }
}

/** Every run starts from nothing: `tulle install` makes new certificates each time, and pods of an old run have the old ones. */
function forgetLastRun(stateDir: string): void {
  if (!runningCluster(stateDir)) rmSync(stateDir, { recursive: true, force: true });
}

async function report(scraper: Scraper, forMs: number, startMs: StartTimes, signal: AbortSignal): Promise<void> {
  const before = await scraper.scrape();
  await delay(forMs, undefined, { signal });
  const document = worksOut(before, await scraper.scrape(), startMs, await scraper.memory());
  process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  const problems = checkReport(document);
  if (problems.length > 0) throw new MeshError('FAILED_PRECONDITION', problems.join('; '));
}

/** Exactly what a user would pipe into `kubectl apply`. */
async function installManifests(root: string, kubeconfigPath: string, ...flags: string[]): Promise<KubeObject[]> {
  const args = [join(root, 'dist/tulle.js'), '--kubeconfig', kubeconfigPath, 'install', ...flags];
  const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 16 * 1024 * 1024 });
  return parseAllDocuments(stdout).flatMap((document) => (document.toJS() as KubeObject | null) ?? []);
}

async function applyAll(client: Client, objects: KubeObject[]): Promise<void> {
  for (const object of objects) await client.apply(object, { fieldManager: FIELD_MANAGER, force: true });
}

/** Waits until all replicas of the named deployments are ready and none of an older revision is left. */
async function untilReady(client: Client, namespace: string, names: string[], signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + READY_MS_MAX;
  for (;;) {
    const { items } = await client.list<KubeObject>(DEPLOYMENTS, { namespace });
    const waiting = names.filter((name) => !isRolledOut(items.find((d) => d.metadata.name === name)));
    if (waiting.length === 0) return;
    if (performance.now() > deadline) {
      throw new MeshError('DEADLINE_EXCEEDED', `wait for deployments ${waiting.join(', ')} in ${namespace}: not ready`);
    }
    await delay(POLL_MS, undefined, { signal });
  }
}

function isRolledOut(deployment: KubeObject | undefined): boolean {
  if (!deployment) return false;
  const { spec, status, metadata } = deployment;
  const wanted = spec.replicas ?? 1;
  const counts = [status?.updatedReplicas, status?.readyReplicas, status?.replicas];
  return status?.observedGeneration >= (metadata.generation ?? 0) && counts.every((count) => (count ?? 0) === wanted);
}

/** Waits until every workload has traffic and every edge has been seen from both ends. */
async function untilMetrics(scraper: Scraper, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + READY_MS_MAX;
  const before = await scraper.scrape();
  for (;;) {
    await delay(POLL_MS, undefined, { signal });
    const after = await scraper.scrape();
    const document = worksOut(before, after, undefined, undefined);
    const problems = checkReport(document, { isCountAgreementNeeded: false });
    if (problems.length === 0) return;
    if (performance.now() > deadline) {
      throw new MeshError('DEADLINE_EXCEEDED', `wait for golden metrics: ${problems.join('; ')}`);
    }
  }
}
