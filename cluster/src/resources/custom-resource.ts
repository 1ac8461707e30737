/** Serves the kinds of CustomResourceDefinitions: one Resource per served version, while the definition is there. */
import { isDeepStrictEqual } from 'node:util';
import type { ApiContext } from '../apiserver/context.ts';
import { rfc3339 } from '../apiserver/write.ts';
import { objectMeta } from '../schema/builtin.ts';
import { decode } from '../schema/decode.ts';
import { parseJsonPath, readJsonPath } from '../schema/json-path.ts';
import type { Schema } from '../schema/schema.ts';
import { applyStructuralDefaults, readStructural, validateStructural } from '../schema/structural.ts';
import type { Entry, Fields } from '../store/stored-object.ts';
import { age, ageColumn, nameColumn } from './columns.ts';
import { customResourceDefinitions } from './custom-resource-definition.ts';
import { defineResource } from './define.ts';
import type { Column, Resource } from './resource.ts';

const CLEANUP = 'customresourcecleanup.apiextensions.k8s.io';

/** Follows the definitions in the store from now on; present ones are served at once. */
export function serveCustomResources(context: ApiContext): void {
  const { store } = context;
  const served = new Map<string, { generation: number | undefined; resources: Resource[] }>();
  const serve = (entry: Entry) => {
    const { metadata, status } = entry.object;
    if (metadata.deletionTimestamp !== undefined) return void cleanUp(context, entry);
    if (needsStatus(entry)) return void accept(context, entry);
    const known = served.get(entry.name);
    if (known?.generation === metadata.generation || status?.acceptedNames === undefined) return;
    for (const resource of known?.resources ?? []) context.registry.remove(resource);
    const resources = resourcesOf(entry.object);
    for (const resource of resources) context.registry.add(resource);
    // What was shown by an older schema is no longer so.
    if (known !== undefined) for (const instance of store.list(entry.name)) instance.forgetJson();
    served.set(entry.name, { generation: metadata.generation, resources });
  };
  const later = (key: string) =>
    queueMicrotask(() => {
      const entry = store.get(customResourceDefinitions.storage, key);
      if (entry !== undefined) serve(entry);
    });
  for (const entry of store.list(customResourceDefinitions.storage)) {
    serve(entry);
    later(entry.key);
  }
  store.subscribe(customResourceDefinitions.storage, store.revision, ({ type, entry }) => {
    if (type !== 'DELETED') return later(entry.key);
    for (const resource of served.get(entry.name)?.resources ?? []) context.registry.remove(resource);
    served.delete(entry.name);
  });
}

function storedVersion(spec: Fields): string {
  return spec.versions.find((version: Fields) => version.storage === true).name;
}

function needsStatus({ object }: Entry): boolean {
  const established = object.status?.conditions?.some((c: Fields) => c.type === 'Established' && c.status === 'True');
  const names = JSON.stringify(object.status?.acceptedNames) === JSON.stringify(object.spec.names);
  const version = object.status?.storedVersions?.includes(storedVersion(object.spec));
  return !established || !names || !version;
}

/** Names are accepted as asked: kinds that clash would have clashed on their own name already. */
function accept({ store, now }: ApiContext, entry: Entry): void {
  const { object } = entry;
  const time = rfc3339(now());
  const old: Fields[] = object.status?.conditions ?? [];
  const condition = (type: string, reason: string, message: string) =>
    old.find((c) => c.type === type && c.status === 'True') ?? {
      type,
      status: 'True',
      lastTransitionTime: time,
      reason,
      message,
    };
  const status = {
    conditions: [
      condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
      condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted'),
    ],
    acceptedNames: object.spec.names,
    storedVersions: [...new Set([...(object.status?.storedVersions ?? []), storedVersion(object.spec)])],
  };
  const finalizers = [...new Set([...(object.metadata.finalizers ?? []), CLEANUP])];
  store.put(
    customResourceDefinitions.storage,
    { ...object, metadata: { ...object.metadata, finalizers }, status },
    entry,
  );
}

/** Deletes all objects of the kind, then lets the definition go. */
function cleanUp({ store }: ApiContext, entry: Entry): void {
  if (!entry.object.metadata.finalizers?.includes(CLEANUP)) return;
  const { group, names } = entry.object.spec;
  const storage = `${names.plural}.${group}`;
  for (const instance of store.list(storage)) store.delete(storage, instance);
  const metadata = {
    ...entry.object.metadata,
    finalizers: entry.object.metadata.finalizers.filter((f) => f !== CLEANUP),
  };
  const object = { ...entry.object, metadata };
  if (metadata.finalizers.length === 0) store.delete(customResourceDefinitions.storage, entry, object);
  else store.put(customResourceDefinitions.storage, object, entry);
}

function resourcesOf(definition: Fields): Resource[] {
  const { spec } = definition;
  return spec.versions
    .filter((version: Fields) => version.served === true)
    .map((version: Fields) => resourceOf(spec, version));
}

