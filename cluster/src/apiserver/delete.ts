/** delete and deletecollection: preconditions, grace, finalizers, propagation. */
import { MeshError } from '@tulle/api';
import type { Resource } from '../resources/resource.ts';
import { builtinType } from '../schema/builtin.ts';
import { decode } from '../schema/decode.ts';
import type { Store } from '../store/store.ts';
import type { Entry, Fields, StoredObject } from '../store/stored-object.ts';
import { readObject } from './body.ts';
import type { ApiRequest } from './context.ts';
import { entryFilter, findEntry } from './read.ts';
import { createEncoder, negotiateForm } from './representation.ts';
import { sendJson, success } from './respond.ts';
import { badRequest, conflict, staleVersion } from './status.ts';
import { rfc3339 } from './write.ts';

export type Propagation = 'Background' | 'Foreground' | 'Orphan';

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagation?: Propagation;
  preconditions?: { uid?: string; resourceVersion?: string };
  isDryRun: boolean;
}

const FOREGROUND = 'foregroundDeletion';
const ORPHAN = 'orphan';

/** Reads options from the body and the query; both have the same names. */
export async function readDeleteOptions(request: ApiRequest): Promise<DeleteOptions> {
  const body = (await readObject(request.incoming)) ?? {};
  if (body.kind !== undefined && body.kind !== 'DeleteOptions')
    throw badRequest(`expected DeleteOptions, got ${body.kind}`);
  const { value, typeError } = decode(builtinType('DeleteOptions'), body);
  if (typeError !== undefined) throw badRequest(`DeleteOptions: ${typeError}`);
  const given = value as Fields;
  const { query } = request.info;
  const grace =
    given.gracePeriodSeconds ?? (query.has('gracePeriodSeconds') ? Number(query.get('gracePeriodSeconds')) : undefined);
  if (grace !== undefined && !Number.isSafeInteger(grace)) throw badRequest('gracePeriodSeconds is not a number');
  const policy = given.propagationPolicy ?? query.get('propagationPolicy') ?? undefined;
  if (policy !== undefined && !['Background', 'Foreground', 'Orphan'].includes(policy)) {
    throw badRequest(`invalid propagationPolicy: ${policy}`);
  }
  const orphans =
    given.orphanDependents ?? (query.has('orphanDependents') ? query.get('orphanDependents') === 'true' : undefined);
  let propagation = policy ?? (orphans === undefined ? undefined : orphans ? 'Orphan' : 'Background');
  if (propagation === undefined && request.resource.storage === 'jobs.batch') {
    // What batch/v1 has done from its beginning, and warns of since.
    propagation = 'Orphan';
    request.warnings.push(
      'child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning',
    );
  }
  const isDryRun = request.isDryRun || (given.dryRun ?? []).includes('All');
  return {
    isDryRun,
    ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
    ...(propagation === undefined ? {} : { propagation }),
    ...(given.preconditions === undefined ? {} : { preconditions: given.preconditions }),
  };
}

export interface Deletion {
  entry: Entry;
  /** False while grace or a finalizer holds the object. */
  isGone: boolean;
}

/** Deletes or begins to delete; the rules of the API, without admission. */
export function deleteEntry(
  store: Store,
  resource: Resource,
  entry: Entry,
  options: DeleteOptions,
  nowMs: number,
): Deletion {
  const { object } = entry;
  const { preconditions } = options;
  if (preconditions?.uid !== undefined && preconditions.uid !== object.metadata.uid) {
    throw conflict(
      resource,
      entry.name,
      `Precondition failed: UID in precondition: ${preconditions.uid}, UID in object meta: ${object.metadata.uid}`,
    );
  }
  if (
    preconditions?.resourceVersion !== undefined &&
    preconditions.resourceVersion !== object.metadata.resourceVersion
  ) {
    throw conflict(
      resource,
      entry.name,
      `Precondition failed: ResourceVersion in precondition: ${preconditions.resourceVersion}, ResourceVersion in object meta: ${object.metadata.resourceVersion}`,
    );
  }
  const finalizers = withPropagation(object.metadata.finalizers ?? [], options.propagation);
  const grace = Math.max(0, resource.gracePeriodSeconds?.(object, options.gracePeriodSeconds) ?? 0);
  const isHeld = grace > 0 || finalizers.length > 0 || isHeldNamespace(resource, object);
  if (!isHeld) {
    if (options.isDryRun) return { entry, isGone: true };
    return { entry: store.delete(resource.storage, entry, object), isGone: true };
  }
  const marked = markDeleted(resource, object, finalizers, grace, nowMs);
  if (marked === undefined || options.isDryRun) return { entry, isGone: false };
  return { entry: store.put(resource.storage, marked, entry), isGone: false };
}

