/**
 * What a proxy says of itself, words that the injector put into its environment: JSON, or `ns:NAME` and `NAMESPACE:POD`
 * of old proxies.
 */
import { MeshError } from '@tulle/api';

export interface ClientContext {
  namespace?: string;
  nodeName?: string;
  pod?: string;
}

/** A destination request's `context_token`. What cannot be read is nothing: it only makes answers more local. */
export function parseContextToken(token: string): ClientContext {
  if (token.startsWith('ns:')) return { namespace: token.slice(3) };
  const fields = parseObject(token);
  return { namespace: text(fields?.ns), nodeName: text(fields?.nodeName), pod: text(fields?.pod) };
}

/** A policy request's workload. Throws where it does not name a pod. */
export function parseWorkload(workload: string): { namespace: string; pod: string } {
  const fields = parseObject(workload);
  const [namespace, pod, ...rest] = fields ? [text(fields.ns), text(fields.pod)] : workload.split(':');
  if (!namespace || !pod || rest.length > 0) {
    throw new MeshError('INVALID_ARGUMENT', `read workload "${workload.slice(0, 200)}": no namespace and pod`);
  }
  return { namespace, pod };
}

function parseObject(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // Not JSON: the caller reads the old form.
    return undefined;
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
