/**
 * What a route's status depends on, read from the object as it is: parents, backends, and what only our own proxy does.
 * Lenient, for a route that the mesh cannot read still gets a status that says so.
 */
import type { KubeObject } from '@tulle/api';

export const POLICY_GROUP = 'policy.linkerd.io';
const GATEWAY_GROUP = 'gateway.networking.k8s.io';

export interface ParentRef {
  group: string;
  kind: string;
  namespace: string;
  name: string;
  port?: number;
  sectionName?: string;
  /** As in the object's spec, for the status to repeat. */
  raw: object;
}

export interface BackendRef {
  group: string;
  kind: string;
  namespace: string;
  name: string;
  /** Such as `spec.rules[0].backendRefs[1]`. */
  field: string;
}

export interface Route {
  /** `group/kind/namespace/name`. */
  key: string;
  group: string;
  kind: string;
  namespace: string;
  name: string;
  createdAt: string;
  parents: readonly ParentRef[];
  backends: readonly BackendRef[];
  /** Such as `spec.rules[0].filters[0] (URLRewrite)`. */
  extensions: readonly string[];
  /** Why the mesh cannot read it. */
  problem?: string;
  object: KubeObject;
}

/** `group/kind/namespace/name` of an object that has its type. */
export function statusKey({ apiVersion = '', kind = '', metadata }: KubeObject): string {
  return `${apiVersion.split('/')[0]}/${kind}/${metadata.namespace ?? ''}/${metadata.name}`;
}

export function readRoute(object: KubeObject, problem?: string): Route {
  const key = statusKey(object);
  const [group, kind, namespace, name] = key.split('/') as [string, string, string, string];
  const backends: BackendRef[] = [];
  const extensions: string[] = [];
  const readFilters = (filters: unknown, field: string) => {
    for (const [i, filter] of list(filters).entries()) {
      const at = `${field}.filters[${i}]`;
      if (OWN_FILTERS.has(text(filter.type))) extensions.push(`${at} (${filter.type})`);
      const mirror = fields(filter.requestMirror).backendRef;
      if (mirror) backends.push(readBackend(fields(mirror), namespace, `${at}.requestMirror.backendRef`));
    }
  };
  for (const [i, rule] of list(object.spec?.rules).entries()) {
    const at = `spec.rules[${i}]`;
    readFilters(rule.filters, at);
    if (rule.sessionPersistence) extensions.push(`${at}.sessionPersistence`);
    for (const [j, backend] of list(rule.backendRefs).entries()) {
      const field = `${at}.backendRefs[${j}]`;
      backends.push(readBackend(backend, namespace, field));
      readFilters(backend.filters, field);
    }
  }
  return {
    key,
    group,
    kind,
    namespace,
    name,
    createdAt: String(object.metadata.creationTimestamp ?? ''),
    parents: list(object.spec?.parentRefs).map((ref) => readParentRef(ref, group, namespace)),
    backends,
    extensions,
    ...(problem === undefined ? {} : { problem }),
    object,
  };
}

/** Defaults are those of the route's own group: `Gateway` of `gateway.networking.k8s.io`, or of `policy.linkerd.io`. */
export function readParentRef(ref: Fields, routeGroup: string, routeNamespace: string): ParentRef {
  return {
    group: normalGroup(ref.group ?? routeGroup),
    kind: text(ref.kind) || 'Gateway',
    namespace: text(ref.namespace) || routeNamespace,
    name: text(ref.name),
    ...(typeof ref.port === 'number' ? { port: ref.port } : {}),
    ...(text(ref.sectionName) ? { sectionName: text(ref.sectionName) } : {}),
    raw: ref,
  };
}

export function isSameParent(a: ParentRef, b: ParentRef): boolean {
  return PARENT_FIELDS.every((field) => a[field] === b[field]);
}

/** Routes of the Gateway API need a ReferenceGrant to name a backend elsewhere; those of the mesh's own group do not. */
export const needsGrant = ({ group }: Route): boolean => group === GATEWAY_GROUP;

const PARENT_FIELDS = ['group', 'kind', 'namespace', 'name', 'port', 'sectionName'] as const;
/** Filters that a stock proxy does not have. */
const OWN_FILTERS = new Set(['URLRewrite', 'RequestMirror']);

function readBackend(ref: Fields, routeNamespace: string, field: string): BackendRef {
  return {
    group: normalGroup(ref.group ?? ''),
    kind: text(ref.kind) || 'Service',
    namespace: text(ref.namespace) || routeNamespace,
    name: text(ref.name),
    field,
  };
}

type Fields = Record<string, unknown>;

/** `core` is how people write the group whose name is empty. */
const normalGroup = (group: unknown): string => (group === 'core' ? '' : text(group));
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const fields = (value: unknown): Fields => (value && typeof value === 'object' ? (value as Fields) : {});
const list = (value: unknown): Fields[] => (Array.isArray(value) ? value.map(fields) : []);
