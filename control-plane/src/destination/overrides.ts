/** Where the overrides of a profile lead. */
import { parseAuthority, type ServiceAuthority } from '../workloads/authority.ts';
import type { EffectiveProfile } from './profile-index.ts';

export interface Override {
  /** `name:port`; the port is the one that was asked for where the profile gives none. */
  authority: string;
  weight: number;
  /** Undefined where the authority is no Service of this cluster: the proxy finds it by DNS. */
  service?: ServiceAuthority;
}

export function overridesOf(profile: EffectiveProfile, port: number, clusterDomain: string): Override[] {
  return profile.dstOverrides.map(({ authority: written, weight }) => {
    const authority = /:\d+$/.test(written) ? written : `${written}:${port}`;
    return { authority, weight, service: serviceOf(authority, clusterDomain) };
  });
}

function serviceOf(authority: string, clusterDomain: string): ServiceAuthority | undefined {
  try {
    const parsed = parseAuthority(authority, clusterDomain);
    return parsed.kind === 'service' && parsed.hostname === undefined ? parsed : undefined;
  } catch {
    // A name elsewhere.
    return undefined;
  }
}
