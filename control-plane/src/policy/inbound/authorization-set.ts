/**
 * The objects that authorize, by what they authorize. An object that cannot be read authorizes nobody, as one does that
 * asks for an authentication that does not exist.
 */
import { type KubeObject, MeshError } from '@tulle/api';
import type { IpNetwork } from '@tulle/api/ip-address.ts';
import { type Labels, selectorMatches } from '@tulle/api/label-selector.ts';
import { type ObjectRef, refKey } from '@tulle/api/object-ref.ts';
import {
  type AuthorizationPolicy,
  parseAuthorizationPolicy,
  type RequiredAuthentication,
} from '@tulle/api/policy/authorization-policy.ts';
import type { IdentityMatch } from '@tulle/api/policy/identity-match.ts';
import { type MeshTLSAuthentication, parseMeshTLSAuthentication } from '@tulle/api/policy/mesh-tls-authentication.ts';
import type { NetworkMatch } from '@tulle/api/policy/network.ts';
import { type NetworkAuthentication, parseNetworkAuthentication } from '@tulle/api/policy/network-authentication.ts';
import { parseServerAuthorization, type ServerAuthorization } from '@tulle/api/policy/server-authorization.ts';
import { POLICY_GROUP } from '@tulle/api/policy/target-ref.ts';
import { MultiMap } from '../../workloads/multi-map.ts';
import {
  ALL_NETWORKS,
  type Authorization,
  type Clients,
  type IdentityDomain,
  namespaceIdentity,
  serviceAccountIdentity,
  wholeNetworks,
} from './authorization.ts';

const PARSERS = {
  ServerAuthorization: parseServerAuthorization,
  AuthorizationPolicy: parseAuthorizationPolicy,
  MeshTLSAuthentication: parseMeshTLSAuthentication,
  NetworkAuthentication: parseNetworkAuthentication,
};
export type AuthorizationKind = keyof typeof PARSERS;

/** What an event may have changed the authorizations of. */
export type AuthorizationTarget =
  /** The Server of that key. */
  | { kind: 'server'; key: string }
  /** Every Server of the namespace. */
  | { kind: 'namespace'; namespace: string }
  /** The route of that `refKey`. */
  | { kind: 'route'; key: string };

export interface AuthorizationSettings extends IdentityDomain {
  clusterNetworks: readonly IpNetwork[];
}

/** Authorizations, and what would be one and is not: `problem` says why. */
export interface Resolved {
  authorizations: Authorization[];
  ineffective: { source: ObjectRef; problem: string }[];
}

export class AuthorizationSet {
  readonly #settings: AuthorizationSettings;
  readonly #serverAuthorizations = new Map<string, ServerAuthorization>();
  readonly #policies = new Map<string, AuthorizationPolicy>();
  readonly #meshTls = new Map<string, MeshTLSAuthentication>();
  readonly #networks = new Map<string, NetworkAuthentication>();
  /** What could not be read, by `Kind/namespace/name`. */
  readonly #refused = new Map<string, string>();
  readonly #serverAuthorizationsByTarget = new MultiMap<string, string>();
  readonly #policiesByTarget = new MultiMap<string, string>();
  readonly #policiesByAuthentication = new MultiMap<string, string>();

  constructor(settings: AuthorizationSettings) {
    this.#settings = settings;
  }

