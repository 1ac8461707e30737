/**
 * Writes the EndpointSlices of Services for the workloads outside the cluster that their selectors mean. Of all
 * replicas only the holder of Lease `linkerd-destination-endpoint-write` writes.
 */
import {
  ENDPOINT_SLICES,
  type EndpointSlice,
  EXTERNAL_WORKLOADS,
  type KubeObject,
  MeshError,
  objectKey,
  SERVICES,
  type Service,
} from '@tulle/api';
import { type ExternalWorkload, parseExternalWorkload } from '@tulle/api/external-workload.ts';
import { type Client, runLease, sleep } from '@tulle/client';
import type { Logger } from '../logger.ts';
import type { ClusterState } from '../workloads/cluster-state.ts';
import { SERVICE_NAME_LABEL } from '../workloads/mesh-names.ts';
import { MultiMap } from '../workloads/multi-map.ts';
import { Waker } from '../workloads/subscriptions.ts';
import { MANAGED_BY_LABEL, MANAGER, planSlices, type SlicePlan } from './slice-plan.ts';

const LEASE_NAME = 'linkerd-destination-endpoint-write';
const LEASE = { durationS: 30, renewS: 10, retryS: 2 };
/** Before a Service whose slices could not be written is tried again. */
const RETRY_MS = 2_000;

type Change = 'set' | 'delete';

/** What slices Services should have; says with each event which Services may want others. Pure. */
export class ExternalSliceIndex {
  readonly #services = new Map<string, Service>();
  readonly #servicesByNamespace = new MultiMap<string, string>();
  readonly #workloads = new Map<string, ExternalWorkload>();
  readonly #workloadsByNamespace = new MultiMap<string, string>();
  readonly #slices = new Map<string, EndpointSlice>();
  readonly #slicesByService = new MultiMap<string, string>();

  applyService(type: Change, service: Service): string[] {
    const key = objectKey(service);
    const namespace = service.metadata.namespace ?? '';
    // One that is a name elsewhere has no endpoints of its own.
    const isName = service.spec?.type === 'ExternalName';
    if (type === 'set' && !isName && Object.keys(service.spec?.selector ?? {}).length > 0) {
      this.#services.set(key, service);
      this.#servicesByNamespace.add(namespace, key);
    } else {
      this.#services.delete(key);
      this.#servicesByNamespace.delete(namespace, key);
    }
    return [key];
  }

