/**
 * The control plane's own ports. Without them the mesh could neither change a policy nor prove who anybody is, so what
 * users write does not reach them: proxies must get certificates and answers, and the API server its reviews.
 */
import type { IdentityMatch } from '@tulle/api/policy/identity-match.ts';
import type { Pod } from '../../workloads/pod.ts';
import { ALL_NETWORKS, ANY_IDENTITY, type Authorization, wholeNetworks } from './authorization.ts';

export interface ControlPlanePorts {
  identity: number;
  destination: number;
  policy: number;
  /** Where the API server calls the injector and the validators, by TLS of its own. */
  webhooks: readonly number[];
}

export function isControlPlane(pod: Pod, controllerNamespace: string): boolean {
  return pod.namespace === controllerNamespace && pod.component !== undefined;
}

/**
 * Undefined for a port that is not one of the services'. `externalIdentities` are those of workloads outside the cluster: to
 * proxies "any identity" means any that is like a DNS name, and SPIFFE ids have to be spelled out.
 */
export function controlPlaneAuthorization(
  ports: ControlPlanePorts,
  port: number,
  externalIdentities: readonly string[],
): Authorization | undefined {
  const networks = wholeNetworks(ALL_NETWORKS);
  // A proxy has no certificate yet when it asks for its first; it has one when it asks for anything else.
  if (port === ports.identity) return { source: 'all-tls-unauthenticated', networks, clients: { kind: 'tls' } };
  if (port === ports.destination || port === ports.policy) {
    const spelled = externalIdentities.map((name): IdentityMatch => ({ kind: 'exact', name }));
    return { source: 'all-authenticated', networks, clients: { kind: 'mesh', identities: [ANY_IDENTITY, ...spelled] } };
  }
  if (!ports.webhooks.includes(port)) return undefined;
  return { source: 'all-unauthenticated', networks, clients: { kind: 'unauthenticated' } };
}
