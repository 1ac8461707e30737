/**
 * Ownership of fields: what `metadata.managedFields` says after an update or an apply, the conflicts of an apply, and the
 * removal of fields that an applier no longer names.
 */

import { failure } from '../apiserver/status.ts';
import type { Schema } from '../schema/schema.ts';
import type { Fields, ManagedFieldsEntry, StoredObject } from '../store/stored-object.ts';
import { compareFields } from './compare.ts';
import { FieldSet, fieldsOf } from './field-set.ts';
import { mergeApplied, removeFields } from './merge.ts';

/** Managers kept per object for updates; older ones are folded into one, as the real API server does. */
export const UPDATE_MANAGERS_MAX = 10;

export interface Writer {
  manager: string;
  apiVersion: string;
  subresource: string;
  /** RFC 3339, the time of the request. */
  time: string;
}

/** Fields that no one owns: identity and what the server itself writes. */
const unowned = FieldSet.parse({
  'f:apiVersion': {},
  'f:kind': {},
  'f:metadata': {
    '.': {},
    'f:name': {},
    'f:namespace': {},
    'f:generateName': {},
    'f:creationTimestamp': {},
    'f:deletionTimestamp': {},
    'f:deletionGracePeriodSeconds': {},
    'f:selfLink': {},
    'f:uid': {},
    'f:resourceVersion': {},
    'f:generation': {},
    'f:managedFields': {},
  },
});
unowned.children.get('f:metadata')!.member = false;
const unownedWhole = (set: FieldSet): FieldSet => {
  const out = set.recursiveDifference(unowned);
  const metadata = out.children.get('f:metadata');
  if (metadata !== undefined && metadata.children.size === 0) out.children.delete('f:metadata');
  return out;
};

/** The managedFields of `now`, which `writer` made of `old` by a write that is not an apply. */
export function fieldsAfterUpdate(
  old: Fields | undefined,
  now: Fields,
  schema: Schema,
  writer: Writer,
): ManagedFieldsEntry[] {
  const entries = readEntries(now.metadata?.managedFields ?? old?.metadata?.managedFields);
  const difference = compareFields(bare(old), bare(now), schema);
  const changed = unownedWhole(difference.changed);
  const removed = unownedWhole(difference.removed);
  if (changed.isEmpty && removed.isEmpty) return writeEntries(entries);
  const isOwn = (entry: ManagedFieldsEntry) =>
    entry.manager === writer.manager &&
    entry.operation === 'Update' &&
    entry.apiVersion === writer.apiVersion &&
    (entry.subresource ?? '') === writer.subresource;
  const out: { entry: ManagedFieldsEntry; set: FieldSet }[] = [];
  let own: { entry: ManagedFieldsEntry; set: FieldSet } | undefined;
  for (const { entry, set } of entries) {
    const rest = set.recursiveDifference(removed);
    if (isOwn(entry)) own = { entry, set: rest };
    else {
      const left = rest.difference(changed);
      if (!left.isEmpty) out.push({ entry, set: left });
    }
  }
  const set = own === undefined ? changed : own.set.union(changed);
  if (!set.isEmpty) {
    const isSame = own?.set.equals(set) && changed.isEmpty;
    out.push({ entry: isSame ? own!.entry : newEntry(writer, 'Update'), set });
  }
  return writeEntries(foldOld(out));
}

export interface Applied {
  object: Fields;
  managedFields: ManagedFieldsEntry[];
}

