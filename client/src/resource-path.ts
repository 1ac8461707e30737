/** Paths of the Kubernetes API. */

import { type Kind, MeshError } from '@tulle/api';

/** `/api/v1` or `/apis/GROUP/VERSION`. */
export function groupPath(apiVersion: string): string {
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

/** The path of a kind's objects: of one namespace, or of all when it is undefined. */
export function collectionPath(kind: Kind, namespace?: string): string {
  const scope = kind.namespaced && namespace ? `/namespaces/${segment(namespace)}` : '';
  return `${groupPath(kind.apiVersion)}${scope}/${kind.plural}`;
}

/** The path of one object, or of a sub-resource of it. */
export function objectPath(kind: Kind, name: string, namespace: string | undefined, subresource?: string): string {
  if (kind.namespaced && !namespace) {
    throw new MeshError('INVALID_ARGUMENT', `${kind.kind} ${name}: a namespace is needed`);
  }
  return `${collectionPath(kind, namespace)}/${segment(name)}${subresource ? `/${subresource}` : ''}`;
}

function segment(name: string): string {
  if (name === '' || name === '.' || name === '..') {
    throw new MeshError('INVALID_ARGUMENT', `${JSON.stringify(name)} is not the name of an object`);
  }
  return encodeURIComponent(name);
}