  apply(kind: AuthorizationKind, key: string, object: KubeObject | undefined): AuthorizationTarget[] {
    const parsed = object && this.#parse(kind, key, object);
    if (!object) this.#refused.delete(`${kind}/${key}`);
    switch (kind) {
      case 'ServerAuthorization':
        return this.#replaceServerAuthorization(key, parsed as ServerAuthorization | undefined);
      case 'AuthorizationPolicy':
        return this.#replacePolicy(key, parsed as AuthorizationPolicy | undefined);
      case 'MeshTLSAuthentication':
        setOrDelete(this.#meshTls, key, parsed as MeshTLSAuthentication | undefined);
        return this.#targetsAsking(`${kind}/${key}`);
      case 'NetworkAuthentication':
        setOrDelete(this.#networks, key, parsed as NetworkAuthentication | undefined);
        return this.#targetsAsking(`${kind}/${key}`);
    }
  }

  /** What of an object is not in force as it is written. */
  problems(kind: AuthorizationKind, key: string): readonly string[] {
    const refused = this.#refused.get(`${kind}/${key}`);
    if (refused !== undefined) return [`authorizes nobody: ${refused}`];
    const clients = kind === 'ServerAuthorization' ? this.#serverAuthorizations.get(key)?.clients : undefined;
    return clients?.kind === 'nobody' ? [`authorizes nobody: ${clients.reason}`] : [];
  }

  /** Of a Server: those of its ServerAuthorizations, then those of policies for it and for its namespace. */
  ofServer({ namespace, name }: { namespace: string; name: string }, labels: Labels): Resolved {
    const resolved: Resolved = { authorizations: [], ineffective: [] };
    const named = [...this.#serverAuthorizationsByTarget.get(`${namespace}/${name}`)];
    const selecting = [...this.#serverAuthorizationsByTarget.get(namespace)].filter((key) => {
      const { server } = this.#serverAuthorizations.get(key)!;
      return 'selector' in server && selectorMatches(server.selector, labels);
    });
    for (const key of [...named, ...selecting].sort()) {
      this.#addServerAuthorization(this.#serverAuthorizations.get(key)!, resolved);
    }
    const policies = [
      ...this.#policiesByTarget.get(serverTarget(namespace, name)),
      ...this.#policiesByTarget.get(namespaceTarget(namespace)),
    ];
    for (const key of policies.sort()) this.#addPolicy(this.#policies.get(key)!, resolved);
    return resolved;
  }

  /** Of a route: those of policies for it. */
  ofRoute(ref: Omit<ObjectRef, 'createdAtMs'>): Resolved {
    const resolved: Resolved = { authorizations: [], ineffective: [] };
    const keys = [...this.#policiesByTarget.get(refKey(ref))].sort();
    for (const key of keys) this.#addPolicy(this.#policies.get(key)!, resolved);
    return resolved;
  }

  sizes(): Record<string, number> {
    return {
      serverAuthorizations: this.#serverAuthorizations.size,
      authorizationPolicies: this.#policies.size,
      meshTlsAuthentications: this.#meshTls.size,
      networkAuthentications: this.#networks.size,
      refusedAuthorizations: this.#refused.size,
      serverAuthorizationsByTarget: this.#serverAuthorizationsByTarget.size,
      policiesByTarget: this.#policiesByTarget.size,
      policiesByAuthentication: this.#policiesByAuthentication.size,
    };
  }

  #parse(kind: AuthorizationKind, key: string, object: KubeObject) {
    try {
      const parsed = PARSERS[kind](object);
      this.#refused.delete(`${kind}/${key}`);
      return parsed;
    } catch (cause) {
      this.#refused.set(`${kind}/${key}`, MeshError.from(cause).message);
      return undefined;
    }
  }

  #replaceServerAuthorization(key: string, authorization: ServerAuthorization | undefined): AuthorizationTarget[] {
    const old = this.#serverAuthorizations.get(key);
    if (old) this.#serverAuthorizationsByTarget.delete(selectionOf(old), key);
    setOrDelete(this.#serverAuthorizations, key, authorization);
    if (authorization) this.#serverAuthorizationsByTarget.add(selectionOf(authorization), key);
    return [old, authorization].flatMap((each) => (each ? [selectedBy(each)] : []));
  }

  #replacePolicy(key: string, policy: AuthorizationPolicy | undefined): AuthorizationTarget[] {
    const old = this.#policies.get(key);
    if (old) {
      this.#policiesByTarget.delete(targetOf(old), key);
      for (const required of old.required) this.#policiesByAuthentication.delete(authenticationOf(required), key);
    }
    setOrDelete(this.#policies, key, policy);
    if (policy) {
      this.#policiesByTarget.add(targetOf(policy), key);
      for (const required of policy.required) this.#policiesByAuthentication.add(authenticationOf(required), key);
    }
    return [old, policy].flatMap((each) => (each ? [affectedBy(each)] : []));
  }

  #targetsAsking(authentication: string): AuthorizationTarget[] {
    return [...this.#policiesByAuthentication.get(authentication)].map((key) => affectedBy(this.#policies.get(key)!));
  }

  #addServerAuthorization(authorization: ServerAuthorization, resolved: Resolved): void {
    const { ref, networks, clients } = authorization;
    const authenticated = this.#clientsOf(clients);
    const allowed = networks.length > 0 ? networks : wholeNetworks(this.#settings.clusterNetworks);
    if (!authenticated || allowed.length === 0) {
      const problem = clients.kind === 'nobody' ? clients.reason : 'spec.client.networks: the mesh has no networks';
      resolved.ineffective.push({ source: ref, problem });
    } else resolved.authorizations.push({ source: ref, networks: allowed, clients: authenticated });
  }

  #clientsOf(clients: ServerAuthorization['clients']): Clients | undefined {
    if (clients.kind === 'nobody') return undefined;
    if (clients.kind !== 'mesh') return clients;
    const accounts = clients.serviceAccounts.map((account) => serviceAccountIdentity(account, this.#settings));
    return { kind: 'mesh', identities: [...clients.identities, ...accounts] };
  }

  #addPolicy(policy: AuthorizationPolicy, resolved: Resolved): void {
    let identities: readonly IdentityMatch[] | undefined;
    let networks: readonly NetworkMatch[] | undefined;
    for (const required of policy.required) {
      const key = `${required.namespace}/${required.name}`;
      if (required.kind === 'ServiceAccount') identities = [serviceAccountIdentity(required, this.#settings)];
      else if (required.kind === 'NetworkAuthentication') networks = this.#networks.get(key)?.networks;
      else identities = this.#identitiesOf(key);
      const found = required.kind === 'NetworkAuthentication' ? networks : identities;
      if (!found) {
        const reason = this.#refused.has(`${required.kind}/${key}`) ? 'cannot be read' : 'does not exist';
        resolved.ineffective.push({ source: policy.ref, problem: `${required.kind} ${key} ${reason}` });
        return;
      }
    }
    resolved.authorizations.push({
      source: policy.ref,
      networks: networks ?? wholeNetworks(ALL_NETWORKS),
      clients: identities ? { kind: 'mesh', identities } : { kind: 'unauthenticated' },
    });
  }

  #identitiesOf(key: string): IdentityMatch[] | undefined {
    const found = this.#meshTls.get(key);
    return (
      found && [
        ...found.identities,
        ...found.serviceAccounts.map((account) => serviceAccountIdentity(account, this.#settings)),
        ...found.namespaces.map((namespace) => namespaceIdentity(namespace, this.#settings)),
      ]
    );
  }
}

function serverTarget(namespace: string, name: string): string {
  return refKey({ group: POLICY_GROUP, kind: 'Server', namespace, name });
}

function namespaceTarget(namespace: string): string {
  return refKey({ group: '', kind: 'Namespace', namespace, name: namespace });
}

function targetOf({ ref, target }: AuthorizationPolicy): string {
  return refKey({ ...target, namespace: ref.namespace });
}

function affectedBy({ ref, target }: AuthorizationPolicy): AuthorizationTarget {
  if (target.kind === 'Server') return { kind: 'server', key: `${ref.namespace}/${target.name}` };
  if (target.kind === 'Namespace') return { kind: 'namespace', namespace: ref.namespace };
  return { kind: 'route', key: refKey({ ...target, namespace: ref.namespace }) };
}

/** The key of the Server that is named, or the namespace whose Servers are selected by label. */
function selectionOf({ ref, server }: ServerAuthorization): string {
  return 'name' in server ? `${ref.namespace}/${server.name}` : ref.namespace;
}

function selectedBy({ ref, server }: ServerAuthorization): AuthorizationTarget {
  return 'name' in server
    ? { kind: 'server', key: `${ref.namespace}/${server.name}` }
    : { kind: 'namespace', namespace: ref.namespace };
}

function authenticationOf({ kind, namespace, name }: RequiredAuthentication): string {
  return `${kind}/${namespace}/${name}`;
}

function setOrDelete<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}
