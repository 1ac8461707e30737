/** Sub-resources other than status: scale, binding, eviction, token, finalize. */
import {
  API_AUDIENCES,
  type BoundObject,
  EXPIRATION_S_MAX,
  EXPIRATION_S_MIN,
  type TokenAuthority,
} from '../authentication/token-authority.ts';
import { applyConfiguration } from '../fields/managed-fields.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import { applyMergePatch } from '../patch/merge-patch.ts';
import type { ScalePaths } from '../resources/resource.ts';
import { builtinType } from '../schema/builtin.ts';
import type { Entry, Fields, StoredObject } from '../store/stored-object.ts';
import { mediaType, parseJson, parseYaml, readBytes, readObject } from './body.ts';
import type { ApiRequest } from './context.ts';
import { type DecodeTarget, decodeObject } from './decode-body.ts';
import { deleteEntry, type readDeleteOptions } from './delete.ts';
import { patchTypes } from './mutate.ts';
import { findEntry } from './read.ts';
import { sendJson, success } from './respond.ts';
import { labelSelectorPredicate, labelSelectorText } from './selector.ts';
import {
  badRequest,
  conflict,
  failure,
  forbidden,
  invalid,
  invalidValue,
  methodNotAllowed,
  notFound,
  unsupportedMediaType,
} from './status.ts';
import { rfc3339, updateObject, writerOf } from './write.ts';

const scaleTarget: DecodeTarget = { apiVersion: 'autoscaling/v1', kind: 'Scale', schema: builtinType('Scale') };

export async function handleScale(request: ApiRequest): Promise<void> {
  const { info, resource } = request;
  const paths = resource.scale!;
  const entry = findEntry(request);
  if (info.verb === 'get') return sendJson(request, 200, JSON.stringify(scaleOf(entry.object, paths)));
  const change =
    info.verb === 'update' ? await scaleUpdate(request) : info.verb === 'patch' ? await scalePatch(request) : undefined;
  if (change === undefined) throw methodNotAllowed();
  const updated = await updateObject(request, (old) => {
    const scale = change(scaleOf(old, paths), old);
    const replicas = scale.spec?.replicas ?? 0;
    if (replicas < 0) {
      throw invalid({ group: 'autoscaling', kind: 'Scale' }, info.name!, [
        invalidValue('spec.replicas', replicas, 'must be greater than or equal to 0'),
      ]);
    }
    const object = structuredClone(old) as Fields;
    setPath(object, paths.specReplicas, replicas);
    const wanted = scale.metadata?.resourceVersion;
    if (wanted) object.metadata.resourceVersion = wanted;
    else delete object.metadata.resourceVersion;
    return { object };
  });
  sendJson(request, 200, JSON.stringify(scaleOf(updated.object, paths)));
}

type ScaleChange = (scale: Fields, old: StoredObject) => Fields;

async function scaleUpdate(request: ApiRequest): Promise<ScaleChange> {
  const body = await readObject(request.incoming);
  if (body === undefined) throw badRequest('the body is empty: a Scale is needed');
  const scale = decodeObject(request, body, scaleTarget);
  return () => scale;
}

async function scalePatch(request: ApiRequest): Promise<ScaleChange> {
  const type = mediaType(request.incoming);
  const text = (await readBytes(request.incoming)).toString();
  const patch = type === patchTypes.apply ? parseYaml(text) : parseJson(text);
  return (scale) => {
    const before = scale.metadata.resourceVersion;
    let result: unknown;
    if (type === patchTypes.json) result = applyJsonPatch(scale, patch);
    else if (type === patchTypes.merge || type === patchTypes.strategic) result = applyMergePatch(scale, patch);
    else if (type === patchTypes.apply) {
      const force = request.info.query.get('force') === 'true';
      const bare = { ...scale, metadata: { ...scale.metadata, managedFields: [] } } as unknown as StoredObject;
      result = applyConfiguration(
        bare,
        decodeObject(request, patch, scaleTarget),
        scaleTarget.schema,
        writerOf(request),
        force,
      ).object;
    } else throw unsupportedMediaType(type, Object.values(patchTypes));
    const changed = decodeObject(request, result, scaleTarget);
    if (changed.metadata.resourceVersion === before) delete changed.metadata.resourceVersion;
    return changed;
  };
}

