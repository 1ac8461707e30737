/** The kinds that are served now: the built-in ones and those of CustomResourceDefinitions, which come and go. */
import type { Resource } from './resource.ts';
import { apiVersionOf } from './resource.ts';

export class Registry {
  #byPath = new Map<string, Resource>();
  /** Counts changes, so that what is computed from the whole can be cached. */
  generation = 0;
  #listeners: (() => void)[] = [];

  constructor(resources: Iterable<Resource>) {
    for (const resource of resources) this.add(resource);
  }

  add(resource: Resource): void {
    this.#byPath.set(pathOf(resource.group, resource.version, resource.plural), resource);
    this.#changed();
  }

  remove(resource: Resource): void {
    if (this.#byPath.delete(pathOf(resource.group, resource.version, resource.plural))) this.#changed();
  }

  /** Calls back after each change, for as long as the registry is there. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #changed(): void {
    this.generation++;
    for (const listener of this.#listeners) listener();
  }

  find(group: string, version: string, plural: string): Resource | undefined {
    return this.#byPath.get(pathOf(group, version, plural));
  }

  findKind(apiVersion: string, kind: string): Resource | undefined {
    for (const resource of this.#byPath.values()) {
      if (resource.kind === kind && apiVersionOf(resource) === apiVersion) return resource;
    }
    return undefined;
  }

  /** The kind in any version of its group. */
  findGroupKind(group: string, kind: string): Resource | undefined {
    for (const resource of this.#byPath.values()) {
      if (resource.kind === kind && resource.group === group) return resource;
    }
    return undefined;
  }

  all(): Resource[] {
    return [...this.#byPath.values()];
  }

  /** One resource per collection of the store. */
  collections(): Resource[] {
    const seen = new Map<string, Resource>();
    for (const resource of this.#byPath.values()) if (!seen.has(resource.storage)) seen.set(resource.storage, resource);
    return [...seen.values()];
  }
}

function pathOf(group: string, version: string, plural: string): string {
  return `${group}/${version}/${plural}`;
}
