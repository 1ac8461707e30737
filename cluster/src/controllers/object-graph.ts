/**
 * The metadata of every object that the server holds: who owns what, and what is in a namespace. Kinds come and go with
 * CustomResourceDefinitions. Events are left out: they own nothing and nobody waits for them.
 */

import { CUSTOM_RESOURCE_DEFINITIONS, type Kind, type KubeObject, MeshError, type ObjectMeta } from '@tulle/api';
import { type ServedKind, sleep, startReflector } from '@tulle/client';
import { controllers as log } from '../logger.ts';
import type { ControllerContext } from './controller-context.ts';

export interface GraphNode {
  kind: Kind;
  metadata: ObjectMeta;
}

export interface GraphChange {
  node: GraphNode;
  old?: GraphNode;
  isDeleted: boolean;
}

/** CRDs often come several at once, and a new kind is served a moment after its CRD. */
const DISCOVERY_DELAY_MS = 100;
const DISCOVERY_RETRY_MS = 2_000;

export class ObjectGraph {
  private readonly context: ControllerContext;
  private readonly nodes = new Map<string, GraphNode>();
  private readonly dependents = new Map<string, Set<string>>();
  private readonly namespaces = new Map<string, Set<string>>();
  private readonly watched = new Map<string, { stop: AbortController; synced: Promise<void>; uids: Set<string> }>();
  private readonly listeners = new Set<(change: GraphChange) => void>();
  private readonly firstDiscovery = Promise.withResolvers<void>();
  private isDiscovering = false;

  constructor(context: ControllerContext) {
    this.context = context;
    const { signal } = context;
    this.firstDiscovery.promise.catch(() => {});
    signal.addEventListener('abort', () => this.firstDiscovery.reject(new MeshError('CANCELLED', 'stopped')));
    const definitions = context.collection<KubeObject>(CUSTOM_RESOURCE_DEFINITIONS);
    definitions.subscribe(() => void this.discover());
    void this.discover();
  }

  /** Resolves when all kinds known by now have been listed. */
  async synced(): Promise<void> {
    await this.firstDiscovery.promise;
    await Promise.all([...this.watched.values()].map(({ synced }) => synced));
  }

  get(uid: string): GraphNode | undefined {
    return this.nodes.get(uid);
  }

  dependentsOf(uid: string): GraphNode[] {
    return this.pick(this.dependents.get(uid));
  }

  inNamespace(namespace: string): GraphNode[] {
    return this.pick(this.namespaces.get(namespace));
  }

  subscribe(listener: (change: GraphChange) => void): void {
    for (const node of this.nodes.values()) listener({ node, isDeleted: false });
    this.listeners.add(listener);
  }

  private async discover(): Promise<void> {
    if (this.isDiscovering) return;
    this.isDiscovering = true;
    const { client, signal } = this.context;
    await sleep(DISCOVERY_DELAY_MS, signal);
    this.isDiscovering = false;
    if (signal.aborted) return;
    try {
      this.watchOnly((await client.kinds()).filter(isCollected));
      this.firstDiscovery.resolve();
    } catch (error) {
      log.debug({ error: MeshError.from(error).message }, 'discovery failed, will be tried again');
      await sleep(DISCOVERY_RETRY_MS, signal);
      void this.discover();
    }
  }

  private watchOnly(kinds: ServedKind[]): void {
    const wanted = new Map(kinds.map((kind) => [`${kind.apiVersion}/${kind.plural}`, kind]));
    for (const [name, { stop, uids }] of this.watched) {
      if (wanted.has(name)) continue;
      stop.abort();
      this.watched.delete(name);
      for (const uid of uids) this.remove(uid);
    }
    for (const [name, kind] of wanted) if (!this.watched.has(name)) this.watch(name, kind);
  }

  private watch(name: string, kind: Kind): void {
    const stop = new AbortController();
    const { client, signal } = this.context;
    const uids = new Set<string>();
    const options = { metadataOnly: true };
    const reflector = startReflector<KubeObject>(client, kind, options, AbortSignal.any([stop.signal, signal]));
    reflector.subscribe(({ type, object }) => {
      const { uid = '' } = object.metadata;
      if (type === 'deleted') {
        uids.delete(uid);
        this.remove(uid);
      } else {
        uids.add(uid);
        this.put(uid, { kind, metadata: object.metadata });
      }
    });
    this.watched.set(name, { stop, synced: reflector.synced, uids });
  }

  private put(uid: string, node: GraphNode): void {
    const old = this.nodes.get(uid);
    if (old) this.unlink(uid, old);
    this.nodes.set(uid, node);
    for (const owner of node.metadata.ownerReferences ?? []) add(this.dependents, owner.uid, uid);
    if (node.metadata.namespace) add(this.namespaces, node.metadata.namespace, uid);
    this.tell({ node, ...(old ? { old } : {}), isDeleted: false });
  }

  private remove(uid: string): void {
    const node = this.nodes.get(uid);
    if (!node) return;
    this.unlink(uid, node);
    this.nodes.delete(uid);
    this.tell({ node, old: node, isDeleted: true });
  }

  private unlink(uid: string, { metadata }: GraphNode): void {
    for (const owner of metadata.ownerReferences ?? []) drop(this.dependents, owner.uid, uid);
    if (metadata.namespace) drop(this.namespaces, metadata.namespace, uid);
  }

  private tell(change: GraphChange): void {
    for (const listener of this.listeners) listener(change);
  }

  private pick(uids: Set<string> | undefined): GraphNode[] {
    return uids ? [...uids].map((uid) => this.nodes.get(uid) as GraphNode) : [];
  }
}

function isCollected(kind: ServedKind): boolean {
  return kind.kind !== 'Event' && ['list', 'watch', 'delete'].every((verb) => kind.verbs.includes(verb));
}

function add(index: Map<string, Set<string>>, at: string, uid: string): void {
  const uids = index.get(at);
  if (uids) uids.add(uid);
  else index.set(at, new Set([uid]));
}

function drop(index: Map<string, Set<string>>, at: string, uid: string): void {
  const uids = index.get(at);
  uids?.delete(uid);
  if (uids?.size === 0) index.delete(at);
}
