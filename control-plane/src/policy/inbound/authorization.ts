/** Who is let in, as proxies decide it: by the client's address and by what its connection proves. */

import type { IpNetwork } from '@tulle/api/ip-address.ts';
import type { ObjectRef } from '@tulle/api/object-ref.ts';
import type { IdentityMatch } from '@tulle/api/policy/identity-match.ts';
import type { NetworkMatch } from '@tulle/api/policy/network.ts';
import type { AccessPolicy } from '@tulle/api/policy/server.ts';
import type { NamespacedName } from '@tulle/api/policy/target-ref.ts';
import { identityName } from '../../workloads/mesh-names.ts';

/** An object, or the name of a default that no object describes. */
export type PolicySource = ObjectRef | string;

export interface Authorization {
  readonly source: PolicySource;
  /** One of them must hold; never empty. */
  readonly networks: readonly NetworkMatch[];
  readonly clients: Clients;
}

export type Clients =
  | { readonly kind: 'unauthenticated' }
  /** Over mesh TLS, with or without a certificate. */
  | { readonly kind: 'tls' }
  /** With one of these identities; never empty. */
  | { readonly kind: 'mesh'; readonly identities: readonly IdentityMatch[] };

/** What identities are made of. */
export interface IdentityDomain {
  controllerNamespace: string;
  trustDomain: string;
}

export const ALL_NETWORKS: readonly IpNetwork[] = [
  { address: { family: 4, value: 0n }, prefixLength: 0 },
  { address: { family: 6, value: 0n }, prefixLength: 0 },
];

export const ANY_IDENTITY: IdentityMatch = { kind: 'suffix', parts: [] };

export function wholeNetworks(networks: readonly IpNetwork[]): NetworkMatch[] {
  return networks.map((network) => ({ network, except: [] }));
}

/** What a default lets in; nothing for `deny`. */
export function accessPolicyAuthorizations(
  policy: AccessPolicy,
  clusterNetworks: readonly IpNetwork[],
): readonly Authorization[] {
  if (policy === 'deny') return [];
  const networks = wholeNetworks(policy.startsWith('cluster-') ? clusterNetworks : ALL_NETWORKS);
  // Without a network of the cluster nobody is of it.
  if (networks.length === 0) return [];
  const clients: Clients = policy.endsWith('-authenticated')
    ? { kind: 'mesh', identities: [ANY_IDENTITY] }
    : { kind: 'unauthenticated' };
  return [{ source: policy, networks, clients }];
}

export function serviceAccountIdentity({ name, namespace }: NamespacedName, domain: IdentityDomain): IdentityMatch {
  return { kind: 'exact', name: identityName(name, namespace, domain) };
}

/** Every ServiceAccount of a namespace. */
export function namespaceIdentity(namespace: string, domain: IdentityDomain): IdentityMatch {
  // The name of an account comes before the first dot: what is left is the suffix.
  return { kind: 'suffix', parts: identityName('', namespace, domain).split('.').slice(1) };
}
