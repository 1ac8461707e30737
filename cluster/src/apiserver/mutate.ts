/** create, update and patch of objects and of their status. */
import { applyConfiguration } from '../fields/managed-fields.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import { applyMergePatch } from '../patch/merge-patch.ts';
import { applyStrategicMergePatch } from '../patch/strategic-merge-patch.ts';
import type { Entry, Fields, StoredObject } from '../store/stored-object.ts';
import { mediaType, parseJson, parseYaml, readBytes, readObject } from './body.ts';
import type { ApiRequest } from './context.ts';
import { decodeObject, settleNamespace } from './decode-body.ts';
import { objectKey } from './read.ts';
import { createEncoder, negotiateForm } from './representation.ts';
import { sendJson } from './respond.ts';
import {
  badRequest,
  forbiddenField,
  invalid,
  invalidOptions,
  invalidValue,
  notFound,
  required,
  unsupportedMediaType,
} from './status.ts';
import { createObject, requireVersion, type Update, updateObject, writerOf } from './write.ts';

export async function handleCreate(request: ApiRequest): Promise<void> {
  const form = negotiateForm(request.incoming);
  const body = await readObject(request.incoming);
  if (body === undefined) throw badRequest('the body is empty: an object is needed');
  const object = decodeObject(request, body);
  settleNamespace(request, object);
  send(request, form, 201, await createObject(request, object));
}

export async function handleUpdate(request: ApiRequest): Promise<void> {
  const form = negotiateForm(request.incoming);
  const body = await readObject(request.incoming);
  if (body === undefined) throw badRequest('the body is empty: an object is needed');
  const object = decodeObject(request, body);
  settleNamespace(request, object);
  if (object.metadata.name !== request.info.name) {
    throw badRequest(
      `the name of the object (${object.metadata.name ?? ''}) does not match the name on the URL (${request.info.name})`,
    );
  }
  requireVersion(request, object);
  send(request, form, 200, await updateObject(request, () => ({ object })));
}

export const patchTypes = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

export async function handlePatch(request: ApiRequest): Promise<void> {
  const form = negotiateForm(request.incoming);
  const type = mediaType(request.incoming);
  const accepted = Object.values(patchTypes).filter((t) => t !== patchTypes.strategic || !request.resource.isCustom);
  if (!(accepted as string[]).includes(type)) throw unsupportedMediaType(type, accepted);
  const text = (await readBytes(request.incoming)).toString();
  if (type === patchTypes.apply) {
    const { entry, isCreated } = await apply(request, text);
    send(request, form, isCreated ? 201 : 200, entry);
    return;
  }
  if (request.info.query.has('force'))
    throw invalidOptions('PatchOptions', [forbiddenField('force', 'may not be specified for non-apply patch')]);
  const patch = parseJson(text);
  send(request, form, 200, await updateObject(request, (old) => patched(request, old, patch, type)));
}

/** `old` with the patch on it, read again by the type as if a client had sent it. */
export function patched(request: ApiRequest, old: StoredObject, patch: unknown, type: string): Update {
  const { resource } = request;
  const warnings = [...request.warnings];
  const result =
    type === patchTypes.json
      ? applyJsonPatch(old, patch)
      : type === patchTypes.merge
        ? applyMergePatch(old, patch)
        : applyStrategicMergePatch(old, patch, resource.schema);
  request.warnings.length = 0;
  const object = decodeObject(request, result);
  request.warnings.unshift(...warnings);
  if (object.metadata.name !== old.metadata.name)
    throw badRequest(
      `the name of the object (${object.metadata.name ?? ''}) does not match the name on the URL (${old.metadata.name})`,
    );
  settleNamespace(request, object);
  const { uid } = object.metadata;
  if (uid !== undefined && uid !== old.metadata.uid)
    throw invalid(resource, old.metadata.name, [invalidValue('metadata.uid', uid, 'field is immutable')]);
  if (object.metadata.resourceVersion === old.metadata.resourceVersion) delete object.metadata.resourceVersion;
  return { object };
}

async function apply(request: ApiRequest, text: string): Promise<{ entry: Entry; isCreated: boolean }> {
  const { info, resource, context } = request;
  if (!info.query.get('fieldManager')) {
    throw invalidOptions('PatchOptions', [required('fieldManager', 'is required for apply patch')]);
  }
  const force = ['true', '1'].includes(info.query.get('force') ?? '');
  const body = text.trimStart().startsWith('{') ? parseJson(text) : parseYaml(text);
  const configuration = decodeObject(request, body);
  if ((configuration.metadata.managedFields ?? []).length > 0) throw badRequest('metadata.managedFields must be nil');
  delete configuration.metadata.managedFields;
  settleNamespace(request, configuration);
  configuration.metadata.name ??= info.name;
  if (configuration.metadata.name !== info.name) {
    throw badRequest(
      `the name of the object (${configuration.metadata.name}) does not match the name on the URL (${info.name})`,
    );
  }
  const { resourceVersion, uid } = configuration.metadata;
  const writer = writerOf(request);
  const present = context.store.get(resource.storage, objectKey(info.namespace, info.name!));
  if (present === undefined) {
    if (resourceVersion !== undefined || uid !== undefined || info.subresource !== '')
      throw notFound(resource, info.name!);
    const applied = applyConfiguration(undefined, configuration, resource.schema, writer, force);
    const object: Fields = { ...applied.object, metadata: { ...applied.object.metadata } };
    return { entry: await createObject(request, structuredClone(object), applied.managedFields), isCreated: true };
  }
  const entry = await updateObject(request, (old) => {
    const applied = applyConfiguration(old, configuration, resource.schema, writer, force);
    const object = structuredClone(applied.object);
    if (resourceVersion === undefined) delete object.metadata.resourceVersion;
    return { object, managedFields: applied.managedFields };
  });
  return { entry, isCreated: false };
}

export function send(request: ApiRequest, form: ReturnType<typeof negotiateForm>, code: number, entry: Entry): void {
  const encoder = createEncoder(request.resource, form, request.info.query, request.context.now);
  sendJson(request, code, encoder.one(entry));
}
