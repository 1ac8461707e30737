/** What a ServiceProfile must be: what its parser says, a name that is a DNS name, and no field that is not its own. */
import { type KubeObject, MeshError } from '@tulle/api';
import { parseServiceProfile } from '@tulle/api/service-profile.ts';
import type { Verdict } from './rules.ts';

/** Fields of an object, and of the objects in them; `null` for what is no object, a function for what nests. */
type Fields = { readonly [name: string]: Fields | null | (() => Fields) };

const REQUEST_MATCH: Fields = {
  all: () => REQUEST_MATCH,
  any: () => REQUEST_MATCH,
  not: () => REQUEST_MATCH,
  pathRegex: null,
  method: null,
};
const RESPONSE_MATCH: Fields = {
  all: () => RESPONSE_MATCH,
  any: () => RESPONSE_MATCH,
  not: () => RESPONSE_MATCH,
  status: { min: null, max: null },
};
const SPEC: Fields = {
  routes: {
    name: null,
    condition: REQUEST_MATCH,
    isRetryable: null,
    timeout: null,
    responseClasses: { condition: RESPONSE_MATCH, isFailure: null },
  },
  retryBudget: { retryRatio: null, minRetriesPerSecond: null, ttl: null },
  dstOverrides: { authority: null, weight: null },
  opaquePorts: null,
};
const OBJECT: Fields = { apiVersion: null, kind: null, metadata: null, spec: SPEC };

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const NAME_CHARACTERS_MAX = 253;

export function checkProfile(object: KubeObject): Verdict {
  const name = object.metadata?.name ?? '';
  const problems: string[] = [];
  if (!NAME.test(name) || name.length > NAME_CHARACTERS_MAX) {
    problems.push(
      `metadata.name: found "${name}", allowed is the DNS name of a Service, such as web.app.svc.cluster.local`,
    );
  }
  findUnknown(object, OBJECT, '', problems);
  try {
    parseServiceProfile(object);
  } catch (cause) {
    const error = MeshError.from(cause);
    if (error.code !== 'INVALID_ARGUMENT') throw error;
    problems.push(error.message);
  }
  if (problems.length === 0) return { warnings: nameWarnings(name) };
  return { refusal: `ServiceProfile "${name}"${summary(problems)}: ${problems.join('; ')}`, warnings: [] };
}

/** The commonest mistake, in the words that people look for. */
function summary(problems: readonly string[]): string {
  return problems.some((text) => /routes\[\d+\]\.condition: found nothing/.test(text))
    ? ' has a route with no condition'
    : '';
}

/** A profile is found by this name alone, or by a name outside the cluster. */
function nameWarnings(name: string): string[] {
  if (name.split('.').length >= 3) return [];
  return [`no Service is called ${name}: a profile's name is that of a Service such as web.app.svc.cluster.local`];
}

function findUnknown(value: unknown, known: Fields, path: string, problems: string[]): void {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) findUnknown(item, known, `${path}[${i}]`, problems);
    return;
  }
  if (!value || typeof value !== 'object') return;
  for (const [name, inner] of Object.entries(value)) {
    const at = path ? `${path}.${name}` : name;
    const fields = Object.hasOwn(known, name) ? known[name] : undefined;
    if (fields === undefined)
      problems.push(`${at}: found a field that is not known, allowed are ${Object.keys(known).join(', ')}`);
    else if (fields !== null) findUnknown(inner, typeof fields === 'function' ? fields() : fields, at, problems);
  }
}
