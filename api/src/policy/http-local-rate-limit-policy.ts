/** HTTPLocalRateLimitPolicy of policy.linkerd.io: how many requests per second each proxy lets in on a Server. */
import { type Field, readObject, readSpec } from '../field.ts';
import { HTTP_LOCAL_RATE_LIMIT_POLICIES } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import { type NamespacedName, POLICY_GROUP, readTargetRef } from './target-ref.ts';

export interface HTTPLocalRateLimitPolicy {
  readonly ref: ObjectRef;
  /** Name of the Server, in the policy's own namespace. */
  readonly serverName: string;
  /** Requests per second of all clients together. */
  readonly total?: number;
  /** Requests per second of each identity; clients without one share the limit of one. */
  readonly identity?: number;
  /** In place of `identity`, for the clients that they name. */
  readonly overrides: readonly RateLimitOverride[];
}

export interface RateLimitOverride {
  readonly requestsPerSecond: number;
  readonly serviceAccounts: readonly NamespacedName[];
}

/** The proxy API holds them in 32 bits. */
const REQUESTS_PER_SECOND_MAX = 2 ** 32 - 1;
const SERVER = { group: POLICY_GROUP, kind: 'Server' } as const;
const SERVICE_ACCOUNT = { group: '', kind: 'ServiceAccount' } as const;

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseHTTPLocalRateLimitPolicy(object: KubeObject): HTTPLocalRateLimitPolicy {
  return readObject(object, (root) => {
    const ref = objectRef(object, HTTP_LOCAL_RATE_LIMIT_POLICIES);
    const spec = readSpec(root).only('targetRef', 'total', 'identity', 'overrides');
    const targetField = spec.get('targetRef');
    const target = readTargetRef(targetField, [SERVER]);
    if (target?.namespace !== undefined && target.namespace !== ref.namespace) {
      targetField.get('namespace').refuse(`${ref.namespace}, the policy's own namespace`);
    }
    const total = readLimit(spec.get('total'), REQUESTS_PER_SECOND_MAX);
    const max = total ?? REQUESTS_PER_SECOND_MAX;
    const overrides = spec.get('overrides').items();
    return {
      ref,
      serverName: target?.name ?? '',
      total,
      identity: readLimit(spec.get('identity'), max),
      overrides: overrides.map((item) => readOverride(item, max, ref.namespace)),
    };
  });
}

function readLimit(field: Field, max: number): number | undefined {
  return field.only('requestsPerSecond').object() ? readRequestsPerSecond(field, max) : undefined;
}

function readRequestsPerSecond(field: Field, max: number): number | undefined {
  const value = field.get('requestsPerSecond');
  const allowed = max < REQUESTS_PER_SECOND_MAX ? `1 to ${max}, the total` : `1 to ${max}`;
  return value.isSet ? value.integer(1, max, allowed) : value.refuse(allowed);
}

function readOverride(field: Field, max: number, namespace: string): RateLimitOverride {
  const refs = field.only('requestsPerSecond', 'clientRefs').get('clientRefs');
  if (!refs.isSet) refs.refuse('a list of ServiceAccounts');
  return {
    requestsPerSecond: readRequestsPerSecond(field, max) ?? 1,
    serviceAccounts: refs.items('a list of ServiceAccounts').flatMap((item) => {
      const found = readTargetRef(item, [SERVICE_ACCOUNT]);
      return found ? [{ namespace: found.namespace ?? namespace, name: found.name }] : [];
    }),
  };
}
