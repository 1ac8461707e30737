/**
 * The one way by which objects are written: defaults, admission, ownership of fields, validation, then the store. A write
 * that names no version is tried again when another one comes between.
 */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { MeshError } from '@tulle/api';
import type { AdmissionAttributes } from '../admission/admission.ts';
import { fieldsAfterUpdate, type Writer } from '../fields/managed-fields.ts';
import { apiVersionOf, type Resource } from '../resources/resource.ts';
import { validateMetadata } from '../resources/validate-metadata.ts';
import { Entry, type Fields, type StoredObject } from '../store/stored-object.ts';
import type { ApiRequest } from './context.ts';
import { objectKey } from './read.ts';
import { alreadyExists, conflict, invalid, invalidValue, notFound, plainFailure, staleVersion } from './status.ts';

/** Tries of a write whose object keeps changing under it; more means that two writers fight. */
const TRIES_MAX = 8;
/** Characters that generated names end with; no vowels, so no words. */
const SUFFIX_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const SUFFIX_LENGTH = 5;
const GENERATED_NAME_LENGTH_MAX = 63 - SUFFIX_LENGTH;

export function rfc3339(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

export function writerOf(request: ApiRequest, subresource = request.info.subresource): Writer {
  return {
    manager: request.fieldManager,
    apiVersion: apiVersionOf(request.resource),
    subresource,
    time: rfc3339(request.context.now()),
  };
}

function attributesOf(
  request: ApiRequest,
  operation: AdmissionAttributes['operation'],
  object: Fields | undefined,
  oldObject: StoredObject | undefined,
  options: Fields,
): AdmissionAttributes {
  const { info, resource, user, isDryRun, warnings } = request;
  return {
    operation,
    resource,
    subresource: info.subresource,
    namespace: resource.storage === 'namespaces' ? (info.name ?? object?.metadata?.name) : info.namespace,
    name: info.name ?? object?.metadata?.name ?? '',
    object,
    oldObject,
    options,
    user,
    isDryRun,
    warnings,
  };
}

/** Creates `object` (the caller's copy, in the version of the request); its managedFields are set by `own` or as an update. */
export async function createObject(
  request: ApiRequest,
  object: Fields,
  own?: StoredObject['metadata']['managedFields'],
): Promise<Entry> {
  const { context, resource } = request;
  const { metadata } = object;
  if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== '') {
    throw plainFailure('resourceVersion should not be set on objects to be created');
  }
  delete metadata.resourceVersion;
  delete metadata.selfLink;
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  delete metadata.generation;
  delete metadata.uid;
  metadata.creationTimestamp = rfc3339(context.now());
  if (resource.hasStatus) delete object.status;
  const isGenerated = !metadata.name && typeof metadata.generateName === 'string' && metadata.generateName !== '';
  const name = metadata.name || undefined;

  resource.applyDefaults(object);
  const options = {
    kind: 'CreateOptions',
    apiVersion: 'meta.k8s.io/v1',
    ...(request.isDryRun ? { dryRun: ['All'] } : {}),
  };
  // Owned is what was sent and its defaults; what admission adds belongs to nobody.
  const managedFields = own ?? fieldsAfterUpdate(undefined, object, resource.schema, writerOf(request));
  const attributes = attributesOf(request, 'CREATE', object, undefined, options);
  let final = await context.admission.mutate(attributes);
  final.metadata.uid = randomUUID();
  if (name !== undefined && final.metadata.name !== name) final.metadata.name = name;
  if (isGenerated) final.metadata.name = generateName(final.metadata.generateName);
  final = { ...final, metadata: { ...final.metadata } };
  resource.applyDefaults(final);
  resource.prepareCreate(final);
  if (resource.hasGeneration) final.metadata.generation = 1;
  setManagedFields(final, managedFields);
  const problems = [...validateMetadata(final, resource), ...resource.validate(final)];
  if (problems.length > 0) throw invalid(resource, final.metadata.name ?? '', problems);
  request.warnings.push(...(resource.warnings?.(final) ?? []));
  await context.admission.validate({ ...attributes, name: final.metadata.name, object: final });

  const stored = resource.toStored(final) as StoredObject;
  for (let attempt = 1; ; attempt++) {
    const present = context.store.get(resource.storage, Entry.keyOf(stored.metadata));
    if (present === undefined) break;
    if (!isGenerated || attempt === TRIES_MAX) throw alreadyExists(resource, stored.metadata.name);
    stored.metadata.name = generateName(stored.metadata.generateName!);
  }
  if (request.isDryRun) return new Entry(stored);
  return context.store.put(resource.storage, stored, undefined);
}

function setManagedFields(object: Fields, managedFields: StoredObject['metadata']['managedFields']): void {
  if (managedFields === undefined || managedFields.length === 0) delete object.metadata.managedFields;
  else object.metadata.managedFields = managedFields;
}

export function generateName(prefix: string): string {
  let suffix = '';
  for (let i = 0; i < SUFFIX_LENGTH; i++) suffix += SUFFIX_ALPHABET[Math.floor(Math.random() * SUFFIX_ALPHABET.length)];
  return prefix.slice(0, GENERATED_NAME_LENGTH_MAX) + suffix;
}

export interface Update {
  object: Fields;
  /** Set by an apply; otherwise ownership follows from what changed. */
  managedFields?: StoredObject['metadata']['managedFields'];
}

/**
 * Replaces the object of the request by what `change` makes of it (in the version of the request). `change` may run more
 * than once. Returns the entry as it is afterwards, which is the old one when nothing changed.
 */
