/**
 * Which object of the cluster something came from. Every parsed form of a resource starts with one, so that answers can
 * say whose they are and that of two objects the older can win.
 */
import type { Kind } from './kinds.ts';
import type { KubeObject } from './kubernetes.ts';

export interface ObjectRef {
  /** Empty for the core group. */
  readonly group: string;
  readonly kind: string;
  /** Empty for a kind without namespaces. */
  readonly namespace: string;
  readonly name: string;
  /** An object that no API server has stored yet is younger than every other. */
  readonly createdAtMs: number;
}

/** `kind` says what a list's items leave out. */
export function objectRef(object: KubeObject, kind: Kind): ObjectRef {
  const { name, namespace } = object.metadata;
  const createdAtMs = Date.parse(String(object.metadata.creationTimestamp ?? ''));
  return {
    group: groupOf(kind.apiVersion),
    kind: kind.kind,
    namespace: kind.namespaced ? (namespace ?? 'default') : '',
    name,
    createdAtMs: Number.isNaN(createdAtMs) ? Number.MAX_SAFE_INTEGER : createdAtMs,
  };
}

/** The group of an `apiVersion`: empty for `v1`. */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}

/** `group/Kind/namespace/name`: one text per object. */
export function refKey({ group, kind, namespace, name }: Omit<ObjectRef, 'createdAtMs'>): string {
  return `${group}/${kind}/${namespace}/${name}`;
}

/** Orders the older object first, of equally old ones that whose namespace and name come first. */
export function byAge(a: ObjectRef, b: ObjectRef): number {
  return a.createdAtMs - b.createdAtMs || compareText(a.namespace, b.namespace) || compareText(a.name, b.name);
}

/** As bytes, whatever the locale. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
