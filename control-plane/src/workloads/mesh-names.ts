/** Names that Linkerd gave to labels, annotations, containers and identities, and that peers and manifests rely on. */

export const CONTROL_PLANE_NS_LABEL = 'linkerd.io/control-plane-ns';
export const COMPONENT_LABEL = 'linkerd.io/control-plane-component';
export const POD_TEMPLATE_HASH_LABEL = 'pod-template-hash';
export const ZONE_LABEL = 'topology.kubernetes.io/zone';
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';

export const OPAQUE_PORTS_ANNOTATION = 'config.linkerd.io/opaque-ports';
export const SKIP_INBOUND_PORTS_ANNOTATION = 'config.linkerd.io/skip-inbound-ports';
export const DEFAULT_INBOUND_POLICY_ANNOTATION = 'config.linkerd.io/default-inbound-policy';
export const REQUIRE_IDENTITY_ANNOTATION = 'config.linkerd.io/proxy-require-identity-inbound-ports';

/** Of the endpoints that a service mirror writes. */
export const CLUSTER_NAME_LABEL = 'mirror.linkerd.io/cluster-name';
export const REMOTE_GATEWAY_IDENTITY_ANNOTATION = 'mirror.linkerd.io/remote-gateway-identity';
export const REMOTE_SERVICE_ANNOTATION = 'mirror.linkerd.io/remote-svc-fq-name';

export const PROXY_CONTAINER = 'linkerd-proxy';
export const INIT_CONTAINER = 'linkerd-init';

/** The identity of a service account: the DNS SAN of its certificates and the SNI of connections to it. */
export function identityName(
  serviceAccount: string,
  namespace: string,
  domain: { controllerNamespace: string; trustDomain: string },
): string {
  return `${serviceAccount}.${namespace}.serviceaccount.identity.${domain.controllerNamespace}.${domain.trustDomain}`;
}
