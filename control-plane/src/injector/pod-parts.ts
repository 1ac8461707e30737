/** What injection adds to a pod: the init container that redirects, the proxy's container and their volumes. */
import type { Container, PodSpec } from '@tulle/api';
import { IDENTITY_DIR, PODINFO_DIR, type ProxyEnvContext, proxyEnv, TOKEN_DIR } from './proxy-env.ts';
import { type Image, proxyVersion, type Resources, type Values } from './values.ts';

type Volume = NonNullable<PodSpec['volumes']>[number];

export const PROXY_NAME = 'linkerd-proxy';
export const INIT_NAME = 'linkerd-init';
export const DEBUG_NAME = 'linkerd-debug';
export const IDENTITY_VOLUME = 'linkerd-identity-end-entity';
export const TOKEN_VOLUME = 'linkerd-identity-token';
export const PODINFO_VOLUME = 'linkerd-podinfo';
/** The API server rotates a token at 80 % of its life; a day is what Linkerd's proxies ask for. */
const TOKEN_SECONDS = 86400;

const image = ({ name, version }: Image, values: Values) => `${name}:${version || values.linkerdVersion}`;
const pullPolicy = (chosen: Image, values: Values) => chosen.pullPolicy || values.imagePullPolicy;

export interface ProxyOptions extends ProxyEnvContext {
  /** A sidecar among the init containers that Kubernetes starts before, and stops after, the pod's own containers. */
  isNative: boolean;
  /** Whether the pod's containers wait for the proxy. */
  isAwaited: boolean;
}

export function proxyContainer(values: Values, options: ProxyOptions): Container {
  const { proxy } = values;
  const adminPort = proxy.ports.admin;
  const get = (path: string) => ({ httpGet: { path, port: adminPort } });
  const container: Container = {
    env: proxyEnv(values, options) as NonNullable<Container['env']>,
    image: `${proxy.image.name}:${proxyVersion(values)}`,
    imagePullPolicy: pullPolicy(proxy.image, values) as NonNullable<Container['imagePullPolicy']>,
    livenessProbe: { ...get('/live'), ...proxy.livenessProbe },
    name: PROXY_NAME,
    ports: [
      { containerPort: proxy.ports.inbound, name: 'linkerd-proxy' },
      { containerPort: adminPort, name: 'linkerd-admin' },
    ],
    readinessProbe: { ...get('/ready'), ...proxy.readinessProbe },
    ...(options.isNative && options.isAwaited ? { startupProbe: { ...get('/ready'), ...proxy.startupProbe } } : {}),
    ...resourcesOf(proxy.resources),
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      runAsUser: proxy.uid,
      ...(proxy.gid >= 0 ? { runAsGroup: proxy.gid } : {}),
      seccompProfile: { type: 'RuntimeDefault' },
      ...proxy.securityContext,
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { mountPath: IDENTITY_DIR, name: IDENTITY_VOLUME },
      { mountPath: TOKEN_DIR, name: TOKEN_VOLUME },
      ...(hasPodinfo(values) ? [{ mountPath: PODINFO_DIR, name: PODINFO_VOLUME }] : []),
    ],
  };
  if (options.isNative) return { ...container, restartPolicy: 'Always' };
  const postStart = options.isAwaited
    ? { postStart: { exec: { command: ['/usr/lib/linkerd/linkerd-await', '--timeout=2m', `--port=${adminPort}`] } } }
    : {};
  const wait = proxy.waitBeforeExitSeconds;
  const preStop = wait > 0 ? { preStop: { exec: { command: ['/bin/sleep', String(wait)] } } } : {};
  if (options.isAwaited || wait > 0) container.lifecycle = { ...postStart, ...preStop };
  return container;
}