function scaleOf(object: StoredObject, paths: ScalePaths): Fields {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const selector = readPath(object, paths.selector);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: readPath(object, paths.specReplicas) ?? 0 },
    status: {
      replicas: readPath(object, paths.statusReplicas) ?? 0,
      ...(selector === undefined
        ? {}
        : { selector: typeof selector === 'string' ? selector : labelSelectorText(selector) }),
    },
  };
}

function readPath(object: Fields, path: readonly string[]): Fields[string] {
  return path.reduce<Fields | undefined>((value, field) => value?.[field], object);
}

function setPath(object: Fields, path: readonly string[], value: unknown): void {
  const last = path.at(-1)!;
  const parent = path.slice(0, -1).reduce((inner, field) => (inner[field] ??= {}), object);
  parent[last] = value;
}

const bindingTarget: DecodeTarget = { apiVersion: 'v1', kind: 'Binding', schema: builtinType('Binding') };

/** Puts a pod on a node. */
export async function handleBinding(request: ApiRequest): Promise<void> {
  const body = await readObject(request.incoming);
  const binding = decodeObject(request, body ?? {}, bindingTarget);
  const node = binding.target?.name;
  if (!node)
    throw invalid({ group: '', kind: 'Binding' }, request.info.name!, [
      invalidValue('target.name', node ?? '', 'must name a node'),
    ]);
  await updateObject(request, (old) => {
    if (old.metadata.deletionTimestamp !== undefined)
      throw conflict(
        request.resource,
        old.metadata.name,
        `pod ${old.metadata.name} is being deleted, cannot be assigned to a host`,
      );
    if (old.spec.nodeName)
      throw conflict(
        request.resource,
        old.metadata.name,
        `pod ${old.metadata.name} is already assigned to node "${old.spec.nodeName}"`,
      );
    const conditions = (old.status?.conditions ?? []).filter((c: Fields) => c.type !== 'PodScheduled');
    conditions.push({ type: 'PodScheduled', status: 'True', lastTransitionTime: rfc3339(request.context.now()) });
    const annotations = { ...old.metadata.annotations, ...binding.metadata?.annotations };
    const metadata = { ...old.metadata, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) };
    return {
      object: { ...old, metadata, spec: { ...old.spec, nodeName: node }, status: { ...old.status, conditions } },
    };
  });
  sendJson(request, 201, success(undefined));
}

/** Deletes a pod where its disruption budgets allow that. */
export async function handleEviction(request: ApiRequest): Promise<void> {
  const { context, resource } = request;
  const body = (await readObject(request.incoming)) ?? {};
  const eviction = decodeObject(request, body, {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    schema: builtinType('Eviction'),
  });
  const entry = findEntry(request);
  const { object } = entry;
  const isDone =
    ['Succeeded', 'Failed', 'Pending'].includes(object.status?.phase) ||
    object.metadata.deletionTimestamp !== undefined;
  if (!isDone) {
    const budgets = context.store
      .list('poddisruptionbudgets.policy', entry.namespace)
      .filter(({ object: budget }) => labelSelectorPredicate(budget.spec?.selector)(object.metadata.labels));
    for (const budget of budgets) {
      if ((budget.object.status?.disruptionsAllowed ?? 0) > 0) continue;
      throw failure(429, 'TooManyRequests', "Cannot evict pod as it would violate the pod's disruption budget.", {
        causes: [
          {
            reason: 'DisruptionBudget',
            message: `The disruption budget ${budget.name} needs ${budget.object.status?.desiredHealthy ?? 0} healthy pods and has ${budget.object.status?.currentHealthy ?? 0} currently`,
          },
        ],
      });
    }
    for (const budget of budgets) {
      if (request.isDryRun) break;
      const status = { ...budget.object.status, disruptionsAllowed: budget.object.status.disruptionsAllowed - 1 };
      context.store.put('poddisruptionbudgets.policy', { ...budget.object, status }, budget);
    }
  }
  const options = await evictionOptions(request, eviction);
  deleteEntry(context.store, resource, entry, options, context.now());
  sendJson(request, 201, success(undefined));
}

async function evictionOptions(request: ApiRequest, eviction: Fields): ReturnType<typeof readDeleteOptions> {
  const given = eviction.deleteOptions ?? {};
  return {
    isDryRun: request.isDryRun || (given.dryRun ?? []).includes('All'),
    ...(given.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: given.gracePeriodSeconds }),
    ...(given.propagationPolicy === undefined ? {} : { propagation: given.propagationPolicy }),
    ...(given.preconditions === undefined ? {} : { preconditions: given.preconditions }),
  };
}