function resourceOf(spec: Fields, version: Fields): Resource {
  const { group, names } = spec;
  const schema = wholeSchema(version.schema.openAPIV3Schema);
  const body: Schema = { ...schema, properties: { ...schema.properties } };
  delete body.properties!.metadata;
  const apiVersion = `${group}/${version.name}`;
  const storage = `${group}/${storedVersion(spec)}`;
  const { status, scale } = version.subresources ?? {};
  return defineResource({
    group,
    version: version.name,
    kind: names.kind,
    listKind: names.listKind,
    plural: names.plural,
    singular: names.singular,
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    namespaced: spec.scope === 'Namespaced',
    storage: `${names.plural}.${group}`,
    schema,
    isCustom: true,
    hasStatus: status !== undefined,
    hasGeneration: true,
    ...(scale === undefined ? {} : { scale: scalePaths(scale) }),
    read: (value) => readCustom(schema, value),
    applyDefaults: (object) => applyStructuralDefaults(body, object),
    validate: (object) => {
      const { metadata: _, ...rest } = object;
      return validateStructural(
        { ...body, required: schema.required?.filter((field) => field !== 'metadata') },
        rest,
        '',
      );
    },
    toStored: (object) => (object.apiVersion === storage ? object : { ...object, apiVersion: storage }),
    fromStored: shownIn(apiVersion, schema, body),
    selectableFields: Object.fromEntries(
      (version.selectableFields ?? []).map(({ jsonPath }: Fields) => [jsonPath.slice(1), pathReader(jsonPath)]),
    ),
    columns: columnsOf(version.additionalPrinterColumns),
    warnings: () =>
      version.deprecated === true ? [version.deprecationWarning ?? `${apiVersion} ${names.kind} is deprecated`] : [],
  });
}

/**
 * A stored object as a version shows it: without fields that its schema has not, with defaults that another version, or the
 * definition when the object was written, did not have. Objects that need neither stay the same.
 */
function shownIn(apiVersion: string, schema: Schema, body: Schema): (stored: Fields) => Fields {
  // Stored objects never change; a watch and a list of many readers show each again and again.
  const shown = new WeakMap<Fields, Fields>();
  return (stored) => {
    const known = shown.get(stored);
    if (known !== undefined) return known;
    const { value, unknownFields } = readCustom(schema, { ...stored, apiVersion });
    applyStructuralDefaults(body, value);
    const { metadata: _, ...rest } = stored;
    const { metadata: __, ...wanted } = value as Fields;
    const isSame = stored.apiVersion === apiVersion && unknownFields.length === 0 && isDeepStrictEqual(rest, wanted);
    const result = isSame ? stored : { ...wanted, metadata: stored.metadata };
    shown.set(stored, result);
    return result;
  };
}

/** Metadata is read by its own type, the rest by the structural schema. */
function readCustom(schema: Schema, value: Fields) {
  const { metadata, ...rest } = value;
  const body: Schema = { ...schema, properties: { ...schema.properties } };
  delete body.properties!.metadata;
  const read = readStructural(body, rest);
  const readMetadata = decode(objectMeta, metadata ?? {});
  return {
    value: { ...(read.value as Fields), metadata: readMetadata.value },
    unknownFields: [...read.unknownFields, ...readMetadata.unknownFields.map((field) => `metadata.${field}`)],
    typeError: readMetadata.typeError,
  };
}

function wholeSchema(given: Schema): Schema {
  return {
    ...given,
    type: 'object',
    properties: { ...given.properties, apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: objectMeta },
  };
}

function scalePaths(scale: Fields): NonNullable<Resource['scale']> {
  const split = (path: string | undefined) => (path ?? '').split('.').filter((field) => field !== '');
  return {
    specReplicas: split(scale.specReplicasPath),
    statusReplicas: split(scale.statusReplicasPath),
    selector: scale.labelSelectorPath === undefined ? ['\0none'] : split(scale.labelSelectorPath),
  };
}

function pathReader(jsonPath: string): (object: Fields) => string {
  const steps = parseJsonPath(jsonPath) ?? [];
  return (object) => {
    const value = readJsonPath(object, steps)[0];
    return value === undefined ? '' : String(value);
  };
}

function columnsOf(given: Fields[] | undefined): Column[] {
  const columns = (given ?? []).map((column): Column => {
    const steps = parseJsonPath(column.jsonPath);
    return {
      name: column.name,
      type: column.type === 'date' ? 'string' : column.type,
      format: column.format ?? '',
      description: column.description ?? '',
      priority: column.priority ?? 0,
      value: (object, nowMs) => {
        const values = steps === undefined ? [] : readJsonPath(object, steps);
        if (values.length === 0) return null;
        if (column.type === 'date') return age(String(values[0]), nowMs);
        if (values.length === 1 && ['string', 'number', 'boolean'].includes(typeof values[0]))
          return values[0] as string;
        return values.length === 1
          ? JSON.stringify(values[0])
          : values.map((v) => (typeof v === 'string' ? v : JSON.stringify(v))).join(',');
      },
    };
  });
  return given === undefined || given.length === 0 ? [nameColumn, ageColumn] : [nameColumn, ...columns];
}
