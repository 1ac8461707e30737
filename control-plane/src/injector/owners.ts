/** The workload at the top of a pod's owners: Deployment of its ReplicaSet, CronJob of its Job, or the owner itself. */
import { JOBS, type Kind, type KubeObject, MeshError, type OwnerReference, REPLICA_SETS } from '@tulle/api';
import type { Client } from '@tulle/client';
import type { Owner } from './review.ts';

/** Pods of one rollout ask for the same few owners; the oldest goes first. */
const CACHE_MAX = 1000;
const MIDDLE: Record<string, Kind> = { ReplicaSet: REPLICA_SETS, Job: JOBS };

export function createOwnerLookup(client: Pick<Client, 'get'>) {
  const cache = new Map<string, Owner>();

  return async function ownerOf(pod: KubeObject, namespace: string): Promise<Owner | undefined> {
    const direct = controllerOf(pod);
    if (!direct) return undefined;
    const kind = MIDDLE[direct.kind];
    if (!kind) return toOwner(direct);
    const known = cache.get(direct.uid);
    if (known) return known;
    let owner = toOwner(direct);
    try {
      const above = controllerOf(await client.get<KubeObject>(kind, direct.name, namespace));
      if (above) owner = toOwner(above);
    } catch (error) {
      // Without it the pod is still injected, labelled with the owner that it names itself.
      if (MeshError.from(error).code !== 'NOT_FOUND') return owner;
    }
    if (cache.size >= CACHE_MAX) cache.delete(cache.keys().next().value!);
    cache.set(direct.uid, owner);
    return owner;
  };
}

const controllerOf = (object: KubeObject): OwnerReference | undefined =>
  object.metadata?.ownerReferences?.find(({ controller }) => controller);

const toOwner = ({ apiVersion, kind, name, uid }: OwnerReference): Owner => ({ apiVersion, kind, name, uid });
