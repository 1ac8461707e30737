/**
 * ServiceProfiles and the TrafficSplits that change them: what a profile says of a Service to the clients of a
 * namespace. Pure.
 */
import type { KubeObject } from '@tulle/api';
import { byAge, type ObjectRef } from '@tulle/api/object-ref.ts';
import { parseServiceProfile, type ServiceProfile, type WeightedAuthority } from '@tulle/api/service-profile.ts';
import { parseTrafficSplit, type TrafficSplit } from '@tulle/api/smi/traffic-split.ts';
import { MultiMap } from '../workloads/multi-map.ts';
import type { Topic } from '../workloads/workload-index.ts';

/** A profile after the splits of its Service. */
export type EffectiveProfile = Omit<ServiceProfile, 'dstOverrides'> & {
  dstOverrides: readonly WeightedAuthority[];
  /** The split that `dstOverrides` are from. */
  split?: ObjectRef;
};

export interface ProfileEvent {
  kind: 'ServiceProfile' | 'TrafficSplit';
  type: 'set' | 'delete';
  object: KubeObject;
}

/** Keeps splits from changing a profile. */
const SKIP_ANNOTATION = 'smi.linkerd.io/skip';

interface Stored {
  profile: ServiceProfile;
  isSplit: boolean;
}

export class ProfileIndex {
  readonly #clusterDomain: string;
  /** By `namespace/name.namespace.svc.domain`. */
  readonly #profiles = new Map<string, Stored>();
  /** By `namespace/name` of the split. */
  readonly #splits = new Map<string, TrafficSplit>();
  /** Keys of splits by the key of the profile that they change. */
  readonly #splitsByProfile = new MultiMap<string, string>();

  constructor(clusterDomain: string) {
    this.#clusterDomain = clusterDomain;
  }

  /** @throws MeshError when the object cannot be read. */
  apply({ kind, type, object }: ProfileEvent): ReadonlySet<Topic> {
    const key = `${object.metadata.namespace ?? 'default'}/${object.metadata.name}`;
    if (kind === 'TrafficSplit') return this.#replaceSplit(key, type === 'set' ? parseTrafficSplit(object) : undefined);
    if (type === 'set') {
      const isSplit = object.metadata.annotations?.[SKIP_ANNOTATION] === undefined;
      this.#profiles.set(key, { profile: parseServiceProfile(object), isSplit });
    } else this.#profiles.delete(key);
    return new Set([`profile/${key}` as const]);
  }

  /** The client's namespace has the first word, then the Service's. */
  find(
    service: { namespace: string; name: string },
    clientNamespace: string | undefined,
  ): EffectiveProfile | undefined {
    for (const namespace of new Set([clientNamespace, service.namespace])) {
      const found = namespace === undefined ? undefined : this.#effective(this.#keyOf(service, namespace));
      if (found) return found;
    }
    return undefined;
  }

  /** The topics of what `find` answers. */
  topics(service: { namespace: string; name: string }, clientNamespace: string | undefined): Topic[] {
    const namespaces = new Set([clientNamespace ?? service.namespace, service.namespace]);
    return [...namespaces].map((namespace): Topic => `profile/${this.#keyOf(service, namespace)}`);
  }

  sizes(): Record<string, number> {
    return {
      serviceProfiles: this.#profiles.size,
      trafficSplits: this.#splits.size,
      splitsByProfile: this.#splitsByProfile.size,
    };
  }

  #keyOf(service: { namespace: string; name: string }, namespace: string): string {
    return `${namespace}/${service.name}.${service.namespace}.svc.${this.#clusterDomain}`;
  }

  #effective(key: string): EffectiveProfile | undefined {
    const stored = this.#profiles.get(key);
    const splits = [...this.#splitsByProfile.get(key)].map((each) => this.#splits.get(each)!);
    const [split] = splits.sort((a, b) => byAge(a.ref, b.ref));
    if (!split || stored?.isSplit === false) return stored?.profile;
    // A split of some requests is the Service's policy, which a profile with overrides would hide.
    if (splits.some(({ groups }) => groups.length > 0)) return stored && { ...stored.profile, dstOverrides: [] };
    const dstOverrides = split.backends.map(({ service, weight }) => ({
      authority: `${service}.${split.ref.namespace}.svc.${this.#clusterDomain}`,
      weight,
    }));
    const base = stored?.profile ?? { ref: split.ref, routes: [], opaquePorts: [] };
    return { ...base, dstOverrides, split: split.ref };
  }

  #replaceSplit(key: string, split: TrafficSplit | undefined): ReadonlySet<Topic> {
    const topics = new Set<Topic>();
    const old = this.#splits.get(key);
    for (const each of [old, split]) {
      if (!each) continue;
      const profileKey = this.#keyOf({ namespace: each.ref.namespace, name: each.service }, each.ref.namespace);
      if (each === split) this.#splitsByProfile.add(profileKey, key);
      else this.#splitsByProfile.delete(profileKey, key);
      topics.add(`profile/${profileKey}`);
    }
    if (split) this.#splits.set(key, split);
    else this.#splits.delete(key);
    return topics;
  }
}
