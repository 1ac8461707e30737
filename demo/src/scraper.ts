/** Reads the metrics of every proxy in some namespaces, through the API server's port-forward as on any cluster. */
import { type KubeObject, PODS, type ProxyScrape, parseMetricsText, type Sample } from '@tulle/api';
import { type Client, getFromPod } from '@tulle/client';

const ADMIN_PORT = 4191;
const CONTROL_PLANE_ADMIN_PORT = 9990;
const CONTROL_PLANE_LABEL = 'linkerd.io/control-plane-component';

export interface Scrapes {
  /** Milliseconds of a monotonic clock. */
  atMs: number;
  proxies: ProxyScrape[];
}

export interface Memory {
  controlPlane: number;
  proxies: { pod: string; rss: number }[];
}

export class Scraper {
  readonly #client: Client;
  readonly #namespaces: string[];

  constructor(client: Client, namespaces: string[]) {
    this.#client = client;
    this.#namespaces = namespaces;
  }

  /** All meshed pods that answer now; one that does not is not there yet, or not there any more. */
  async scrape(): Promise<Scrapes> {
    const atMs = performance.now();
    const pods = (await this.#pods()).filter(isMeshed);
    const proxies = await Promise.all(
      pods.map(async (pod) => {
        try {
          return toScrape(pod, await this.#metrics(pod, ADMIN_PORT));
        } catch {
          return undefined;
        }
      }),
    );
    return { atMs, proxies: proxies.filter((proxy) => proxy !== undefined) };
  }

  /** Resident bytes, as the processes themselves say. */
  async memory(): Promise<Memory> {
    const memory: Memory = { controlPlane: 0, proxies: [] };
    for (const pod of await this.#pods()) {
      const { name = '', labels = {} } = pod.metadata;
      if (labels[CONTROL_PLANE_LABEL]) {
        memory.controlPlane += residentBytes(await this.#metrics(pod, CONTROL_PLANE_ADMIN_PORT));
      }
      if (isMeshed(pod)) memory.proxies.push({ pod: name, rss: residentBytes(await this.#metrics(pod, ADMIN_PORT)) });
    }
    return memory;
  }

  async #pods(): Promise<KubeObject[]> {
    const lists = await Promise.all(
      this.#namespaces.map((namespace) => this.#client.list<KubeObject>(PODS, { namespace })),
    );
    return lists.flatMap((list) => list.items).filter((pod) => pod.status?.phase === 'Running');
  }

  async #metrics(pod: KubeObject, port: number): Promise<Sample[]> {
    const { namespace = '', name = '' } = pod.metadata;
    return parseMetricsText(await getFromPod(this.#client, { namespace, pod: name, port, path: '/metrics' }));
  }
}

function isMeshed(pod: KubeObject): boolean {
  const { initContainers = [], containers = [] } = pod.spec;
  return [...initContainers, ...containers].some((container: { name: string }) => container.name === 'linkerd-proxy');
}

function residentBytes(samples: Sample[]): number {
  return samples.find((sample) => sample.name === 'process_resident_memory_bytes')?.value ?? 0;
}

function toScrape(pod: KubeObject, samples: Sample[]): ProxyScrape {
  const { namespace = '', name = '', labels = {} } = pod.metadata;
  const deployment = labels['linkerd.io/proxy-deployment'];
  return {
    namespace,
    pod: name,
    workload: deployment ? { kind: 'deployment', name: deployment } : { kind: 'pod', name },
    identity: `${pod.spec.serviceAccountName}.${namespace}.serviceaccount.identity.linkerd.cluster.local`,
    samples,
  };
}
