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

export interface WorkloadName {
  kind: 'Pod' | 'ExternalWorkload';
  namespace: string;
  name: string;
}

/** What an error quotes of a workload that it cannot read. */
const WORKLOAD_CHARACTERS_TOLD = 200;

/** A destination request's `context_token`. What cannot be read is nothing: it only makes answers more local. */
export function parseContextToken(token: string): ClientContext {
  if (token.startsWith('ns:')) return { namespace: token.slice(3) };
  const fields = parseObject(token);
  return { namespace: text(fields?.ns), nodeName: text(fields?.nodeName), pod: text(fields?.pod) };
}

/** A policy request's workload. Throws where it names neither a pod nor an external workload. */
export function parseWorkload(workload: string): WorkloadName {
  const fields = parseObject(workload);
  if (!fields) {
    const [namespace, name, ...rest] = workload.split(':');
    if (namespace && name && rest.length === 0) return { kind: 'Pod', namespace, name };
  } else {
    const namespace = text(fields.ns);
    const pod = text(fields.pod);
    const external = text(fields.external_workload);
    if (namespace && pod && !external) return { kind: 'Pod', namespace, name: pod };
    if (namespace && external && !pod) return { kind: 'ExternalWorkload', namespace, name: external };
  }
  const found = workload.slice(0, WORKLOAD_CHARACTERS_TOLD);
  throw new MeshError('INVALID_ARGUMENT', `read workload "${found}": no namespace with a pod or an external workload`);
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
