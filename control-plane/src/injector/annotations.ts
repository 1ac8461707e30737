/**
 * The annotations that configure a pod's proxy (`config.linkerd.io/*`): which there are, what a value must look like and
 * which chart value it overrides. Order of precedence: pod, then namespace, then values.
 */
import { MeshError } from '@tulle/api';
import {
  boolean,
  duration,
  durationMs,
  enabled,
  envList,
  integer,
  logLevel,
  oneOf,
  ports,
  quantity,
  quantityText,
  ratio,
  subnets,
  text,
} from './annotation-values.ts';
import type { EnvVar, Values } from './values.ts';

export const INJECT = 'linkerd.io/inject';
export const OPAQUE_PORTS = 'config.linkerd.io/opaque-ports';
export const INBOUND_POLICIES = [
  'all-unauthenticated',
  'all-authenticated',
  'cluster-unauthenticated',
  'cluster-authenticated',
  'deny',
  'audit',
];

export interface ConfigAnnotation {
  key: string;
  /** Whether a pod takes it over from its namespace. */
  isInherited: boolean;
  /** The chart value it overrides. */
  path: string;
  /** Writes the value into `values`; throws a MeshError that says what a good value is. */
  apply(values: Values, raw: string): void;
}

type Annotations = Readonly<Record<string, string>>;

/** A copy of `values` with what the annotations of namespace and pod override, and every bad value, one line each. */
export function overrideValues(
  values: Values,
  podAnnotations: Annotations,
  namespaceAnnotations: Annotations,
): { values: Values; problems: string[] } {
  const result = structuredClone(values);
  const problems: string[] = [];
  for (const { key, isInherited, apply } of CONFIG_ANNOTATIONS) {
    const layers = key === ADDITIONAL_ENV ? [namespaceAnnotations[key], podAnnotations[key]] : [];
    if (!layers.length) layers.push(podAnnotations[key] ?? (isInherited ? namespaceAnnotations[key] : undefined));
    for (const raw of layers) {
      if (raw === undefined) continue;
      try {
        apply(result, raw);
      } catch (error) {
        problems.push(`annotation ${key}=${JSON.stringify(raw)}: ${MeshError.from(error).message}`);
      }
    }
  }
  for (const resource of ['cpu', 'memory', 'ephemeral-storage'] as const) {
    const { request, limit } = result.proxy.resources[resource];
    if (request && limit && quantity(request) > quantity(limit)) {
      problems.push(`proxy ${resource} request ${request} is more than its limit ${limit}`);
    }
  }
  return { values: result, problems: [...new Set(problems)] };
}

/** The annotations of a namespace that a pod without them takes over, written into the pod. */
export function inheritedAnnotations(podAnnotations: Annotations, namespaceAnnotations: Annotations): Annotations {
  const inherited: Record<string, string> = {};
  for (const { key, isInherited } of CONFIG_ANNOTATIONS) {
    const value = namespaceAnnotations[key];
    if (isInherited && value !== undefined && podAnnotations[key] === undefined) inherited[key] = value;
  }
  return inherited;
}

type Parse = (raw: string) => unknown;

const port = (raw: string) => integer(raw, 1, 65535);
const id = (raw: string) => integer(raw, 1, 2 ** 31 - 1);
const pullPolicy = oneOf('Always', 'IfNotPresent', 'Never');