/** Applies `configuration` to `live` (undefined: it is being created). Throws a 409 that names every conflict. */
export function applyConfiguration(
  live: StoredObject | undefined,
  configuration: Fields,
  schema: Schema,
  writer: Writer,
  force: boolean,
): Applied {
  const entries = readEntries(live?.metadata.managedFields);
  const isOwn = (entry: ManagedFieldsEntry) =>
    entry.manager === writer.manager && entry.operation === 'Apply' && (entry.subresource ?? '') === writer.subresource;
  const own = entries.find(({ entry }) => isOwn(entry));
  const named = unownedWhole(fieldsOf(bare(configuration), schema));
  const before = live === undefined ? {} : bare(live);
  let merged = mergeApplied(before, bare(configuration), schema);

  const changed = unownedWhole(compareFields(before, merged, schema).changed);
  const others = entries.filter(({ entry }) => !isOwn(entry));
  const conflicts = others
    .map(({ entry, set }) => ({ entry, set: set.intersection(changed) }))
    .filter(({ set }) => !set.isEmpty);
  if (conflicts.length > 0 && !force) throw conflictError(conflicts);

  const kept = others.map(({ entry, set }) => ({ entry, set: set.difference(changed) }));
  const theirs = others.reduce((all, { set }) => all.union(set), new FieldSet());
  if (own !== undefined) {
    const dropped = own.set.difference(named);
    const gone = dropped.difference(theirs);
    merged = removeFields(merged, gone, named.union(theirs), schema);
  }
  const out = kept.filter(({ set }) => !set.isEmpty);
  const isSame = own?.set.equals(named) && own.entry.apiVersion === writer.apiVersion;
  if (!named.isEmpty) out.push({ entry: isSame ? own!.entry : newEntry(writer, 'Apply'), set: named });
  return { object: merged as Fields, managedFields: writeEntries(out) };
}

function conflictError(conflicts: { entry: ManagedFieldsEntry; set: FieldSet }[]) {
  const causes = conflicts.flatMap(({ entry, set }) => {
    const who =
      entry.operation === 'Apply'
        ? `"${entry.manager}"`
        : `"${entry.manager}"${entry.subresource ? ` with subresource "${entry.subresource}"` : ''} using ${entry.apiVersion}`;
    return set.paths().map((field) => ({ reason: 'FieldManagerConflict', message: `conflict with ${who}`, field }));
  });
  const whos = [...new Set(causes.map((cause) => cause.message))];
  const text =
    causes.length === 1
      ? `${causes[0]!.message}: ${causes[0]!.field}`
      : whos
          .map(
            (who) =>
              `${who}:\n${causes
                .filter((c) => c.message === who)
                .map((c) => `- ${c.field}`)
                .join('\n')}`,
          )
          .join('\n');
  return failure(
    409,
    'Conflict',
    `Apply failed with ${causes.length} conflict${causes.length === 1 ? '' : 's'}: ${text}`,
    { causes },
  );
}

function bare(object: Fields | undefined): Fields {
  if (object === undefined) return {};
  if (object.metadata?.managedFields === undefined) return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function readEntries(entries: ManagedFieldsEntry[] | undefined): { entry: ManagedFieldsEntry; set: FieldSet }[] {
  return (entries ?? []).map((entry) => ({ entry, set: FieldSet.parse(entry.fieldsV1) }));
}

function writeEntries(entries: { entry: ManagedFieldsEntry; set: FieldSet }[]): ManagedFieldsEntry[] {
  return entries.map(({ entry, set }) => ({ ...entry, fieldsV1: set.toJSON() }));
}

function newEntry(writer: Writer, operation: 'Apply' | 'Update'): ManagedFieldsEntry {
  return {
    manager: writer.manager,
    operation,
    apiVersion: writer.apiVersion,
    time: writer.time,
    fieldsType: 'FieldsV1',
    ...(writer.subresource === '' ? {} : { subresource: writer.subresource }),
  };
}

function foldOld(
  entries: { entry: ManagedFieldsEntry; set: FieldSet }[],
): { entry: ManagedFieldsEntry; set: FieldSet }[] {
  const updates = entries.filter(({ entry }) => entry.operation === 'Update' && entry.manager !== 'ancient-changes');
  if (updates.length <= UPDATE_MANAGERS_MAX) return entries;
  const folded = updates.slice(0, updates.length - UPDATE_MANAGERS_MAX);
  const set = folded.reduce((all, next) => all.union(next.set), new FieldSet());
  const rest = entries.filter((entry) => !folded.includes(entry));
  return [{ entry: { ...folded[0]!.entry, manager: 'ancient-changes' }, set }, ...rest];
}
