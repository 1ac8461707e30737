/** The objects that arguments name, as `deploy/web` in a namespace, and what is said where they are not there. */
import { type KubeObject, MeshError, NAMESPACES, type Pod } from '@tulle/api';
import type { Client } from '@tulle/client';
import { belongsTo, isAlive, listPods } from './mesh-pods.ts';
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
      const { kind, name } = resource;
      const scope = kind.namespaced ? namespace : undefined;
      if (name !== undefined && (scope !== undefined || !kind.namespaced)) {
        return [{ resource, object: await getNamed(client, { ...resource, name }, scope) }];
      }
      const { items } = await client.list<KubeObject>(kind, scope ? { namespace: scope } : {});
      const objects = items.filter(({ metadata }) => name === undefined || metadata.name === name);
      if (objects.length === 0) await refuseMissing(client, resource, scope);
      return objects.map((object) => ({ resource, object }));
    }),
  );
  return found.flat();
}

/** The pods that run of what is named. @throws MeshError as `namedObjects`. */
export async function namedPods(client: Client, words: readonly string[], namespace: string): Promise<Pod[]> {
  const named = await namedObjects(client, words, namespace);
  const isAnywhere = named.some(({ resource }) => !resource.kind.namespaced);
  const pods = await listPods(client, isAnywhere ? undefined : namespace);
  return pods.filter((pod) => isAlive(pod) && named.some(({ resource, object }) => belongsTo(pod, resource, object)));
}

/** @throws MeshError as `namedObjects`. */
export async function getNamed(
  client: Client,
  resource: Resource & { name: string },
  namespace: string | undefined,
): Promise<KubeObject> {
  try {
    return await client.get<KubeObject>(resource.kind, resource.name, namespace);
  } catch (error) {
    if (MeshError.from(error).code === 'NOT_FOUND') await refuseMissing(client, resource, namespace);
    throw error;
  }
}

async function refuseMissing(client: Client, { label, name }: Resource, namespace: string | undefined): Promise<void> {
  if (namespace !== undefined) await requireNamespace(client, namespace);
  if (name === undefined) return;
  throw new MeshError('NOT_FOUND', `there is no ${label} ${name}${namespace ? ` in namespace ${namespace}` : ''}`);
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