/** The object with its deletion written on it; undefined where nothing changes. */
function markDeleted(
  resource: Resource,
  object: StoredObject,
  finalizers: string[],
  grace: number,
  nowMs: number,
): StoredObject | undefined {
  const { metadata } = object;
  const isAlready = metadata.deletionTimestamp !== undefined;
  const isShorter = isAlready && grace < (metadata.deletionGracePeriodSeconds ?? 0);
  const hasSameFinalizers = finalizers.join() === (metadata.finalizers ?? []).join();
  if (isAlready && !isShorter && hasSameFinalizers) return undefined;
  const marked: StoredObject = { ...object, metadata: { ...metadata } };
  if (finalizers.length > 0) marked.metadata.finalizers = finalizers;
  else delete marked.metadata.finalizers;
  if (!isAlready || isShorter) {
    marked.metadata.deletionTimestamp = rfc3339(nowMs + grace * 1000);
    if (resource.storage !== 'namespaces') marked.metadata.deletionGracePeriodSeconds = grace;
    if (resource.hasGeneration && metadata.generation !== undefined)
      marked.metadata.generation = metadata.generation + 1;
  }
  if (resource.storage === 'namespaces') marked.status = { ...object.status, phase: 'Terminating' };
  return marked;
}

function withPropagation(finalizers: readonly string[], propagation: Propagation | undefined): string[] {
  if (propagation === undefined) return [...finalizers];
  const others = finalizers.filter((finalizer) => finalizer !== FOREGROUND && finalizer !== ORPHAN);
  if (propagation === 'Foreground') return [...others, FOREGROUND];
  if (propagation === 'Orphan') return [...others, ORPHAN];
  return others;
}

function isHeldNamespace(resource: Resource, object: StoredObject): boolean {
  return resource.storage === 'namespaces' && (object.spec?.finalizers?.length ?? 0) > 0;
}

export async function handleDelete(request: ApiRequest): Promise<void> {
  const { context, info, resource } = request;
  const form = negotiateForm(request.incoming);
  const options = await readDeleteOptions(request);
  const deletion = await deleteWithAdmission(request, options, () => findEntry(request));
  if (deletion.isGone && !resource.gracePeriodSeconds) {
    const { name, uid } = deletion.entry.object.metadata;
    const group = resource.group === '' ? {} : { group: resource.group };
    sendJson(request, 200, success({ name, ...group, kind: resource.plural, uid }));
    return;
  }
  const encoder = createEncoder(resource, form, info.query, context.now);
  sendJson(request, deletion.isGone ? 200 : 200, encoder.one(deletion.entry));
}

async function deleteWithAdmission(request: ApiRequest, options: DeleteOptions, find: () => Entry): Promise<Deletion> {
  const { context, resource, user, warnings } = request;
  for (let attempt = 1; ; attempt++) {
    const entry = find();
    await context.admission.validate({
      operation: 'DELETE',
      resource,
      subresource: '',
      namespace: resource.storage === 'namespaces' ? entry.name : entry.namespace,
      name: entry.name,
      object: undefined,
      oldObject: resource.fromStored(entry.object) as StoredObject,
      options: {
        kind: 'DeleteOptions',
        apiVersion: 'meta.k8s.io/v1',
        ...(options.isDryRun ? { dryRun: ['All'] } : {}),
      },
      user,
      isDryRun: options.isDryRun,
      warnings,
    });
    try {
      return deleteEntry(context.store, resource, entry, options, context.now());
    } catch (error) {
      const isRace = error instanceof MeshError && error.code === 'ABORTED' && error.status === undefined;
      if (!isRace) throw error;
      if (attempt === 8) throw staleVersion(resource, entry.name);
    }
  }
}

export async function handleDeleteCollection(request: ApiRequest): Promise<void> {
  const { context, info, resource } = request;
  const filter = entryFilter(request);
  const options = await readDeleteOptions(request);
  const encoder = createEncoder(resource, negotiateForm(request.incoming), info.query, context.now);
  const namespace = resource.namespaced ? info.namespace : undefined;
  const selected = context.store.list(resource.storage, namespace).filter(filter);
  for (const entry of selected) {
    const find = () => context.store.get(resource.storage, entry.key);
    if (find() !== undefined) await deleteWithAdmission(request, options, () => find() ?? entry);
  }
  sendJson(request, 200, encoder.list(selected, { resourceVersion: String(context.store.revision) }));
}
