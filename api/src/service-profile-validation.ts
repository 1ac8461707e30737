/**
 * What Linkerd's own admission of ServiceProfiles refuses, in the words that it uses: decoding into its types with
 * unknown fields refused, then a walk over the routes and the retry budget.
 */
import { goDurationProblem } from './go-duration.ts';
import type { KubeObject } from './kubernetes.ts';
import { MeshError } from './mesh-error.ts';
import { parseQuantity } from './quantity.ts';
import { parseServiceProfile } from './service-profile.ts';

/** The first problem; undefined where the profile is admitted. What our proxies could not follow is refused as well. */
export function serviceProfileProblem(object: KubeObject): string | undefined {
  const decoding = decodeProblem(object, PROFILE, '');
  if (decoding) {
    return `failed to validate ServiceProfile: error unmarshaling JSON: while decoding JSON: json: ${decoding}`;
  }
  const problem = nameProblem(object.metadata?.name ?? '') ?? specProblem(object.spec ?? {});
  if (problem) return `ServiceProfile ${JSON.stringify(object.metadata?.name ?? '')} ${problem}`;
  try {
    parseServiceProfile(object);
    return undefined;
  } catch (cause) {
    return `ServiceProfile ${JSON.stringify(object.metadata.name)}: ${MeshError.from(cause).message}`;
  }
}

/** Every field that is not a profile's, with where it stands: the words above say only its name, and only of the first. */
export function unknownProfileFields(object: KubeObject): string[] {
  return unknownFields(object, PROFILE, '');
}

function unknownFields(value: unknown, shape: Shape, path: string): string[] {
  if (Array.isArray(value)) {
    return shape.type === 'list' ? value.flatMap((item, i) => unknownFields(item, shape.item(), `${path}[${i}]`)) : [];
  }
  if (shape.type !== 'struct' || !value || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const at = path === '' ? name : `${path}.${name}`;
    const known = Object.hasOwn(shape.fields, name) ? shape.fields[name] : undefined;
    if (known) return unknownFields(inner, known, at);
    return [`${at}: found a field that is not known, allowed are ${Object.keys(shape.fields).join(', ')}`];
  });
}

type Shape =
  | { type: 'string' | 'bool' | 'uint32' | 'float32' | 'quantity' | 'any' }
  | { type: 'list'; item: () => Shape }
  | { type: 'struct'; name: string; fields: Readonly<Record<string, Shape>> };

const ANY: Shape = { type: 'any' };
const STRING: Shape = { type: 'string' };
const listOf = (item: () => Shape): Shape => ({ type: 'list', item });

const RANGE: Shape = { type: 'struct', name: 'Range', fields: { min: { type: 'uint32' }, max: { type: 'uint32' } } };
const REQUEST_MATCH: Shape & { fields: Record<string, Shape> } = {
  type: 'struct',
  name: 'RequestMatch',
  fields: { all: listOf(() => REQUEST_MATCH), any: listOf(() => REQUEST_MATCH), pathRegex: STRING, method: STRING },
};
REQUEST_MATCH.fields.not = REQUEST_MATCH;
const RESPONSE_MATCH: Shape & { fields: Record<string, Shape> } = {
  type: 'struct',
  name: 'ResponseMatch',
  fields: { all: listOf(() => RESPONSE_MATCH), any: listOf(() => RESPONSE_MATCH), status: RANGE },
};
RESPONSE_MATCH.fields.not = RESPONSE_MATCH;
const RESPONSE_CLASS: Shape = {
  type: 'struct',
  name: 'ResponseClass',
  fields: { condition: RESPONSE_MATCH, isFailure: { type: 'bool' } },
};
const ROUTE: Shape = {
  type: 'struct',
  name: 'RouteSpec',
  fields: {
    name: STRING,
    condition: REQUEST_MATCH,
    responseClasses: listOf(() => RESPONSE_CLASS),
    isRetryable: { type: 'bool' },
    timeout: STRING,
  },
};
const RETRY_BUDGET: Shape = {
  type: 'struct',
  name: 'RetryBudget',
  fields: { retryRatio: { type: 'float32' }, minRetriesPerSecond: { type: 'uint32' }, ttl: STRING },
};
const WEIGHTED_DST: Shape = {
  type: 'struct',
  name: 'WeightedDst',
  fields: { authority: STRING, weight: { type: 'quantity' } },
};
const SPEC: Shape = {
  type: 'struct',
  name: 'ServiceProfileSpec',
  fields: {
    routes: listOf(() => ROUTE),
    retryBudget: RETRY_BUDGET,
    dstOverrides: listOf(() => WEIGHTED_DST),
    opaquePorts: ANY,
  },
};
const PROFILE: Shape = {
  type: 'struct',
  name: 'ServiceProfile',
  fields: { apiVersion: STRING, kind: STRING, metadata: ANY, spec: SPEC },
};

