/**
 * Which Servers select which workloads. Kept up to date from both sides, so that a change of a Server finds its
 * workloads, and a port of a workload its Servers, without looking at all of them.
 */
import { type Labels, selectorMatches } from '@tulle/api/label-selector.ts';
import { byAge } from '@tulle/api/object-ref.ts';
import type { NamedPorts } from '../../workloads/endpoint.ts';
import { MultiMap } from '../../workloads/multi-map.ts';
import type { StoredServer } from './stand-ins.ts';
import { type WorkloadKey, type WorkloadRef, workloadKey } from './workload.ts';

interface KnownWorkload {
  ref: WorkloadRef;
  labels: Labels;
}

export class ServerSet {
  /** By `namespace/name`. */
  readonly #servers = new Map<string, StoredServer>();
  #opaqueServers = 0;
  readonly #serversByNamespace = new MultiMap<string, string>();
  readonly #workloads = new Map<WorkloadKey, KnownWorkload>();
  readonly #workloadsByNamespace = new MultiMap<string, WorkloadKey>();
  readonly #serversByWorkload = new MultiMap<WorkloadKey, string>();
  readonly #workloadsByServer = new MultiMap<string, WorkloadKey>();

  /** Replaces a Server, or removes it. Returns the workloads that it selected or now selects. */
  replace(key: string, server: StoredServer | undefined): Set<WorkloadKey> {
    const touched = new Set(this.#workloadsByServer.get(key));
    const old = this.#servers.get(key);
    if (old) {
      for (const workload of touched) this.#unlink(workload, key);
      this.#serversByNamespace.delete(old.ref.namespace, key);
      this.#servers.delete(key);
      if (old.protocol === 'opaque') this.#opaqueServers--;
    }
    if (!server) return touched;
    this.#servers.set(key, server);
    if (server.protocol === 'opaque') this.#opaqueServers++;
    this.#serversByNamespace.add(server.ref.namespace, key);
    for (const workload of this.#workloadsByNamespace.get(server.ref.namespace)) {
      if (!selects(server, this.#workloads.get(workload)!)) continue;
      this.#link(workload, key);
      touched.add(workload);
    }
    return touched;
  }

  /** Tells of a workload's labels; undefined: it is gone. */
  replaceWorkload(ref: WorkloadRef, labels: Labels | undefined): void {
    const key = workloadKey(ref);
    const old = this.#workloads.get(key);
    if (old && labels && isSameLabels(old.labels, labels)) return;
    if (old) {
      for (const server of [...this.#serversByWorkload.get(key)]) this.#unlink(key, server);
      this.#workloadsByNamespace.delete(ref.namespace, key);
      this.#workloads.delete(key);
    }
    if (!labels) return;
    const workload = { ref, labels };
    this.#workloads.set(key, workload);
    this.#workloadsByNamespace.add(ref.namespace, key);
    for (const server of this.#serversByNamespace.get(ref.namespace)) {
      if (selects(this.#servers.get(server)!, workload)) this.#link(key, server);
    }
  }

  /** Whether there is any Server that makes a port opaque. */
  get hasOpaque(): boolean {
    return this.#opaqueServers > 0;
  }

  get(key: string): StoredServer | undefined {
    return this.#servers.get(key);
  }

  inNamespace(namespace: string): ReadonlySet<string> {
    return this.#serversByNamespace.get(namespace);
  }

  workloadsOf(key: string): ReadonlySet<WorkloadKey> {
    return this.#workloadsByServer.get(key);
  }

  /** The Servers of a port of a workload, the one that decides first: the oldest, then by name. */
  onPort(ref: WorkloadRef, ports: NamedPorts, port: number): StoredServer[] {
    const servers = [...this.#serversByWorkload.get(workloadKey(ref))].map((key) => this.#servers.get(key)!);
    return servers.filter((server) => selectsPort(server, ports, port)).sort((a, b) => byAge(a.ref, b.ref));
  }

  sizes(): Record<string, number> {
    return {
      servers: this.#servers.size,
      serversByNamespace: this.#serversByNamespace.size,
      serverWorkloads: this.#workloads.size,
      serverWorkloadsByNamespace: this.#workloadsByNamespace.size,
      serversByWorkload: this.#serversByWorkload.size,
      workloadsByServer: this.#workloadsByServer.size,
    };
  }

  #link(workload: WorkloadKey, server: string): void {
    this.#serversByWorkload.add(workload, server);
    this.#workloadsByServer.add(server, workload);
  }

  #unlink(workload: WorkloadKey, server: string): void {
    this.#serversByWorkload.delete(workload, server);
    this.#workloadsByServer.delete(server, workload);
  }
}

function selects({ workloads }: StoredServer, { ref, labels }: KnownWorkload): boolean {
  return workloads.kinds.includes(ref.kind) && selectorMatches(workloads.selector, labels);
}

function selectsPort(server: StoredServer, ports: NamedPorts, port: number): boolean {
  if (server.port === 'every') return true;
  if ('number' in server.port) return server.port.number === port;
  const { name } = server.port;
  return ports.some((each) => each.name === name && each.port === port);
}

function isSameLabels(a: Labels, b: Labels): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}
