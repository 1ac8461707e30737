/**
 * ServiceProfile, `linkerd.io/v1alpha1` and `v1alpha2`: routes of a Service with their classes of responses, retries and
 * timeouts, and where else its traffic goes. Conditions that set several fields mean all of them.
 */
import { parseGoDuration } from './duration.ts';
import { type Field, readObject } from './field.ts';
import { SERVICE_PROFILES } from './kinds.ts';
import type { KubeObject } from './kubernetes.ts';
import { type ObjectRef, objectRef } from './object-ref.ts';
import { parseQuantity } from './quantity.ts';
import { parseRegex } from './routes/regex.ts';

export interface ServiceProfile {
  readonly ref: ObjectRef;
  readonly routes: readonly ProfileRoute[];
  /** Undefined where the profile leaves it to the mesh. */
  readonly retryBudget?: RetryBudget;
  readonly dstOverrides: readonly WeightedAuthority[];
  readonly opaquePorts: readonly PortRange[];
}

export interface ProfileRoute {
  readonly name: string;
  readonly condition: RequestMatch;
  readonly responseClasses: readonly { condition: ResponseMatch; isFailure: boolean }[];
  readonly isRetryable: boolean;
  readonly timeoutMs?: number;
}

export type RequestMatch =
  | { kind: 'all' | 'any'; matches: readonly RequestMatch[] }
  | { kind: 'not'; match: RequestMatch }
  | { kind: 'method'; method: string }
  | { kind: 'path'; regex: string };

export type ResponseMatch =
  | { kind: 'all' | 'any'; matches: readonly ResponseMatch[] }
  | { kind: 'not'; match: ResponseMatch }
  /** 0: no bound. */
  | { kind: 'status'; min: number; max: number };

export interface RetryBudget {
  readonly retryRatio: number;
  readonly minRetriesPerSecond: number;
  readonly ttlMs: number;
}

export interface WeightedAuthority {
  /** `host` or `host:port`. */
  readonly authority: string;
  /** In hundred-thousandths, never below what was written: a weight of 1 is 10,000. */
  readonly weight: number;
}

interface PortRange {
  readonly from: number;
  readonly to: number;
}

const STATUS_MIN = 100;
const STATUS_MAX = 599;
const UINT32_MAX = 2 ** 32 - 1;
/** The wire counts weights in 32 bits. */
const WEIGHT_MAX = 429_496;
/** Conditions nest; a deeper one is a mistake, and every level costs the proxy a step per request. */
const DEPTH_MAX = 16;

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseServiceProfile(object: KubeObject): ServiceProfile {
  return readObject(object, (root) => {
    const spec = root.get('spec');
    const budget = spec.get('retryBudget');
    return {
      ref: objectRef(object, SERVICE_PROFILES),
      routes: spec.get('routes').items().flatMap(readRoute),
      retryBudget: budget.object() ? readBudget(budget) : undefined,
      dstOverrides: spec.get('dstOverrides').items().map(readOverride),
      opaquePorts: readPorts(spec.get('opaquePorts')),
    };
  });
}

function readRoute(field: Field): ProfileRoute[] {
  const name = field.get('name').requiredText();
  const condition = readRequestMatch(field.get('condition'), DEPTH_MAX);
  const responseClasses = field
    .get('responseClasses')
    .items()
    .flatMap((each) => {
      const match = readResponseMatch(each.get('condition'), DEPTH_MAX);
      return match ? [{ condition: match, isFailure: each.get('isFailure').boolean() ?? false }] : [];
    });
  const isRetryable = field.get('isRetryable').boolean() ?? false;
  const timeoutMs = readDuration(field.get('timeout'));
  // A timeout of nothing is none.
  return condition ? [{ name, condition, responseClasses, isRetryable, timeoutMs: timeoutMs || undefined }] : [];
}

function readRequestMatch(field: Field, depth: number): RequestMatch | undefined {
  if (!isMatch(field, depth)) return undefined;
  const not = field.get('not').isSet ? readRequestMatch(field.get('not'), depth - 1) : undefined;
  const method = field.get('method').value === '' ? undefined : field.get('method').text('the name of a method');
  const regex = readRegex(field.get('pathRegex'));
  const matches: RequestMatch[] = [
    ...(['all', 'any'] as const).flatMap((kind) => readList(field.get(kind), kind, depth, readRequestMatch)),
    ...(method === undefined ? [] : [{ kind: 'method', method } as const]),
    ...(not ? [{ kind: 'not', match: not } as const] : []),
    ...(regex === undefined ? [] : [{ kind: 'path', regex } as const]),
  ];
  if (!['all', 'any', 'method', 'not', 'pathRegex'].some((name) => field.get(name).isSet)) {
    return field.refuse('a condition with all, any, not, method or pathRegex');
  }
  return matches.length > 1 ? { kind: 'all', matches } : matches[0];
}

