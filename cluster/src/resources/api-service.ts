/** APIServices, read-only: one for each group and version that is served, all of them served here. */
import { randomUUID } from 'node:crypto';
import type { ApiContext } from '../apiserver/context.ts';
import { rfc3339 } from '../apiserver/write.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { defineResource } from './define.ts';
import type { Resource } from './resource.ts';

export const apiServices: Resource = defineResource({
  group: 'apiregistration.k8s.io',
  version: 'v1',
  kind: 'APIService',
  plural: 'apiservices',
  namespaced: false,
  verbs: ['get', 'list', 'watch'],
  hasStatus: false,
  hasGeneration: false,
  categories: ['api-extensions'],
  columns: [
    nameColumn,
    { name: 'Service', value: () => 'Local' },
    { name: 'Available', value: () => 'True' },
    ageColumn,
  ],
});

/** Keeps them as the registry is, from now on. */
export function publishApiServices(context: ApiContext): void {
  publish(context);
  context.registry.onChange(() => publish(context));
}

function publish({ store, registry, now }: ApiContext): void {
  const wanted = new Map(registry.all().map(({ group, version }) => [`${version}.${group}`, { group, version }]));
  for (const entry of store.list(apiServices.storage))
    if (!wanted.has(entry.name)) store.delete(apiServices.storage, entry);
  for (const [name, { group, version }] of wanted) {
    if (store.get(apiServices.storage, name) !== undefined) continue;
    const time = rfc3339(now());
    const condition = {
      type: 'Available',
      status: 'True',
      reason: 'Local',
      message: 'Local APIServices are always available',
      lastTransitionTime: time,
    };
    const object = {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: {
        name,
        uid: randomUUID(),
        creationTimestamp: time,
        resourceVersion: '',
        labels: { 'kube-aggregator.kubernetes.io/automanaged': 'onstart' },
      },
      spec: { group, version, groupPriorityMinimum: 1000, versionPriority: 100 },
      status: { conditions: [condition] },
    };
    store.put(apiServices.storage, object, undefined);
  }
}