const tokenTarget: DecodeTarget = {
  apiVersion: 'authentication.k8s.io/v1',
  kind: 'TokenRequest',
  schema: builtinType('TokenRequest'),
};

/** TokenRequest: a token for a service account, bound to a pod or secret where asked. */
export async function handleTokenRequest(request: ApiRequest, tokens: TokenAuthority): Promise<void> {
  const { context, info } = request;
  const body = (await readObject(request.incoming)) ?? {};
  const review = decodeObject(request, { spec: {}, ...body }, tokenTarget);
  const account = findEntry(request);
  const spec: Fields = review.spec ?? {};
  const audiences: readonly string[] = spec.audiences?.length > 0 ? spec.audiences : API_AUDIENCES;
  const expirationSeconds = spec.expirationSeconds ?? 3600;
  if (expirationSeconds < EXPIRATION_S_MIN || expirationSeconds > EXPIRATION_S_MAX) {
    const detail =
      expirationSeconds < EXPIRATION_S_MIN
        ? 'may not specify a duration less than 10 minutes'
        : 'may not specify a duration larger than 2^32 seconds';
    throw invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, info.name!, [
      invalidValue('spec.expirationSeconds', expirationSeconds, detail),
    ]);
  }
  const { bound, node } = boundObject(request, spec.boundObjectRef, account);
  const issued = tokens.issue(
    { namespace: account.namespace!, name: account.name, uid: account.object.metadata.uid },
    {
      audiences,
      expirationSeconds,
      ...(bound === undefined ? {} : { bound }),
      ...(node === undefined ? {} : { node }),
    },
  );
  const out = {
    ...review,
    metadata: { name: account.name, namespace: account.namespace, creationTimestamp: rfc3339(context.now()) },
    spec: { ...spec, audiences, expirationSeconds },
    status: { token: issued.token, expirationTimestamp: rfc3339(issued.expiresMs) },
  };
  sendJson(request, 201, JSON.stringify(out));
}

function boundObject(
  request: ApiRequest,
  reference: Fields | undefined,
  account: Entry,
): { bound?: BoundObject; node?: { name: string; uid?: string } } {
  if (reference === undefined) return {};
  const { context, info, resource } = request;
  const { kind, name } = reference;
  const storage = { Pod: 'pods', Secret: 'secrets', Node: 'nodes' }[kind as string];
  if (storage === undefined || !name)
    throw badRequest(`cannot bind token for serviceaccount ${info.name} to object of kind ${kind}`);
  const entry = context.store.get(storage, kind === 'Node' ? name : `${info.namespace}/${name}`);
  if (entry === undefined) throw notFound({ group: '', plural: storage }, name);
  const { uid } = entry.object.metadata;
  if (reference.uid !== undefined && reference.uid !== uid) {
    throw conflict(
      resource,
      info.name!,
      `the UID in the bound object reference (${reference.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  }
  if (kind === 'Pod' && (entry.object.spec.serviceAccountName ?? 'default') !== account.name) {
    throw forbidden(
      resource,
      info.name!,
      `cannot bind token for serviceaccount ${JSON.stringify(info.name)} to pod running with different serviceaccount name.`,
    );
  }
  const bound: BoundObject = { kind, name, uid };
  const nodeName = kind === 'Pod' ? entry.object.spec.nodeName : undefined;
  if (!nodeName) return { bound };
  const node = context.store.get('nodes', nodeName);
  return { bound, node: { name: nodeName, ...(node === undefined ? {} : { uid: node.object.metadata.uid }) } };
}

/** Namespace finalize: only spec.finalizers may change; an empty list lets a deleted namespace go. */
export async function handleFinalize(request: ApiRequest): Promise<void> {
  const body = await readObject(request.incoming);
  if (body === undefined) throw badRequest('the body is empty: a Namespace is needed');
  const given = decodeObject(request, body);
  const entry = await updateObject(request, (old) => ({
    object: {
      ...old,
      spec: { ...old.spec, finalizers: given.spec?.finalizers ?? [] },
      metadata: { ...old.metadata, resourceVersion: given.metadata.resourceVersion },
    },
  }));
  sendJson(request, 200, JSON.stringify(entry.object));
}