function readResponseMatch(field: Field, depth: number): ResponseMatch | undefined {
  if (!isMatch(field, depth)) return undefined;
  const not = field.get('not').isSet ? readResponseMatch(field.get('not'), depth - 1) : undefined;
  const status = field.get('status');
  const matches: ResponseMatch[] = [
    ...(['all', 'any'] as const).flatMap((kind) => readList(field.get(kind), kind, depth, readResponseMatch)),
    ...(status.object('a range of statuses') ? [readStatus(status)] : []),
    ...(not ? [{ kind: 'not', match: not } as const] : []),
  ];
  if (!['all', 'any', 'status', 'not'].some((name) => field.get(name).isSet)) {
    return field.refuse('a condition with all, any, not or status');
  }
  return matches.length > 1 ? { kind: 'all', matches } : matches[0];
}

function isMatch(field: Field, depth: number): boolean {
  if (depth === 0) {
    field.refuse(`a condition at most ${DEPTH_MAX} deep`);
    return false;
  }
  if (field.isSet) return field.object('a condition');
  field.refuse('a condition');
  return false;
}

function readList<K extends 'all' | 'any', M>(
  field: Field,
  kind: K,
  depth: number,
  read: (field: Field, depth: number) => M | undefined,
): { kind: K; matches: M[] }[] {
  if (!field.isSet) return [];
  const matches = field.items('a list of conditions').flatMap((item) => read(item, depth - 1) ?? []);
  return [{ kind, matches }];
}

function readRegex(field: Field): string | undefined {
  if (field.value === '') return undefined;
  const regex = field.text('a regular expression');
  if (regex === undefined || parseRegex(regex)) return regex;
  return field.refuse('a regular expression without look-around and back-references');
}

function readStatus(field: Field): ResponseMatch {
  const bound = (name: string) => {
    const part = field.get(name);
    return part.value === 0 ? 0 : (part.integer(STATUS_MIN, STATUS_MAX) ?? 0);
  };
  const [min, max] = [bound('min'), bound('max')];
  if (max !== 0 && max < min) field.get('max').refuse(`${min} (min) to ${STATUS_MAX}`);
  return { kind: 'status', min, max };
}

function readBudget(field: Field): RetryBudget {
  const ratio = field.get('retryRatio');
  const isRatio = typeof ratio.value === 'number' && ratio.value >= 0;
  if (!isRatio) ratio.refuse('a number from 0');
  const ttl = field.get('ttl');
  if (!ttl.isSet) ttl.refuse(DURATION);
  return {
    retryRatio: isRatio ? (ratio.value as number) : 0,
    minRetriesPerSecond: field.get('minRetriesPerSecond').integer(0, UINT32_MAX) ?? 0,
    ttlMs: readDuration(ttl) ?? 0,
  };
}

const DURATION = 'a duration such as 300ms or 1m30s';

function readDuration(field: Field): number | undefined {
  if (!field.isSet || field.value === '') return undefined;
  const ms = typeof field.value === 'string' ? parseGoDuration(field.value) : undefined;
  return ms ?? field.refuse(DURATION);
}

function readOverride(field: Field): WeightedAuthority {
  const authority = field.get('authority').requiredText('the name of a service, with or without a port');
  return { authority, weight: readWeight(field.get('weight')) };
}

/** A quantity (`500m`) as the wire counts it; 0 where it is not set. */
export function readWeight(field: Field): number {
  if (!field.isSet) return 0;
  const { value } = field;
  const weight = typeof value === 'string' || typeof value === 'number' ? parseQuantity(value) : undefined;
  // Rounded first: 0.1 * 1000 must not become 101 thousandths.
  if (weight !== undefined && weight >= 0 && weight <= WEIGHT_MAX) {
    return Math.ceil(Number((weight * 1000).toFixed(6))) * 10;
  }
  field.refuse(`a quantity from 0 to ${WEIGHT_MAX}, such as 1 or 500m`);
  return 0;
}

/** A list of ports and ranges, or an object whose keys are ports, as Go writes its set. */
function readPorts(field: Field): PortRange[] {
  if (!field.isSet) return [];
  const isList = Array.isArray(field.value);
  const entries = isList ? field.items() : field.keys().map((key) => field.get(key));
  return entries.flatMap((entry, i) => {
    const text = String(isList ? entry.value : field.keys()[i]).trim();
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
    const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (match && from >= 1 && from <= to && to <= 65_535) return [{ from, to }];
    entry.refuse('a port from 1 to 65535 or a range of them');
    return [];
  });
}
