/** Reads the metrics of proxies twice, some time apart, through the API server's port-forward. */
import { setTimeout as delay } from 'node:timers/promises';
import { MeshError, type Pod, type ProxyScrape, type ProxyWindow, parseMetricsText } from '@tulle/api';
import { type Client, getFromPod } from '@tulle/client';
import { adminPort, identityOf, isAlive, isMeshed, workloadOf } from './mesh-pods.ts';

/** Each is a connection through the API server; more at once gains nothing and takes its place from others. */
const SCRAPES_AT_ONCE_MAX = 16;

export interface MeshWindow {
  windows: ProxyWindow[];
  seconds: number;
  /** Pods that did not answer, with the reason. */
  failed: { pod: string; reason: string }[];
}

/** Of the meshed pods among `pods`. A pod that does not answer both times is left out. */
export async function scrapeWindow(client: Client, pods: readonly Pod[], windowMs: number): Promise<MeshWindow> {
  const meshed = pods.filter((pod) => isMeshed(pod) && isAlive(pod));
  const startedAt = performance.now();
  const before = await scrapeAll(client, meshed);
  await delay(meshed.length ? windowMs : 0);
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await scrapeAll(client, meshed);
  const earlier = new Map(before.scrapes.map((scrape) => [`${scrape.namespace}/${scrape.pod}`, scrape]));
  return {
    windows: after.scrapes.flatMap((scrape) => {
      const first = earlier.get(`${scrape.namespace}/${scrape.pod}`);
      return first ? [{ before: first, after: scrape }] : [];
    }),
    seconds,
    failed: after.failed,
  };
}

/** Of the meshed pods among `pods`: what they have counted since they started, or until it was forgotten. */
export async function scrapeOnce(
  client: Client,
  pods: readonly Pod[],
): Promise<{ scrapes: ProxyScrape[]; failed: MeshWindow['failed'] }> {
  return scrapeAll(
    client,
    pods.filter((pod) => isMeshed(pod) && isAlive(pod)),
  );
}

async function scrapeAll(client: Client, pods: readonly Pod[]) {
  const scrapes: ProxyScrape[] = [];
  const failed: MeshWindow['failed'] = [];
  await forEachLimited(pods, SCRAPES_AT_ONCE_MAX, async (pod) => {
    const { name, namespace = '' } = pod.metadata;
    try {
      const text = await getFromPod(client, { namespace, pod: name, port: adminPort(pod), path: '/metrics' });
      scrapes.push({
        namespace,
        pod: name,
        workload: workloadOf(pod),
        identity: identityOf(pod),
        samples: parseMetricsText(text),
      });
    } catch (error) {
      failed.push({ pod: `${namespace}/${name}`, reason: MeshError.from(error).message });
    }
  });
  return { scrapes, failed };
}

/** Calls `work` for every item, so many at once. Rejects with the first error. */
export async function forEachLimited<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const item = items[next]!;
      next += 1;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
}

/** A line on standard error for every pod that could not be read. */
export function reportFailed(failed: MeshWindow['failed']): void {
  for (const { reason } of failed) process.stderr.write(`‼ ${reason}\n`);
}
