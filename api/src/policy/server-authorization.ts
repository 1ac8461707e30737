/**
 * ServerAuthorization of policy.linkerd.io, v1alpha1 and v1beta1: who may speak to the Servers that it names. Beyond
 * Linkerd's schema `spec.client.serviceAccounts` may stand beside `meshTLS`, which may be null: it means what the same
 * list means under `meshTLS`, mutual TLS as one of these accounts. Labels may stand right in `spec.server.selector`.
 */
import { type Field, readObject, readSpec } from '../field.ts';
import { SERVER_AUTHORIZATIONS } from '../kinds.ts';
import type { KubeObject } from '../kubernetes.ts';
import { type LabelSelector, readLabelSelector } from '../label-selector.ts';
import { type ObjectRef, objectRef } from '../object-ref.ts';
import { type IdentityMatch, readIdentity } from './identity-match.ts';
import { type NetworkMatch, readNetworks } from './network.ts';
import { NAMESPACE, type NamespacedName } from './target-ref.ts';

export interface ServerAuthorization {
  readonly ref: ObjectRef;
  readonly server: { readonly name: string } | { readonly selector: LabelSelector };
  /** Empty: the networks of the cluster. */
  readonly networks: readonly NetworkMatch[];
  readonly clients: ServerClients;
}

export type ServerClients =
  | { readonly kind: 'unauthenticated' }
  /** Over the mesh's TLS, with or without a certificate. */
  | { readonly kind: 'tls' }
  /** Who has one of these identities. */
  | {
      readonly kind: 'mesh';
      readonly identities: readonly IdentityMatch[];
      readonly serviceAccounts: readonly NamespacedName[];
    }
  /** The object names no client. `reason` says what it lacks. */
  | { readonly kind: 'nobody'; readonly reason: string };

const NO_CLIENTS = 'spec.client: names no clients, allowed is one of unauthenticated, meshTLS and serviceAccounts';
const NO_IDENTITIES =
  'spec.client.meshTLS: names no clients, allowed is one of unauthenticatedTLS, identities and serviceAccounts';

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. An object that names no clients is none. */
export function parseServerAuthorization(object: KubeObject): ServerAuthorization {
  return readObject(object, (root) => {
    const ref = objectRef(object, SERVER_AUTHORIZATIONS);
    const spec = readSpec(root).only('server', 'client');
    const client = spec.get('client').only('networks', 'unauthenticated', 'meshTLS', 'serviceAccounts');
    if (!client.object('who may speak to the server') && !client.isSet) client.refuse('who may speak to the server');
    return {
      ref,
      server: readServer(spec.get('server')),
      networks: readNetworks(client.get('networks')),
      clients: readClients(client, ref.namespace),
    };
  });
}

function readServer(field: Field): ServerAuthorization['server'] {
  field.only('name', 'selector');
  const name = field.get('name');
  const selector = field.get('selector');
  if (name.isSet === selector.isSet) (name.isSet ? selector : field).refuse('one of name and selector');
  if (selector.isSet) return { selector: readLabelSelector(selector, { hasBareLabels: true }) };
  return { name: name.text('the name of a Server') ?? '' };
}

function readClients(client: Field, namespace: string): ServerClients {
  const meshTls = client.get('meshTLS').only('unauthenticatedTLS', 'identities', 'serviceAccounts');
  const beside = client.get('serviceAccounts');
  const isUnauthenticated = client.get('unauthenticated').boolean() ?? false;
  if (isUnauthenticated && meshTls.isSet) meshTls.refuse('nothing where unauthenticated is true');
  if (isUnauthenticated && beside.isSet) beside.refuse('nothing where unauthenticated is true');
  meshTls.object('an object or null');

  const accountLists = [meshTls.get('serviceAccounts'), beside];
  const identityItems = meshTls.get('identities').items();
  const identities = identityItems.flatMap((item) => readIdentity(item) ?? []);
  const accounts = accountLists.flatMap((list) => list.items().map((item) => readServiceAccount(item, namespace)));
  const isUnauthenticatedTls = meshTls.get('unauthenticatedTLS').boolean() ?? false;
  if (isUnauthenticatedTls && identityItems.length + accounts.length > 0) {
    meshTls.get('unauthenticatedTLS').refuse('false where identities or serviceAccounts are named');
  }

  if (isUnauthenticated) return { kind: 'unauthenticated' };
  if (isUnauthenticatedTls) return { kind: 'tls' };
  if (identities.length + accounts.length > 0) return { kind: 'mesh', identities, serviceAccounts: accounts };
  return { kind: 'nobody', reason: meshTls.isSet ? NO_IDENTITIES : NO_CLIENTS };
}

function readServiceAccount(field: Field, namespace: string): NamespacedName {
  const name = field.only('name', 'namespace').get('name').requiredText('the name of a ServiceAccount');
  return { namespace: field.get('namespace').text(NAMESPACE) ?? namespace, name };
}