export function initContainer(values: Values, { isControlPlane }: { isControlPlane: boolean }): Container {
  const { proxy, proxyInit } = values;
  const isRoot = proxyInit.runAsRoot || proxyInit.closeWaitTimeoutSecs > 0;
  const isPrivileged = proxyInit.privileged || proxyInit.closeWaitTimeoutSecs > 0;
  const inboundSkipped = [proxy.ports.control, proxy.ports.admin, proxyInit.ignoreInboundPorts].filter(Boolean);
  const outboundSkipped = isControlPlane ? proxyInit.kubeAPIServerPorts : proxyInit.ignoreOutboundPorts;
  const flag = (name: string, value: string | number) => (value === '' ? [] : [`--${name}`, String(value)]);
  return {
    args: [
      ...(proxyInit.iptablesMode === 'nft'
        ? ['--firewall-bin-path', 'iptables-nft', '--firewall-save-bin-path', 'iptables-nft-save']
        : []),
      ...(values.disableIPv6 ? ['--ipv6=false'] : []),
      ...flag('incoming-proxy-port', proxy.ports.inbound),
      ...flag('outgoing-proxy-port', proxy.ports.outbound),
      ...flag('proxy-uid', proxy.uid),
      ...flag('proxy-gid', proxy.gid >= 0 ? proxy.gid : ''),
      ...flag('inbound-ports-to-ignore', inboundSkipped.join(',')),
      ...flag('outbound-ports-to-ignore', outboundSkipped),
      ...flag('timeout-close-wait-secs', proxyInit.closeWaitTimeoutSecs || ''),
      ...flag('log-format', proxyInit.logFormat),
      ...flag('log-level', proxyInit.logLevel),
      ...flag('subnets-to-ignore', proxyInit.skipSubnets),
    ],
    command: ['/usr/lib/linkerd/linkerd2-proxy-init'],
    image: `${proxy.image.name}:${proxyVersion(values)}`,
    imagePullPolicy: pullPolicy(proxy.image, values) as NonNullable<Container['imagePullPolicy']>,
    name: INIT_NAME,
    ...resourcesOf(proxy.resources),
    securityContext: {
      allowPrivilegeEscalation: isPrivileged,
      capabilities: { add: ['NET_ADMIN', 'NET_RAW'] },
      privileged: isPrivileged,
      ...(isRoot
        ? { runAsGroup: 0, runAsNonRoot: false, runAsUser: 0 }
        : { runAsGroup: proxyInit.runAsGroup, runAsNonRoot: true, runAsUser: proxyInit.runAsUser }),
      readOnlyRootFilesystem: true,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [{ mountPath: proxyInit.xtMountPath.mountPath, name: proxyInit.xtMountPath.name }],
  };
}

export function debugContainer(values: Values): Container {
  const { image: chosen } = values.debugContainer;
  return {
    image: image(chosen, values),
    imagePullPolicy: pullPolicy(chosen, values) as NonNullable<Container['imagePullPolicy']>,
    name: DEBUG_NAME,
    terminationMessagePolicy: 'FallbackToLogsOnError',
    // The capture opens raw sockets on the pod's interfaces.
    securityContext: { capabilities: { add: ['NET_ADMIN', 'NET_RAW'] }, runAsUser: 0 },
  };
}

export const initVolume = (values: Values): Volume => ({ emptyDir: {}, name: values.proxyInit.xtMountPath.name });

export function proxyVolumes(values: Values): Volume[] {
  const downward = (path: string) => ({ fieldRef: { fieldPath: `metadata.${path}` }, path });
  return [
    { emptyDir: { medium: 'Memory' }, name: IDENTITY_VOLUME },
    ...(hasPodinfo(values)
      ? [{ downwardAPI: { items: [downward('labels'), downward('annotations')] }, name: PODINFO_VOLUME }]
      : []),
    {
      name: TOKEN_VOLUME,
      projected: {
        sources: [
          {
            serviceAccountToken: {
              audience: 'identity.l5d.io',
              expirationSeconds: TOKEN_SECONDS,
              path: 'linkerd-identity-token',
            },
          },
        ],
      },
    },
  ];
}

const hasPodinfo = (values: Values) => values.proxy.tracing.enabled && values.proxy.tracing.collector.endpoint !== '';

/** `{ resources }`, or nothing when none is set. */
export function resourcesOf(resources: Resources): Pick<Container, 'resources'> {
  const pick = (which: 'request' | 'limit') =>
    Object.fromEntries(
      (['cpu', 'memory', 'ephemeral-storage'] as const)
        .filter((name) => resources[name]?.[which])
        .map((name) => [name, resources[name][which]]),
    );
  const requests = pick('request');
  const limits = pick('limit');
  if (!Object.keys(requests).length && !Object.keys(limits).length) return {};
  return {
    resources: {
      ...(Object.keys(limits).length ? { limits } : {}),
      ...(Object.keys(requests).length ? { requests } : {}),
    },
  };
}
