/** The kinds that an API server has, asked for once per group version and again when a kind is not found. */

import { type Kind, MeshError } from '@tulle/api';
import { groupPath } from './resource-path.ts';
import type { Transport } from './transport.ts';

/** A kind as the server describes it, in its preferred version. */
export interface ServedKind extends Kind {
  verbs: string[];
}

export interface Discovery {
  /** @throws MeshError `NOT_FOUND` when the server does not have the kind. */
  kindFor(apiVersion: string, kind: string): Promise<ServedKind>;
  /** Every kind with a path of its own; a group that does not answer (an aggregated API that is down) is left out. */
  kinds(): Promise<ServedKind[]>;
  /**
   * Each kind in the version that the server has of it: the one asked for, else the first of its group. Undefined
   * where it has none. Asks anew each time; throws rather than take a server that fails for one that lacks the kind.
   */
  findServed(wanted: readonly Kind[]): Promise<(Kind | undefined)[]>;
}

interface ResourceList {
  resources: Array<{ name: string; kind: string; namespaced: boolean; verbs: string[] }>;
}

/** Far above what a cluster has; keeps a misbehaving server from filling memory. */
const GROUP_VERSIONS_MAX = 2_000;

export function createDiscovery(transport: Transport): Discovery {
  const known = new Map<string, Promise<ServedKind[]>>();

  function load(apiVersion: string): Promise<ServedKind[]> {
    if (known.size >= GROUP_VERSIONS_MAX) known.clear();
    const kinds = fetchKinds(transport, apiVersion);
    known.set(apiVersion, kinds);
    kinds.catch(() => known.get(apiVersion) === kinds && known.delete(apiVersion));
    return kinds;
  }

  return {
    async kindFor(apiVersion, kind) {
      const cached = await known.get(apiVersion);
      const found = cached?.find((candidate) => candidate.kind === kind);
      if (found) return found;
      const fresh = (await load(apiVersion)).find((candidate) => candidate.kind === kind);
      if (fresh) return fresh;
      throw new MeshError('NOT_FOUND', `find kind ${kind} in ${apiVersion}: the API server does not have it`);
    },

    async kinds() {
      const [core, groups] = await Promise.all([
        transport.request('GET', '/api').then((answer) => answer.json<{ versions: string[] }>()),
        transport
          .request('GET', '/apis')
          .then((answer) => answer.json<{ groups: Array<{ preferredVersion: { groupVersion: string } }> }>()),
      ]);
      const versions = [...core.versions, ...groups.groups.map((group) => group.preferredVersion.groupVersion)];
      const lists = await Promise.allSettled(versions.map(load));
      return lists.flatMap((list) => (list.status === 'fulfilled' ? list.value : []));
    },

    async findServed(wanted) {
      const answer = await transport.request('GET', '/apis');
      const { groups } = await answer.json<{
        groups: Array<{ name: string; versions: Array<{ groupVersion: string }> }>;
      }>();
      const versions = new Map(groups.map((group) => [group.name, group.versions.map((each) => each.groupVersion)]));
      const lists = new Map<string, Promise<ServedKind[]>>();
      const listOf = (apiVersion: string) => {
        const list = lists.get(apiVersion) ?? fetchKinds(transport, apiVersion);
        lists.set(apiVersion, list);
        return list;
      };
      return Promise.all(
        wanted.map(async (kind) => {
          const served = versions.get(kind.apiVersion.split('/')[0]!) ?? [];
          const candidates = [kind.apiVersion, ...served.filter((each) => each !== kind.apiVersion)];
          for (const apiVersion of candidates.filter((each) => served.includes(each))) {
            if ((await listOf(apiVersion)).some((each) => each.plural === kind.plural)) return { ...kind, apiVersion };
          }
          return undefined;
        }),
      );
    },
  };
}

async function fetchKinds(transport: Transport, apiVersion: string): Promise<ServedKind[]> {
  const answer = await transport.request('GET', groupPath(apiVersion));
  const { resources } = await answer.json<ResourceList>();
  return resources
    .filter((resource) => !resource.name.includes('/'))
    .map(({ kind, name, namespaced, verbs }) => ({ apiVersion, kind, plural: name, namespaced, verbs }));
}