/** The first problem of the fields in alphabetic order, in which the reference meets them. */
function decodeProblem(value: unknown, shape: Shape, path: string, struct = ''): string | undefined {
  if (value === undefined || value === null || shape.type === 'any') return undefined;
  const mismatch = (type: string) =>
    `cannot unmarshal ${nameOf(value, type)} into Go struct field ${struct}.${path} of type ${type}`;
  if (shape.type === 'list') {
    if (!Array.isArray(value)) return mismatch(`[]*v1alpha2.${(shape.item() as { name: string }).name}`);
    return first(value, (item) => decodeProblem(item, shape.item(), path, struct));
  }
  if (shape.type === 'struct') {
    if (typeof value !== 'object' || Array.isArray(value)) return mismatch(`v1alpha2.${shape.name}`);
    return first(Object.keys(value).sort(), (name) => {
      const field = Object.hasOwn(shape.fields, name) ? shape.fields[name] : undefined;
      if (!field) return `unknown field ${JSON.stringify(name)}`;
      const below = path === '' ? name : `${path}.${name}`;
      return decodeProblem((value as Record<string, unknown>)[name], field, below, shape.name);
    });
  }
  return isScalar(value, shape.type) ? undefined : mismatch(shape.type);
}

function isScalar(value: unknown, type: 'string' | 'bool' | 'uint32' | 'float32' | 'quantity'): boolean {
  switch (type) {
    case 'string':
      // YAML's numbers and booleans become text where text is wanted.
      return typeof value !== 'object';
    case 'bool':
      return typeof value === 'boolean';
    case 'uint32':
      return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32;
    case 'float32':
      return typeof value === 'number';
    case 'quantity':
      return (typeof value === 'string' || typeof value === 'number') && parseQuantity(value) !== undefined;
  }
}

function nameOf(value: unknown, type: string): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value !== 'number') return typeof value;
  return type === 'uint32' ? `number ${value}` : 'number';
}

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const SUBDOMAIN_CHARACTERS_MAX = 253;

function nameProblem(name: string): string | undefined {
  if (name.length > SUBDOMAIN_CHARACTERS_MAX) {
    return `has invalid name: must be no more than ${SUBDOMAIN_CHARACTERS_MAX} characters`;
  }
  if (SUBDOMAIN.test(name)) return undefined;
  const rule = "must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an";
  const pattern = SUBDOMAIN.source.slice(1, -1);
  return `has invalid name: a DNS-1123 subdomain ${rule} alphanumeric character (e.g. 'example.com', regex used for validation is '${pattern}')`;
}

type Loose = Record<string, any>;

function specProblem(spec: Loose): string | undefined {
  return first(spec.routes ?? [], routeProblem) ?? (spec.retryBudget && budgetProblem(spec.retryBudget));
}

function routeProblem(route: Loose | null): string | undefined {
  if (route === null) return 'has a nil route';
  if ((route.name ?? '') === '') return 'has a route with no name';
  const timeout = String(route.timeout ?? '');
  const duration = timeout === '' ? undefined : goDurationProblem(timeout);
  if (duration) return `has a route with an invalid timeout: ${duration}`;
  if (!route.condition) return 'has a route with no condition';
  const condition = matchProblem(route.condition, 'request');
  if (condition) return `has a route with an invalid condition: ${condition}`;
  return first(route.responseClasses ?? [], (each: Loose | null) => {
    if (!each?.condition) return 'has a response class with no condition';
    const problem = matchProblem(each.condition, 'response');
    return problem && `has a response class with an invalid condition: ${problem}`;
  });
}

function matchProblem(match: Loose | null, side: 'request' | 'response'): string | undefined {
  const lists = [match?.all, match?.any].filter((list) => list !== undefined && list !== null);
  const inLists = first(lists.flat(), (child: Loose | null) => matchProblem(child, side));
  if (inLists) return inLists;
  const status = side === 'response' ? (match?.status as Loose | undefined) : undefined;
  const inStatus = status ? rangeProblem(status.min ?? 0, status.max ?? 0) : undefined;
  if (inStatus) return inStatus;
  const inNot = match?.not ? matchProblem(match.not, side) : undefined;
  if (inNot) return inNot;
  const isSet = lists.length > 0 || status || match?.not || (side === 'request' && (match?.method || match?.pathRegex));
  return isSet ? undefined : `A ${side} match must have a field set`;
}

function rangeProblem(min: number, max: number): string | undefined {
  const isOutside = (status: number) => status !== 0 && (status < 100 || status > 599);
  if (isOutside(min)) return 'Range minimum must be between 100 and 599, inclusive';
  if (isOutside(max)) return 'Range maximum must be between 100 and 599, inclusive';
  return max !== 0 && max < min ? 'Range maximum cannot be smaller than minimum' : undefined;
}

function budgetProblem(budget: Loose): string | undefined {
  const ratio = budget.retryRatio ?? 0;
  if (ratio < 0) return `RetryBudget RetryRatio must be non-negative: ${Number(ratio).toFixed(6)}`;
  if ((budget.ttl ?? '') === '') return 'RetryBudget missing TTL field';
  const ttl = goDurationProblem(String(budget.ttl));
  return ttl && `RetryBudget: ${ttl}`;
}

function first<T>(items: readonly T[], problem: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const found = problem(item);
    if (found) return found;
  }
  return undefined;
}
