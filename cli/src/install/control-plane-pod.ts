/**
 * The control plane's Deployment. Its pod is printed already injected: no injector runs before it. The proxy stands after
 * the container that gives it its certificate, for a native sidecar would wait for that container for ever.
 */
import { createHash } from 'node:crypto';
import type { Container, KubeObject, PodSpec } from '@tulle/api';
import {
  initContainer,
  initVolume,
  proxyContainer,
  proxyVolumes,
  resourcesOf,
} from '@tulle/control-plane/injector/pod-parts.ts';
import { proxyVersion, trustDomain, type Values } from '@tulle/control-plane/injector/values.ts';
import { PORTS, WEBHOOKS } from './webhooks.ts';

/** The API server speaks TLS of its own to them. */
const WEBHOOK_PORTS = [PORTS.webhook, PORTS.policyValidator, PORTS.profileValidator].join(',');

export interface DeploymentContext {
  namespace: string;
  labels: Record<string, string>;
  createdBy: string;
}

export function controlPlaneDeployment(values: Values, context: DeploymentContext): KubeObject {
  const { namespace } = context;
  const name = 'linkerd-destination';
  const selector = { 'linkerd.io/control-plane-component': 'destination', 'linkerd.io/control-plane-ns': namespace };
  const podLabels = {
    ...selector,
    'linkerd.io/proxy-deployment': name,
    'linkerd.io/workload-ns': namespace,
    ...values.podLabels,
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name,
      namespace,
      labels: {
        ...context.labels,
        'app.kubernetes.io/name': 'destination',
        'app.kubernetes.io/part-of': 'Linkerd',
        'app.kubernetes.io/version': values.linkerdVersion,
        'linkerd.io/control-plane-component': 'destination',
      },
      annotations: { 'linkerd.io/created-by': context.createdBy },
    },
    spec: {
      replicas: values.controllerReplicas,
      revisionHistoryLimit: values.revisionHistoryLimit,
      selector: { matchLabels: selector },
      strategy: { type: 'RollingUpdate', ...values.deploymentStrategy },
      template: {
        metadata: { annotations: podAnnotations(values, context), labels: { ...context.labels, ...podLabels } },
        spec: podSpec(values, namespace, selector),
      },
    },
  };
}

function podAnnotations(values: Values, { createdBy }: DeploymentContext): Record<string, string> {
  return {
    'linkerd.io/created-by': createdBy,
    'linkerd.io/proxy-version': proxyVersion(values),
    'linkerd.io/trust-root-sha256': createHash('sha256').update(values.identityTrustAnchorsPEM).digest('hex'),
    'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true',
    // The API server calls the webhook from wherever it runs, with TLS of its own and no identity of the mesh.
    'config.linkerd.io/default-inbound-policy': 'all-unauthenticated',
    'config.linkerd.io/opaque-ports': WEBHOOK_PORTS,
    'config.linkerd.io/proxy-require-identity-inbound-ports': `${PORTS.destination},${PORTS.policy}`,
    ...values.podAnnotations,
  };
}

