/**
 * The values that `tulle install` and the charts render from and that the injector reads back from ConfigMap
 * `linkerd-config`. Names and defaults are those of Linkerd's control-plane chart, as far as we have what they set.
 */
import packageJson from '../../package.json' with { type: 'json' };

export const VERSION: string = packageJson.version;

export interface Quantity {
  request: string;
  limit: string;
}
export interface Resources {
  cpu: Quantity;
  memory: Quantity;
  'ephemeral-storage': Quantity;
}
export interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: unknown;
}
export interface Image {
  name: string;
  pullPolicy: string;
  version: string;
}
interface Probe {
  initialDelaySeconds: number;
  timeoutSeconds: number;
}
/** `<scope>.<proto>.<param>`: each becomes an environment variable of the proxy. */
type Tuning = { [scope: string]: { [proto: string]: { [param: string]: string | number | boolean } } };

export interface ProxyValues {
  image: Image;
  enableExternalProfiles: boolean;
  outboundConnectTimeout: string;
  inboundConnectTimeout: string;
  outboundDiscoveryCacheUnusedTimeout: string;
  inboundDiscoveryCacheUnusedTimeout: string;
  disableOutboundProtocolDetectTimeout: boolean;
  disableInboundProtocolDetectTimeout: boolean;
  enableShutdownEndpoint: boolean;
  logLevel: string;
  logFormat: string;
  logHTTPHeaders: string;
  accessLog: string;
  ports: { admin: number; control: number; inbound: number; outbound: number };
  /** Set only by `config.linkerd.io/pod-inbound-ports`; empty: the container ports. */
  podInboundPorts: string;
  runtime: { workers: { minimum: number; maximum: number | null; maximumCPURatio: number | null } };
  resources: Resources;
  uid: number;
  gid: number;
  securityContext: Record<string, unknown>;
  waitBeforeExitSeconds: number;
  await: boolean;
  nativeSidecar: boolean;
  isGateway: boolean;
  isIngress: boolean;
  requireIdentityOnInboundPorts: string;
  requireTLSOnInboundPorts: string;
  opaquePorts: string;
  shutdownGracePeriod: string;
  defaultInboundPolicy: string;
  outboundTransportMode: string;
  livenessProbe: Probe;
  readinessProbe: Probe;
  startupProbe: Probe & { periodSeconds: number; failureThreshold: number };
  control: { streams: { initialTimeout: string; idleTimeout: string; lifetime: string } };
  metrics: { hostnameLabels: boolean };
  tracing: {
    enabled: boolean;
    traceServiceName: string;
    labels: Record<string, string>;
    collector: { endpoint: string; meshIdentity: { serviceAccountName: string; namespace: string } };
  };
  inbound: Tuning;
  outbound: Tuning;
  additionalEnv: EnvVar[];
  experimentalEnv: EnvVar[];
}

/** Certificate and scope of a webhook; without a certificate the installation makes one. */
export interface WebhookValues {
  externalSecret: boolean;
  crtPEM: string;
  keyPEM: string;
  caBundle: string;
  namespaceSelector: Record<string, unknown>;
}

