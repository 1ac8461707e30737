/**
 * The endpoints of each Service port that somebody watches, worked out once for all of its watchers. An endpoint that
 * did not change stays the same object, so that watchers find differences by comparing references.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Endpoint, MeshSettings } from '../workloads/endpoint.ts';
import { type ServiceEndpoints, serviceEndpoints } from '../workloads/service-endpoints.ts';
import type { Topic, WorkloadIndex } from '../workloads/workload-index.ts';

export interface EndpointTarget {
  serviceKey: string;
  port: number;
  hostname?: string;
}

interface Entry {
  target: EndpointTarget;
  watchers: number;
  isStale: boolean;
  set: ServiceEndpoints;
}

export class EndpointSets {
  readonly #index: WorkloadIndex;
  readonly #mesh: MeshSettings;
  readonly #entries = new Map<string, Entry>();
  readonly #keysByService = new Map<string, Set<string>>();

  constructor(index: WorkloadIndex, mesh: MeshSettings) {
    this.#index = index;
    this.#mesh = mesh;
  }

  /** Keeps the set of a target until disposed. */
  watch(target: EndpointTarget): Disposable & { current(): ServiceEndpoints } {
    const key = `${target.serviceKey}:${target.port}/${target.hostname ?? ''}`;
    let entry = this.#entries.get(key);
    if (!entry) {
      entry = { target, watchers: 0, isStale: false, set: serviceEndpoints(this.#index, this.#mesh, target) };
      this.#entries.set(key, entry);
      const keys = this.#keysByService.get(target.serviceKey);
      if (keys) keys.add(key);
      else this.#keysByService.set(target.serviceKey, new Set([key]));
    }
    entry.watchers++;
    const watched = entry;
    return {
      current: () => this.#refresh(watched),
      [Symbol.dispose]: () => {
        if (--watched.watchers > 0) return;
        this.#entries.delete(key);
        const keys = this.#keysByService.get(target.serviceKey);
        keys?.delete(key);
        if (keys?.size === 0) this.#keysByService.delete(target.serviceKey);
      },
    };
  }

  /** Must hear of every change before the watchers do. */
  invalidate(topics: Iterable<Topic>): void {
    for (const topic of topics) {
      if (!topic.startsWith('service/')) continue;
      for (const key of this.#keysByService.get(topic.slice('service/'.length)) ?? []) {
        this.#entries.get(key)!.isStale = true;
      }
    }
  }

  get size(): number {
    return this.#entries.size;
  }

  #refresh(entry: Entry): ServiceEndpoints {
    if (!entry.isStale) return entry.set;
    const next = serviceEndpoints(this.#index, this.#mesh, entry.target);
    const endpoints = new Map<string, Endpoint>();
    for (const [id, endpoint] of next.endpoints) {
      const known = entry.set.endpoints.get(id);
      endpoints.set(id, known && isDeepStrictEqual(known, endpoint) ? known : endpoint);
    }
    entry.set = { ...next, endpoints };
    entry.isStale = false;
    return entry.set;
  }
}
