/** Calls admission webhooks: which ones apply, in which order, and what their answers do. */

import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { userJson } from '../apiserver/reviews.ts';
import { labelSelectorPredicate } from '../apiserver/selector.ts';
import { failure } from '../apiserver/status.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import type { Registry } from '../resources/registry.ts';
import type { Store } from '../store/store.ts';
import type { Fields } from '../store/stored-object.ts';
import type { AdmissionAttributes, AdmissionStep } from './admission.ts';
import { callWebhook } from './webhook-call.ts';

const MUTATING = 'mutatingwebhookconfigurations.admissionregistration.k8s.io';
const VALIDATING = 'validatingwebhookconfigurations.admissionregistration.k8s.io';
/** These must stay writable whatever a webhook says, or a broken one could not be removed. */
const exempt = new Set([MUTATING, VALIDATING]);

interface Webhook extends Fields {
  name: string;
  clientConfig: Fields;
  failurePolicy: 'Fail' | 'Ignore';
  timeoutSeconds: number;
  sideEffects: string;
}

export function createWebhookAdmission({ store }: { store: Store; registry: Registry }): AdmissionStep {
  const webhooksFor = (storage: string, attributes: AdmissionAttributes): Webhook[] => {
    if (exempt.has(attributes.resource.storage) || attributes.resource.verbs.length === 1) return [];
    return store
      .list(storage)
      .flatMap((entry) => (entry.object.webhooks ?? []) as Webhook[])
      .filter((webhook) => appliesTo(webhook, attributes, store));
  };
  return {
    mutate: async (attributes) => {
      const webhooks = webhooksFor(MUTATING, attributes);
      let object = attributes.object;
      const seen = new Map<Webhook, Fields | undefined>();
      for (const webhook of webhooks) {
        object = await mutateBy(webhook, { ...attributes, object }, store);
        seen.set(webhook, object);
      }
      // A webhook that asks for it sees the object once more when a later one has changed it.
      for (const webhook of webhooks) {
        if (webhook.reinvocationPolicy === 'IfNeeded' && !isDeepStrictEqual(seen.get(webhook), object)) {
          object = await mutateBy(webhook, { ...attributes, object }, store);
        }
      }
      return object;
    },
    validate: async (attributes) => {
      const results = await Promise.allSettled(
        webhooksFor(VALIDATING, attributes).map((webhook) => call(webhook, attributes, store)),
      );
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    },
  };
}

async function mutateBy(webhook: Webhook, attributes: AdmissionAttributes, store: Store): Promise<Fields | undefined> {
  const response = await call(webhook, attributes, store);
  if (response?.patch === undefined || attributes.object === undefined) return attributes.object;
  try {
    if (response.patchType !== 'JSONPatch') throw new Error(`unsupported patch type ${response.patchType}`);
    return applyJsonPatch(attributes.object, JSON.parse(Buffer.from(response.patch, 'base64').toString())) as Fields;
  } catch (error) {
    if (webhook.failurePolicy === 'Ignore') return attributes.object;
    throw failure(
      500,
      'InternalError',
      `Internal error occurred: failed calling webhook ${JSON.stringify(webhook.name)}: ${(error as Error).message}`,
    );
  }
}