export interface Values {
  linkerdVersion: string;
  clusterDomain: string;
  clusterNetworks: string;
  identityTrustDomain: string;
  identityTrustAnchorsPEM: string;
  identity: {
    externalCA: boolean;
    issuer: {
      scheme: string;
      clockSkewAllowance: string;
      issuanceLifetime: string;
      tls: { crtPEM: string; keyPEM: string };
    };
  };
  imagePullPolicy: string;
  controllerImage: string;
  controllerImageVersion: string;
  controllerLogLevel: string;
  controllerLogFormat: string;
  controllerReplicas: number;
  controllerUID: number;
  controllerGID: number;
  controllerResources: Resources;
  highAvailability: boolean;
  enablePodAntiAffinity: boolean;
  enablePodDisruptionBudget: boolean;
  deploymentStrategy: Record<string, unknown>;
  revisionHistoryLimit: number;
  priorityClassName: string;
  nodeSelector: Record<string, string>;
  tolerations: unknown[];
  podLabels: Record<string, string>;
  podAnnotations: Record<string, string>;
  commonLabels: Record<string, string>;
  disableIPv6: boolean;
  webhookFailurePolicy: string;
  proxyInjector: WebhookValues & { timeoutSeconds: number; objectSelector: Record<string, unknown> };
  policyValidator: WebhookValues;
  profileValidator: WebhookValues;
  policyController: { probeNetworks: string[]; additionalArgs: string[] };
  egress: { globalEgressNetworkNamespace: string };
  enableH2Upgrade: boolean;
  /** Ours: read TrafficSplits and TrafficTargets of the Service Mesh Interface. */
  enableSmi: boolean;
  proxy: ProxyValues;
  proxyInit: {
    iptablesMode: string;
    ignoreInboundPorts: string;
    ignoreOutboundPorts: string;
    kubeAPIServerPorts: string;
    skipSubnets: string;
    logLevel: string;
    logFormat: string;
    closeWaitTimeoutSecs: number;
    privileged: boolean;
    runAsRoot: boolean;
    runAsUser: number;
    runAsGroup: number;
    xtMountPath: { mountPath: string; name: string };
  };
  debugContainer: { enabled: boolean; image: Image };
}

const noResources = (): Resources => ({
  cpu: { request: '', limit: '' },
  memory: { request: '', limit: '' },
  'ephemeral-storage': { request: '', limit: '' },
});
const validator = (): WebhookValues => ({
  externalSecret: false,
  crtPEM: '',
  keyPEM: '',
  caBundle: '',
  namespaceSelector: {
    matchExpressions: [{ key: 'config.linkerd.io/admission-webhooks', operator: 'NotIn', values: ['disabled'] }],
  },
});
const keepAlive = () => ({ http2: { keepAliveInterval: '10s', keepAliveTimeout: '3s' } });