  /** @throws MeshError when the workload cannot be read. */
  applyWorkload(type: Change, object: KubeObject): string[] {
    const key = objectKey(object);
    const namespace = object.metadata.namespace ?? '';
    const next = type === 'set' ? parseExternalWorkload(object) : undefined;
    const touched = [this.#workloads.get(key), next].flatMap((each) => (each ? this.#servicesOf(each) : []));
    if (next) {
      this.#workloads.set(key, next);
      this.#workloadsByNamespace.add(namespace, key);
    } else {
      this.#workloads.delete(key);
      this.#workloadsByNamespace.delete(namespace, key);
    }
    return [...new Set(touched)];
  }

  applySlice(type: Change, slice: EndpointSlice): string[] {
    const key = objectKey(slice);
    const old = this.#slices.get(key);
    const isOurs = type === 'set' && slice.metadata.labels?.[MANAGED_BY_LABEL] === MANAGER;
    if (old) this.#slicesByService.delete(serviceOf(old), key);
    if (isOurs) {
      this.#slices.set(key, slice);
      this.#slicesByService.add(serviceOf(slice), key);
    } else this.#slices.delete(key);
    return [...(old ? [serviceOf(old)] : []), ...(isOurs ? [serviceOf(slice)] : [])];
  }

  /** The writes that a Service's slices need. */
  plan(serviceKey: string): SlicePlan {
    const service = this.#services.get(serviceKey);
    const slices = [...this.#slicesByService.get(serviceKey)].sort().map((key) => this.#slices.get(key)!);
    const namespace = service?.metadata.namespace ?? '';
    const workloads = [...this.#workloadsByNamespace.get(namespace)]
      .map((key) => this.#workloads.get(key)!)
      .filter((workload) => service && selects(service, workload));
    return planSlices(service?.metadata.deletionTimestamp ? undefined : service, workloads, slices);
  }

  /** Services that have or may want slices. */
  all(): string[] {
    const wanting = [...this.#workloads.values()].flatMap((workload) => this.#servicesOf(workload));
    return [...new Set([...wanting, ...[...this.#slices.values()].map(serviceOf)])];
  }

  sizes(): Record<string, number> {
    return {
      services: this.#services.size,
      servicesByNamespace: this.#servicesByNamespace.size,
      workloads: this.#workloads.size,
      workloadsByNamespace: this.#workloadsByNamespace.size,
      slices: this.#slices.size,
      slicesByService: this.#slicesByService.size,
    };
  }

  #servicesOf(workload: ExternalWorkload): string[] {
    const keys = [...this.#servicesByNamespace.get(workload.ref.namespace)];
    return keys.filter((key) => selects(this.#services.get(key)!, workload));
  }
}

function selects({ spec }: Service, { labels }: ExternalWorkload): boolean {
  return Object.entries(spec?.selector ?? {}).every(([name, value]) => labels[name] === value);
}

function serviceOf({ metadata }: EndpointSlice): string {
  return `${metadata.namespace ?? ''}/${metadata.labels?.[SERVICE_NAME_LABEL] ?? ''}`;
}

export interface ExternalWorkloadsOptions {
  client: Client;
  state: ClusterState;
  controllerNamespace: string;
  /** Unique for each process. */
  holder: string;
  logger: Logger;
}

/** Registers its watches with `state`, which must not have started; the result writes until the signal is aborted. */
export function createExternalWorkloads(
  options: ExternalWorkloadsOptions,
): (synced: Promise<void>, signal: AbortSignal) => Promise<void> {
  const { state } = options;
  const index = new ExternalSliceIndex();
  const stale = new Set<string>();
  const waker = new Waker();
  const mark = (keys: Iterable<string>) => {
    for (const key of keys) stale.add(key);
    if (stale.size > 0) waker.wake();
    return [];
  };
  state.watch(SERVICES, (type, object) => mark(index.applyService(type, object as Service)));
  state.watch(ENDPOINT_SLICES, (type, object) => mark(index.applySlice(type, object as EndpointSlice)));
  state.watch(EXTERNAL_WORKLOADS, (type, object) => mark(index.applyWorkload(type, object)), { isOptional: true });

  return async (synced, signal) => {
    await synced;
    const lease = { namespace: options.controllerNamespace, name: LEASE_NAME, holder: options.holder, ...LEASE };
    let isLeader = false;
    const leading = runLease(options.client, lease, signal, (leads) => {
      isLeader = leads;
      mark(leads ? index.all() : []);
    });
    while (!signal.aborted) {
      await waker.wait(signal);
      const keys = [...stale];
      stale.clear();
      const failed: string[] = [];
      for (const key of keys) {
        if (!isLeader || signal.aborted) break;
        if (!(await write(options, index, key))) failed.push(key);
      }
      // Others go on meanwhile.
      if (failed.length > 0) void sleep(RETRY_MS, signal).then(() => mark(failed));
    }
    await leading;
  };
}

/**
 * Whether all of it is written. What the server answers is applied at once: a plan made before the watch tells of it
 * would write it again.
 */
async function write(
  { client, logger }: ExternalWorkloadsOptions,
  index: ExternalSliceIndex,
  service: string,
): Promise<boolean> {
  const plan = index.plan(service);
  try {
    for (const slice of plan.create) {
      const { name: _, ...metadata } = slice.metadata;
      index.applySlice('set', await client.create<EndpointSlice>(ENDPOINT_SLICES, { ...slice, metadata }));
    }
    for (const slice of plan.update) {
      const { apiVersion, kind } = ENDPOINT_SLICES;
      index.applySlice('set', await client.update<EndpointSlice>(ENDPOINT_SLICES, { ...slice, apiVersion, kind }));
    }
    for (const slice of plan.delete) {
      const { name, namespace } = slice.metadata;
      await client.delete(ENDPOINT_SLICES, name, namespace).catch((cause) => {
        if (MeshError.from(cause).code !== 'NOT_FOUND') throw cause;
      });
      index.applySlice('delete', slice);
    }
    return true;
  } catch (cause) {
    // A slice that has changed meanwhile comes by its watch, and with it the next plan.
    logger.warn({ service, error: MeshError.from(cause).message }, 'endpoint slices not written');
    return false;
  }
}
