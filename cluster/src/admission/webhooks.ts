/** Calls admission webhooks: which ones apply, in which order, and what their answers do. */

import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { userJson } from '../apiserver/reviews.ts';
import { labelSelectorPredicate } from '../apiserver/selector.ts';
import { failure } from '../apiserver/status.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import type { Registry } from '../resources/registry.ts';
import { apiVersionOf, type Resource } from '../resources/resource.ts';
import type { Store } from '../store/store.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
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

/** A webhook, and the version of the kind in which it asks for objects. */
interface Match {
  webhook: Webhook;
  as: Resource;
}

export function createWebhookAdmission({ store, registry }: { store: Store; registry: Registry }): AdmissionStep {
  const webhooksFor = (storage: string, attributes: AdmissionAttributes): Match[] => {
    if (exempt.has(attributes.resource.storage) || attributes.resource.verbs.length === 1) return [];
    return store
      .list(storage)
      .flatMap((entry) => (entry.object.webhooks ?? []) as Webhook[])
      .flatMap((webhook) => {
        const as = versionFor(webhook, attributes, registry);
        const applies = as && namespaceMatches(webhook, attributes, store) && objectMatches(webhook, attributes);
        return applies ? [{ webhook, as }] : [];
      });
  };
  return {
    mutate: async (attributes) => {
      const webhooks = webhooksFor(MUTATING, attributes);
      let object = attributes.object;
      const seen = new Map<Match, Fields | undefined>();
      for (const match of webhooks) {
        object = await mutateBy(match, { ...attributes, object }, store);
        seen.set(match, object);
      }
      // A webhook that asks for it sees the object once more when a later one has changed it.
      for (const match of webhooks) {
        if (match.webhook.reinvocationPolicy === 'IfNeeded' && !isDeepStrictEqual(seen.get(match), object)) {
          object = await mutateBy(match, { ...attributes, object }, store);
        }
      }
      return object;
    },
    validate: async (attributes) => {
      const results = await Promise.allSettled(
        webhooksFor(VALIDATING, attributes).map((match) => call(match, attributes, store)),
      );
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    },
  };
}

async function mutateBy(match: Match, attributes: AdmissionAttributes, store: Store): Promise<Fields | undefined> {
  const { webhook, as } = match;
  const response = await call(match, attributes, store);
  if (response?.patch === undefined || attributes.object === undefined) return attributes.object;
  try {
    if (response.patchType !== 'JSONPatch') throw new Error(`unsupported patch type ${response.patchType}`);
    const patch = JSON.parse(Buffer.from(response.patch, 'base64').toString());
    const patched = applyJsonPatch(inVersion(attributes.object, attributes.resource, as), patch) as Fields;
    return inVersion(patched, as, attributes.resource);
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
async function call(
  { webhook, as }: Match,
  attributes: AdmissionAttributes,
  store: Store,
): Promise<Fields | undefined> {
  if (attributes.isDryRun && !['None', 'NoneOnDryRun'].includes(webhook.sideEffects)) {
    throw failure(400, 'BadRequest', `admission webhook ${JSON.stringify(webhook.name)} does not support dry run`);
  }
  const review = reviewOf(attributes, as);
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

function reviewOf(
  attributes: AdmissionAttributes,
  as: Resource,
): { apiVersion: string; kind: string; request: Fields } {
  const { operation, resource, subresource, namespace, name, object, oldObject, options, user, isDryRun } = attributes;
  const kindOf = ({ group, version, kind }: Resource) => ({ group, version, kind });
  const resourceOf = ({ group, version, plural }: Resource) => ({ group, version, resource: plural });
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: randomUUID(),
      kind: kindOf(as),
      resource: resourceOf(as),
      requestKind: kindOf(resource),
      requestResource: resourceOf(resource),
      ...(subresource === '' ? {} : { subResource: subresource, requestSubResource: subresource }),
      ...(name === '' ? {} : { name }),
      ...(namespace === undefined ? {} : { namespace }),
      operation,
      userInfo: userJson(user),
      object: object ? inVersion(object, resource, as) : null,
      oldObject: oldObject ? inVersion(oldObject, resource, as) : null,
      dryRun: isDryRun,
      options,
    },
  };
}

/** The version of the request where a rule names it, else, unless the webhook wants exact matches, another one that a rule names. */
function versionFor(webhook: Webhook, attributes: AdmissionAttributes, registry: Registry): Resource | undefined {
  const { resource } = attributes;
  const isNamed = (candidate: Resource) =>
    (webhook.rules ?? []).some((rule: Fields) => ruleMatches(rule, { ...attributes, resource: candidate }));
  if (isNamed(resource)) return resource;
  if (webhook.matchPolicy === 'Exact') return undefined;
  return registry.all().find((candidate) => candidate.storage === resource.storage && isNamed(candidate));
}

/** Versions of custom resources differ in their name alone (conversion strategy None). */
function inVersion(object: Fields, from: Resource, to: Resource): Fields {
  if (from === to) return object;
  if (to.isCustom) return { ...object, apiVersion: apiVersionOf(to) };
  return to.fromStored(from.toStored(object) as StoredObject);
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