function podSpec(values: Values, namespace: string, selector: Record<string, string>): PodSpec {
  const own = structuredClone(values);
  own.proxy.defaultInboundPolicy = 'all-unauthenticated';
  own.proxy.requireIdentityOnInboundPorts = `${PORTS.destination},${PORTS.policy}`;
  own.proxy.requireTLSOnInboundPorts = String(PORTS.identity);
  const options = {
    controlPlaneNamespace: namespace,
    inboundPorts: Object.values(PORTS).join(','),
    opaquePorts: WEBHOOK_PORTS,
    isControlPlane: true,
    isNative: false,
    isAwaited: false,
  };
  const affinity = (topologyKey: string) => ({ labelSelector: { matchLabels: selector }, topologyKey });
  return {
    ...(values.enablePodAntiAffinity
      ? {
          affinity: {
            podAntiAffinity: {
              preferredDuringSchedulingIgnoredDuringExecution: [
                { podAffinityTerm: affinity('topology.kubernetes.io/zone'), weight: 100 },
              ],
              requiredDuringSchedulingIgnoredDuringExecution: [affinity('kubernetes.io/hostname')],
            },
          },
        }
      : {}),
    containers: [controlPlaneContainer(values, namespace), proxyContainer(own, options)],
    initContainers: [initContainer(own, options)],
    nodeSelector: values.nodeSelector,
    ...(values.priorityClassName ? { priorityClassName: values.priorityClassName } : {}),
    securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
    serviceAccountName: 'linkerd-destination',
    ...(values.tolerations.length ? { tolerations: values.tolerations as NonNullable<PodSpec['tolerations']> } : {}),
    volumes: [
      { name: 'identity-issuer', secret: { secretName: 'linkerd-identity-issuer' } },
      { configMap: { name: 'linkerd-identity-trust-roots' }, name: 'trust-roots' },
      ...WEBHOOKS.map(({ name, volume }) => ({ name: volume, secret: { secretName: `${name}-k8s-tls` } })),
      initVolume(own),
      ...proxyVolumes(own),
    ],
  };
}

function controlPlaneContainer(values: Values, namespace: string): Container {
  const { issuer } = values.identity;
  const probe = (path: string) => ({ httpGet: { path, port: PORTS.admin } });
  return {
    args: [
      `--controller-namespace=${namespace}`,
      `--cluster-domain=${values.clusterDomain}`,
      `--identity-trust-domain=${trustDomain(values)}`,
      `--identity-issuance-lifetime=${issuer.issuanceLifetime}`,
      `--identity-clock-skew-allowance=${issuer.clockSkewAllowance}`,
      `--default-opaque-ports=${values.proxy.opaquePorts}`,
      `--cluster-networks=${values.clusterNetworks}`,
      `--default-inbound-policy=${values.proxy.defaultInboundPolicy}`,
      `--probe-networks=${values.policyController.probeNetworks.join(',')}`,
      `--global-egress-network-namespace=${values.egress.globalEgressNetworkNamespace}`,
      `--outbound-transport-mode=${values.proxy.outboundTransportMode}`,
      `--enable-h2-upgrade=${values.enableH2Upgrade}`,
      `--enable-ipv6=${!values.disableIPv6}`,
      `--enable-smi=${values.enableSmi}`,
      `--log-level=${values.controllerLogLevel}`,
      `--log-format=${values.controllerLogFormat}`,
      ...values.policyController.additionalArgs,
    ],
    image: `${values.controllerImage}:${values.controllerImageVersion || values.linkerdVersion}`,
    imagePullPolicy: values.imagePullPolicy as NonNullable<Container['imagePullPolicy']>,
    livenessProbe: { ...probe('/live'), initialDelaySeconds: 10, failureThreshold: 3 },
    name: 'control-plane',
    ports: [
      { containerPort: PORTS.identity, name: 'ident-grpc' },
      { containerPort: PORTS.destination, name: 'dest-grpc' },
      { containerPort: PORTS.policy, name: 'policy-grpc' },
      { containerPort: PORTS.webhook, name: 'https' },
      { containerPort: PORTS.policyValidator, name: 'policy-https' },
      { containerPort: PORTS.profileValidator, name: 'sp-https' },
      { containerPort: PORTS.admin, name: 'cp-admin' },
    ],
    readinessProbe: { ...probe('/ready'), failureThreshold: 7, periodSeconds: 2 },
    ...resourcesOf(values.controllerResources),
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      runAsUser: values.controllerUID,
      ...(values.controllerGID >= 0 ? { runAsGroup: values.controllerGID } : {}),
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: [
      { mountPath: '/var/run/linkerd/identity/issuer', name: 'identity-issuer', readOnly: true },
      { mountPath: '/var/run/linkerd/identity/trust-roots', name: 'trust-roots', readOnly: true },
      ...WEBHOOKS.map(({ volume, mountPath }) => ({ mountPath, name: volume, readOnly: true })),
    ],
  };
}