/** Suffix of `config.linkerd.io/`, the chart value it overrides, and what reads it. `*`: not taken over from the namespace. */
const FIELDS: readonly (readonly [suffix: string, path: string, parse: Parse])[] = [
  ['proxy-image', 'proxy.image.name', text],
  ['proxy-version', 'proxy.image.version', text],
  ['image-pull-policy', 'proxy.image.pullPolicy', pullPolicy],
  ['debug-image*', 'debugContainer.image.name', text],
  ['debug-image-version*', 'debugContainer.image.version', text],
  ['debug-image-pull-policy*', 'debugContainer.image.pullPolicy', pullPolicy],
  ['enable-debug-sidecar', 'debugContainer.enabled', boolean],
  ['control-port', 'proxy.ports.control', port],
  ['inbound-port', 'proxy.ports.inbound', port],
  ['outbound-port', 'proxy.ports.outbound', port],
  ['admin-port', 'proxy.ports.admin', port],
  ['pod-inbound-ports', 'proxy.podInboundPorts', ports],
  ['skip-inbound-ports', 'proxyInit.ignoreInboundPorts', ports],
  ['skip-outbound-ports', 'proxyInit.ignoreOutboundPorts', ports],
  ['skip-subnets', 'proxyInit.skipSubnets', subnets],
  ['opaque-ports', 'proxy.opaquePorts', (raw) => raw.trim()],
  ['proxy-cpu-request', 'proxy.resources.cpu.request', quantityText],
  ['proxy-cpu-limit', 'proxy.resources.cpu.limit', quantityText],
  ['proxy-memory-request', 'proxy.resources.memory.request', quantityText],
  ['proxy-memory-limit', 'proxy.resources.memory.limit', quantityText],
  ['proxy-ephemeral-storage-request', 'proxy.resources.ephemeral-storage.request', quantityText],
  ['proxy-ephemeral-storage-limit', 'proxy.resources.ephemeral-storage.limit', quantityText],
  ['proxy-cpu-limit', 'proxy.runtime.workers.maximum', (raw) => Math.max(1, Math.ceil(quantity(raw)))],
  ['proxy-cpu-ratio-limit*', 'proxy.runtime.workers.maximumCPURatio', ratio],
  ['proxy-uid', 'proxy.uid', id],
  ['proxy-gid', 'proxy.gid', id],
  ['proxy-admin-shutdown', 'proxy.enableShutdownEndpoint', enabled],
  ['proxy-log-level', 'proxy.logLevel', logLevel],
  ['proxy-log-format', 'proxy.logFormat', oneOf('plain', 'json')],
  ['proxy-log-http-headers', 'proxy.logHTTPHeaders', oneOf('off', 'insecure')],
  ['access-log', 'proxy.accessLog', oneOf('', 'apache', 'json')],
  ['enable-external-profiles', 'proxy.enableExternalProfiles', boolean],
  ['proxy-require-identity-inbound-ports', 'proxy.requireIdentityOnInboundPorts', ports],
  ['proxy-metrics-hostname-labels', 'proxy.metrics.hostnameLabels', boolean],
  ['proxy-outbound-connect-timeout', 'proxy.outboundConnectTimeout', duration],
  ['proxy-inbound-connect-timeout', 'proxy.inboundConnectTimeout', duration],
  ['proxy-outbound-discovery-cache-unused-timeout', 'proxy.outboundDiscoveryCacheUnusedTimeout', duration],
  ['proxy-inbound-discovery-cache-unused-timeout', 'proxy.inboundDiscoveryCacheUnusedTimeout', duration],
  ['proxy-disable-outbound-protocol-detect-timeout', 'proxy.disableOutboundProtocolDetectTimeout', boolean],
  ['proxy-disable-inbound-protocol-detect-timeout', 'proxy.disableInboundProtocolDetectTimeout', boolean],
  ['enable-gateway*', 'proxy.isGateway', boolean],
  ['close-wait-timeout*', 'proxyInit.closeWaitTimeoutSecs', (raw) => Math.ceil(durationMs(raw) / 1000)],
  ['proxy-await', 'proxy.await', enabled],
  ['default-inbound-policy', 'proxy.defaultInboundPolicy', oneOf(...INBOUND_POLICIES)],
  ['shutdown-grace-period', 'proxy.shutdownGracePeriod', duration],
  ['proxy-additional-env', 'proxy.additionalEnv', envList],
];

/** Keys outside `config.linkerd.io/`, the weakest first: of two that set the same value the later one wins. */
const OLDER_FIELDS: typeof FIELDS = [
  [
    'config.alpha.linkerd.io/proxy-wait-before-exit-seconds',
    'proxy.waitBeforeExitSeconds',
    (raw) => integer(raw, 0, 3600),
  ],
  ['config.alpha.linkerd.io/proxy-enable-native-sidecar', 'proxy.nativeSidecar', boolean],
  ['config.beta.linkerd.io/proxy-enable-native-sidecar', 'proxy.nativeSidecar', boolean],
  ['config.linkerd.io/proxy-enable-native-sidecar', 'proxy.nativeSidecar', boolean],
];

const ADDITIONAL_ENV = 'config.linkerd.io/proxy-additional-env';

export const CONFIG_ANNOTATIONS: readonly ConfigAnnotation[] = [
  ...FIELDS.map(([suffix, path, parse]) => [`config.linkerd.io/${suffix}`, path, parse] as const),
  ...OLDER_FIELDS,
].map(([key, path, parse]) => ({
  key: key.replace(/\*$/, ''),
  isInherited: !key.endsWith('*'),
  path,
  apply: (values, raw) => setAt(values, path.split('.'), parse(raw)),
}));

function setAt(values: Values, path: string[], value: unknown): void {
  const last = path.pop()!;
  // The table names the fields; a test checks that each is there.
  const parent = path.reduce((node: any, segment) => node[segment], values);
  if (last !== 'additionalEnv') parent[last] = value;
  else parent[last] = mergeEnv(parent[last], value as EnvVar[]);
}

function mergeEnv(under: EnvVar[], over: EnvVar[]): EnvVar[] {
  const names = new Set(over.map(({ name }) => name));
  return [...under.filter(({ name }) => !names.has(name)), ...over];
}