export async function updateObject(request: ApiRequest, change: (old: StoredObject) => Update): Promise<Entry> {
  const { context, resource, info } = request;
  for (let attempt = 1; ; attempt++) {
    const old = context.store.get(resource.storage, objectKey(info.namespace, info.name!));
    if (old === undefined) throw notFound(resource, info.name!);
    const before = resource.fromStored(old.object) as StoredObject;
    const update = change(before);
    const wanted = update.object.metadata?.resourceVersion;
    const isConditional = wanted !== undefined && wanted !== '';
    if (isConditional && wanted !== before.metadata.resourceVersion) throw staleVersion(resource, info.name!);
    try {
      return await tryUpdate(request, old, before, update);
    } catch (error) {
      const isRace = error instanceof MeshError && error.code === 'ABORTED' && error.status === undefined;
      if (!isRace) throw error;
      if (isConditional || attempt === TRIES_MAX) throw staleVersion(resource, info.name!);
    }
  }
}

async function tryUpdate(request: ApiRequest, old: Entry, before: StoredObject, update: Update): Promise<Entry> {
  const { context, resource, info } = request;
  const object: Fields = { ...update.object, metadata: { ...update.object.metadata } };
  const { metadata } = object;
  if (metadata.uid !== undefined && metadata.uid !== '' && metadata.uid !== before.metadata.uid) {
    throw conflict(
      resource,
      info.name!,
      `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${before.metadata.uid}`,
    );
  }
  keepServerFields(object, before, resource, info.subresource);
  resource.applyDefaults(object);
  const managedFields = update.managedFields ?? fieldsAfterUpdate(before, object, resource.schema, writerOf(request));
  const options = {
    kind: 'UpdateOptions',
    apiVersion: 'meta.k8s.io/v1',
    ...(request.isDryRun ? { dryRun: ['All'] } : {}),
  };
  const attributes = attributesOf(request, 'UPDATE', object, before, options);
  const admitted = await context.admission.mutate(attributes);
  const final: Fields = { ...admitted, metadata: { ...admitted.metadata } };
  keepServerFields(final, before, resource, info.subresource);
  resource.applyDefaults(final);
  resource.prepareUpdate(final, before);
  if (resource.hasGeneration && hasSpecChanged(final, before))
    final.metadata.generation = (before.metadata.generation ?? 0) + 1;
  setManagedFields(final, managedFields);
  const problems = [
    ...validateMetadata(final, resource, before),
    ...resource.validate(final),
    ...resource.validateUpdate(final, before),
  ];
  if (problems.length > 0) throw invalid(resource, info.name!, problems);
  request.warnings.push(...(resource.warnings?.(final) ?? []));
  await context.admission.validate({ ...attributes, object: final, oldObject: before });

  const stored = resource.toStored(final) as StoredObject;
  stored.metadata.resourceVersion = old.object.metadata.resourceVersion;
  if (isSame(stored, old.object)) return old;
  if (request.isDryRun) return new Entry(stored);
  return storeOrRemove(request, stored, old);
}

/** An object that was only waiting for its last finalizer goes with this write. */
function storeOrRemove({ context, resource }: ApiRequest, stored: StoredObject, old: Entry): Entry {
  const { deletionTimestamp, finalizers, deletionGracePeriodSeconds } = stored.metadata;
  const isDone =
    deletionTimestamp !== undefined &&
    (finalizers?.length ?? 0) === 0 &&
    (deletionGracePeriodSeconds ?? 0) === 0 &&
    (stored.spec?.finalizers === undefined || resource.storage !== 'namespaces' || stored.spec.finalizers.length === 0);
  if (isDone) return context.store.delete(resource.storage, old, stored);
  return context.store.put(resource.storage, stored, old);
}

/** Fields that only the server writes stay; a main write leaves status alone and a status write everything else. */
function keepServerFields(object: Fields, before: StoredObject, resource: Resource, subresource: string): void {
  if (subresource === 'status') {
    const { status } = object;
    const { managedFields } = object.metadata;
    for (const field of Object.keys(object)) if (field !== 'status') delete object[field];
    Object.assign(object, { ...before, metadata: { ...before.metadata }, status });
    if (status === undefined) delete object.status;
    if (managedFields !== undefined) object.metadata.managedFields = managedFields;
  } else if (resource.hasStatus && subresource !== 'finalize' && subresource !== 'binding') {
    if (before.status === undefined) delete object.status;
    else object.status = before.status;
  }
  const { metadata } = object;
  metadata.name = before.metadata.name;
  if (before.metadata.namespace !== undefined) metadata.namespace = before.metadata.namespace;
  for (const field of [
    'uid',
    'creationTimestamp',
    'generation',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'generateName',
    'resourceVersion',
  ] as const) {
    if (before.metadata[field] === undefined) delete metadata[field];
    else metadata[field] = before.metadata[field];
  }
  delete metadata.selfLink;
}

function hasSpecChanged(object: Fields, before: StoredObject): boolean {
  const fields = new Set([...Object.keys(object), ...Object.keys(before)]);
  for (const field of fields) {
    if (field === 'metadata' || field === 'status' || field === 'apiVersion' || field === 'kind') continue;
    if (!isDeepStrictEqual(object[field], before[field])) return true;
  }
  return false;
}

/** Whether nothing changed but times in managedFields. */
function isSame(a: StoredObject, b: StoredObject): boolean {
  const bare = ({ metadata: { managedFields, ...metadata }, ...rest }: StoredObject) => ({
    ...rest,
    metadata,
    managers: managedFields?.map(({ time: _, ...entry }) => entry),
  });
  return isDeepStrictEqual(bare(a), bare(b));
}

export function requireVersion(request: ApiRequest, object: Fields): void {
  const { resource } = request;
  const needsVersion = resource.isCustom;
  if (needsVersion && !object.metadata.resourceVersion) {
    throw invalid(resource, request.info.name!, [
      invalidValue('metadata.resourceVersion', 0, 'must be specified for an update'),
    ]);
  }
}