/** The webhook's answer; undefined when it failed and may be ignored. Throws the denial. */
async function call(webhook: Webhook, attributes: AdmissionAttributes, store: Store): Promise<Fields | undefined> {
  if (attributes.isDryRun && !['None', 'NoneOnDryRun'].includes(webhook.sideEffects)) {
    throw failure(400, 'BadRequest', `admission webhook ${JSON.stringify(webhook.name)} does not support dry run`);
  }
  const review = reviewOf(attributes);
  let response: Fields;
  try {
    const answer = await callWebhook(webhook.clientConfig, review, webhook.timeoutSeconds * 1000, store);
    response = answer.response ?? {};
    if (response.uid !== review.request.uid)
      throw new Error(
        `expected response.uid=${JSON.stringify(review.request.uid)}, got ${JSON.stringify(response.uid)}`,
      );
  } catch (error) {
    if (webhook.failurePolicy === 'Ignore') return undefined;
    throw failure(
      500,
      'InternalError',
      `Internal error occurred: failed calling webhook ${JSON.stringify(webhook.name)}: failed to call webhook: ${(error as Error).message}`,
    );
  }
  for (const warning of response.warnings ?? []) attributes.warnings.push(String(warning));
  if (response.allowed === true) return response;
  const { message, reason, code } = response.status ?? {};
  const why = message || reason || 'without explanation';
  const text = message || reason ? `denied the request: ${why}` : 'denied the request without explanation';
  throw failure(
    code >= 400 && code < 600 ? code : 403,
    reason || 'Forbidden',
    `admission webhook ${JSON.stringify(webhook.name)} ${text}`,
  );
}

function reviewOf(attributes: AdmissionAttributes): { apiVersion: string; kind: string; request: Fields } {
  const { operation, resource, subresource, namespace, name, object, oldObject, options, user, isDryRun } = attributes;
  const kind = { group: resource.group, version: resource.version, kind: resource.kind };
  const gvr = { group: resource.group, version: resource.version, resource: resource.plural };
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: randomUUID(),
      kind,
      resource: gvr,
      requestKind: kind,
      requestResource: gvr,
      ...(subresource === '' ? {} : { subResource: subresource, requestSubResource: subresource }),
      ...(name === '' ? {} : { name }),
      ...(namespace === undefined ? {} : { namespace }),
      operation,
      userInfo: userJson(user),
      object: object ?? null,
      oldObject: oldObject ?? null,
      dryRun: isDryRun,
      options,
    },
  };
}

function appliesTo(webhook: Webhook, attributes: AdmissionAttributes, store: Store): boolean {
  if (!(webhook.rules ?? []).some((rule: Fields) => ruleMatches(rule, attributes))) return false;
  return namespaceMatches(webhook, attributes, store) && objectMatches(webhook, attributes);
}

function ruleMatches(rule: Fields, { operation, resource, subresource }: AdmissionAttributes): boolean {
  const has = (list: string[] | undefined, value: string) =>
    list?.includes('*') === true || list?.includes(value) === true;
  if (
    !has(rule.operations, operation) ||
    !has(rule.apiGroups, resource.group) ||
    !has(rule.apiVersions, resource.version)
  )
    return false;
  if (rule.scope === 'Cluster' && resource.namespaced) return false;
  if (rule.scope === 'Namespaced' && !resource.namespaced) return false;
  return (rule.resources ?? []).some((pattern: string) => {
    const [main, sub = ''] = pattern.split('/');
    return (main === '*' || main === resource.plural) && (pattern === '*/*' || sub === '*' || sub === subresource);
  });
}

function namespaceMatches(
  webhook: Webhook,
  { resource, namespace, object, oldObject }: AdmissionAttributes,
  store: Store,
): boolean {
  const selector = webhook.namespaceSelector;
  if (isEmpty(selector)) return true;
  const matches = labelSelectorPredicate(selector);
  if (resource.storage === 'namespaces') return matches((object ?? oldObject)?.metadata?.labels);
  if (namespace === undefined) return true;
  return matches(store.get('namespaces', namespace)?.object.metadata.labels);
}

function objectMatches(webhook: Webhook, { object, oldObject }: AdmissionAttributes): boolean {
  const selector = webhook.objectSelector;
  if (isEmpty(selector)) return true;
  const matches = labelSelectorPredicate(selector);
  return [object, oldObject].some((candidate) => candidate !== undefined && matches(candidate.metadata?.labels));
}

function isEmpty(selector: Fields | undefined): boolean {
  return (
    selector === undefined ||
    (Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0)
  );
}
