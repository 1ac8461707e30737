/** The objects that arguments name, as `deploy/web` in a namespace, and what is said where they are not there. */
import { type KubeObject, MeshError, NAMESPACES } from '@tulle/api';
import type { Client } from '@tulle/client';
import { parseResources, type Resource } from './resource.ts';

export interface NamedObject {
  resource: Resource;
  object: KubeObject;
}

/** `namespace` undefined: of all. @throws MeshError `NOT_FOUND` that says whether it is the object or its namespace. */
export async function namedObjects(
  client: Client,
  words: readonly string[],
  namespace: string | undefined,
): Promise<NamedObject[]> {
  const found = await Promise.all(
    parseResources(words).map(async (resource) => {
      const scope = resource.kind.namespaced ? namespace : undefined;
      const { items } = await client.list<KubeObject>(resource.kind, scope ? { namespace: scope } : {});
      const objects = items.filter(({ metadata }) => resource.name === undefined || metadata.name === resource.name);
      if (objects.length === 0 && scope !== undefined) await requireNamespace(client, scope);
      if (objects.length === 0 && resource.name !== undefined) {
        const where = scope ? ` in namespace ${scope}` : '';
        throw new MeshError('NOT_FOUND', `there is no ${resource.label} ${resource.name}${where}`);
      }
      return objects.map((object) => ({ resource, object }));
    }),
  );
  return found.flat();
}

/** @throws MeshError `NOT_FOUND` where there is no such namespace; a caller who may not look is not told. */
export async function requireNamespace(client: Pick<Client, 'get'>, namespace: string): Promise<void> {
  try {
    await client.get(NAMESPACES, namespace);
  } catch (cause) {
    if (MeshError.from(cause).code !== 'NOT_FOUND') return;
    throw new MeshError('NOT_FOUND', `there is no namespace ${namespace}`, { cause });
  }
}