/** A fresh copy of the defaults. */
export function defaultValues(): Values {
  return {
    linkerdVersion: VERSION,
    clusterDomain: 'cluster.local',
    clusterNetworks: '10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8',
    identityTrustDomain: '',
    identityTrustAnchorsPEM: '',
    identity: {
      externalCA: false,
      issuer: {
        scheme: 'linkerd.io/tls',
        clockSkewAllowance: '20s',
        issuanceLifetime: '24h0m0s',
        tls: { crtPEM: '', keyPEM: '' },
      },
    },
    imagePullPolicy: 'IfNotPresent',
    controllerImage: 'tulle/control-plane',
    controllerImageVersion: '',
    controllerLogLevel: 'info',
    controllerLogFormat: 'json',
    controllerReplicas: 1,
    controllerUID: 2103,
    controllerGID: -1,
    controllerResources: noResources(),
    highAvailability: false,
    enablePodAntiAffinity: false,
    enablePodDisruptionBudget: false,
    deploymentStrategy: { rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
    revisionHistoryLimit: 10,
    priorityClassName: '',
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [],
    podLabels: {},
    podAnnotations: {},
    commonLabels: {},
    disableIPv6: true,
    webhookFailurePolicy: 'Ignore',
    proxyInjector: {
      externalSecret: false,
      crtPEM: '',
      keyPEM: '',
      caBundle: '',
      timeoutSeconds: 10,
      namespaceSelector: {
        matchExpressions: [
          { key: 'config.linkerd.io/admission-webhooks', operator: 'NotIn', values: ['disabled'] },
          { key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['kube-system', 'cert-manager'] },
        ],
      },
      objectSelector: {
        matchExpressions: [
          { key: 'linkerd.io/control-plane-component', operator: 'DoesNotExist' },
          { key: 'linkerd.io/cni-resource', operator: 'DoesNotExist' },
        ],
      },
    },
    policyValidator: validator(),
    profileValidator: validator(),
    policyController: { probeNetworks: ['0.0.0.0/0', '::/0'], additionalArgs: [] },
    egress: { globalEgressNetworkNamespace: 'linkerd-egress' },
    enableH2Upgrade: true,
    enableSmi: false,
    proxy: {
      image: { name: 'tulle/proxy', pullPolicy: '', version: '' },
      enableExternalProfiles: false,
      outboundConnectTimeout: '1000ms',
      inboundConnectTimeout: '100ms',
      outboundDiscoveryCacheUnusedTimeout: '5s',
      inboundDiscoveryCacheUnusedTimeout: '90s',
      disableOutboundProtocolDetectTimeout: false,
      disableInboundProtocolDetectTimeout: false,
      enableShutdownEndpoint: false,
      logLevel: 'warn,linkerd=info,hickory=error',
      logFormat: 'plain',
      logHTTPHeaders: 'off',
      accessLog: '',
      ports: { admin: 4191, control: 4190, inbound: 4143, outbound: 4140 },
      podInboundPorts: '',
      runtime: { workers: { minimum: 1, maximum: null, maximumCPURatio: null } },
      resources: noResources(),
      uid: 2102,
      gid: -1,
      securityContext: {},
      waitBeforeExitSeconds: 0,
      await: true,
      nativeSidecar: true,
      isGateway: false,
      isIngress: false,
      requireIdentityOnInboundPorts: '',
      requireTLSOnInboundPorts: '',
      opaquePorts: '25,587,3306,4444,5432,6379,9300,11211',
      shutdownGracePeriod: '',
      defaultInboundPolicy: 'all-unauthenticated',
      outboundTransportMode: 'transport-header',
      livenessProbe: { initialDelaySeconds: 10, timeoutSeconds: 1 },
      readinessProbe: { initialDelaySeconds: 2, timeoutSeconds: 1 },
      startupProbe: { initialDelaySeconds: 0, timeoutSeconds: 1, periodSeconds: 1, failureThreshold: 120 },
      control: { streams: { initialTimeout: '3s', idleTimeout: '5m', lifetime: '1h' } },
      metrics: { hostnameLabels: false },
      tracing: {
        enabled: false,
        traceServiceName: 'linkerd-proxy',
        labels: {},
        collector: { endpoint: '', meshIdentity: { serviceAccountName: '', namespace: '' } },
      },
      inbound: { server: keepAlive() },
      outbound: { server: keepAlive() },
      additionalEnv: [],
      experimentalEnv: [],
    },
    proxyInit: {
      iptablesMode: 'nft',
      ignoreInboundPorts: '4567,4568',
      ignoreOutboundPorts: '4567,4568',
      kubeAPIServerPorts: '443,6443',
      skipSubnets: '',
      logLevel: '',
      logFormat: '',
      closeWaitTimeoutSecs: 0,
      privileged: false,
      runAsRoot: false,
      runAsUser: 65534,
      runAsGroup: 65534,
      xtMountPath: { mountPath: '/run', name: 'linkerd-proxy-init-xtables-lock' },
    },
    debugContainer: { enabled: false, image: { name: 'tulle/debug', pullPolicy: '', version: '' } },
  };
}

/** What `--ha` lays over the defaults. */
export const haValues = {
  highAvailability: true,
  controllerReplicas: 3,
  enablePodAntiAffinity: true,
  enablePodDisruptionBudget: true,
  deploymentStrategy: { rollingUpdate: { maxUnavailable: 1 } },
  webhookFailurePolicy: 'Fail',
  controllerResources: { cpu: { request: '100m' }, memory: { request: '100Mi', limit: '500Mi' } },
  proxy: { resources: { cpu: { request: '100m' }, memory: { request: '20Mi', limit: '250Mi' } } },
} as const;

/** The identity trust domain: its own where one is set, else the cluster domain. */
export const trustDomain = (values: Values): string => values.identityTrustDomain || values.clusterDomain;

export const proxyVersion = (values: Values): string => values.proxy.image.version || values.linkerdVersion;
