/** What the mesh needs to know of a pod, taken from its Kubernetes object. */
import type { Container, Pod as KubePod } from '@tulle/api';
import type { DefaultPolicy } from './default-policy.ts';
import {
  COMPONENT_LABEL,
  CONTROL_PLANE_NS_LABEL,
  INIT_CONTAINER,
  OPAQUE_PORTS_ANNOTATION,
  POD_TEMPLATE_HASH_LABEL,
  PROXY_CONTAINER,
  REQUIRE_IDENTITY_ANNOTATION,
  SKIP_INBOUND_PORTS_ANNOTATION,
} from './mesh-names.ts';
import { readDefaultPolicy } from './namespace.ts';
import { NO_PORTS, PortSet, parsePortList } from './port-set.ts';

export interface Pod {
  key: string;
  namespace: string;
  name: string;
  uid: string;
  labels: Readonly<Record<string, string>>;
  ips: readonly string[];
  hostIps: readonly string[];
  isHostNetwork: boolean;
  nodeName: string;
  serviceAccount: string;
  /** The namespace of the control plane that the pod's proxy belongs to, from its label. */
  controlPlaneNamespace?: string;
  component?: string;
  podTemplateHash?: string;
  owner?: { kind: string; name: string };
  /** Succeeded or Failed: its address may belong to another pod by now. */
  isTerminal: boolean;
  /** Deleted and in its grace period: takes no new requests. */
  isTerminating: boolean;
  containerPorts: readonly ContainerPort[];
  /** With those of init containers that end: a Server may name any of them. */
  selectablePorts: readonly ContainerPort[];
  proxyPorts?: ProxyPorts;
  skippedInboundPorts: PortSet;
  requireIdentityPorts: PortSet;
  /** Undefined where the pod says nothing: the namespace or the mesh decides. */
  opaquePorts?: PortSet;
  defaultInboundPolicy?: DefaultPolicy;
  /** Requests that the kubelet makes, by the port it makes them to. */
  probes: ReadonlyMap<number, readonly Probe[]>;
  /** Annotations that could not be read; they count as not set. */
  problems: readonly string[];
}

export interface ContainerPort {
  name?: string;
  port: number;
  hostPort?: number;
}

/** The listeners of the pod's proxy, from its environment. */
export interface ProxyPorts {
  inbound: number;
  admin: number;
  control: number;
}

export interface Probe {
  method: 'GET' | 'POST';
  path: string;
}

const GRPC_HEALTH_PATH = '/grpc.health.v1.Health/Check';

export function parsePod(object: KubePod): Pod {
  const { metadata, spec, status } = object;
  const namespace = metadata.namespace ?? 'default';
  const labels = metadata.labels ?? {};
  const annotations = metadata.annotations ?? {};
  const owner = metadata.ownerReferences?.find((reference) => reference.controller);
  const isSidecar = (container: Container) => container.restartPolicy === 'Always';
  const sidecars = (spec?.initContainers ?? []).filter(isSidecar);
  const containers = [...(spec?.containers ?? []), ...sidecars];
  const containerPorts = containers.flatMap(portsOf);
  const initPorts = (spec?.initContainers ?? []).filter((container) => !isSidecar(container)).flatMap(portsOf);
  const names = new Map(containerPorts.flatMap(({ name, port }) => (name ? [[name, port] as const] : [])));
  const problems: string[] = [];
  const ports = (key: string): PortSet | undefined => {
    const text = annotations[key];
    if (text === undefined) return undefined;
    const parsed = parsePortList(text, names);
    problems.push(...parsed.problems.map((problem) => `annotation ${key}: ${problem}`));
    return parsed.ports;
  };
  const proxy = containers.find((container) => container.name === PROXY_CONTAINER);
  const proxyPorts = proxy && proxyPortsOf(proxy);
  const podIps = status?.podIPs?.flatMap(({ ip }) => (ip ? [ip] : [])) ?? [];
  const hostIps = status?.hostIPs?.flatMap(({ ip }) => (ip ? [ip] : [])) ?? [];
  return {
    key: `${namespace}/${metadata.name}`,
    namespace,
    name: metadata.name,
    uid: metadata.uid ?? '',
    labels,
    ips: podIps.length > 0 ? podIps : optional(status?.podIP),
    hostIps: hostIps.length > 0 ? hostIps : optional(status?.hostIP),
    isHostNetwork: spec?.hostNetwork ?? false,
    nodeName: spec?.nodeName ?? '',
    serviceAccount: spec?.serviceAccountName || 'default',
    controlPlaneNamespace: labels[CONTROL_PLANE_NS_LABEL],
    component: labels[COMPONENT_LABEL],
    podTemplateHash: labels[POD_TEMPLATE_HASH_LABEL],
    owner: owner && { kind: owner.kind, name: owner.name },
    isTerminal: status?.phase === 'Succeeded' || status?.phase === 'Failed',
    isTerminating: metadata.deletionTimestamp !== undefined,
    containerPorts,
    selectablePorts: initPorts.length > 0 ? [...containerPorts, ...initPorts] : containerPorts,
    proxyPorts,
    skippedInboundPorts: skippedPorts(object, ports(SKIP_INBOUND_PORTS_ANNOTATION), proxyPorts),
    requireIdentityPorts: ports(REQUIRE_IDENTITY_ANNOTATION) ?? NO_PORTS,
    opaquePorts: ports(OPAQUE_PORTS_ANNOTATION),
    defaultInboundPolicy: readDefaultPolicy(annotations, problems),
    probes: probesOf(containers),
    problems,
  };
}

function optional(value: string | undefined): string[] {
  return value ? [value] : [];
}

function portsOf(container: Container): ContainerPort[] {
  return (container.ports ?? [])
    .filter((port) => (port.protocol ?? 'TCP') === 'TCP')
    .map(({ name, containerPort, hostPort }) => ({ name, port: containerPort, hostPort }));
}

function proxyPortsOf(proxy: Container): ProxyPorts {
  const port = (name: string, fallback: number) => {
    const value = proxy.env?.find((variable) => variable.name === `LINKERD2_PROXY_${name}_LISTEN_ADDR`)?.value;
    const parsed = Number(/:(\d{1,5})$/.exec(value ?? '')?.[1]);
    return parsed > 0 && parsed < 65535 ? parsed : fallback;
  };
  return { inbound: port('INBOUND', 4143), admin: port('ADMIN', 4191), control: port('CONTROL', 4190) };
}

/**
 * Ports that go past the proxy: by annotation, and by what the init container was told (the mesh-wide default is only
 * there). The proxy's own listeners are in that list too, but they speak the mesh's TLS themselves.
 */
function skippedPorts(object: KubePod, annotated: PortSet | undefined, proxyPorts: ProxyPorts | undefined): PortSet {
  const init = object.spec?.initContainers?.find((container) => container.name === INIT_CONTAINER);
  const args = init?.args ?? [];
  const ignored = args[args.indexOf('--inbound-ports-to-ignore') + 1];
  const told = args.includes('--inbound-ports-to-ignore') && ignored ? parsePortList(ignored).ports.ranges : [];
  const ranges = [...(annotated?.ranges ?? []), ...told];
  if (ranges.length === 0) return NO_PORTS;
  return new PortSet(ranges, proxyPorts ? [proxyPorts.admin, proxyPorts.control] : []);
}

function probesOf(containers: readonly Container[]): Map<number, Probe[]> {
  const probes = new Map<number, Probe[]>();
  for (const container of containers) {
    for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
      if (probe?.httpGet) {
        const port = probePort(container, probe.httpGet.port);
        addProbe(probes, port, { method: 'GET', path: pathOf(probe.httpGet.path) });
      }
      if (probe?.grpc) addProbe(probes, probe.grpc.port, { method: 'POST', path: GRPC_HEALTH_PATH });
    }
  }
  return probes;
}

function addProbe(probes: Map<number, Probe[]>, port: number | undefined, probe: Probe): void {
  if (port === undefined) return;
  const known = probes.get(port) ?? [];
  if (!known.some((other) => other.path === probe.path && other.method === probe.method)) known.push(probe);
  probes.set(port, known);
}

function pathOf(path: string | undefined): string {
  const bare = (path ?? '').split(/[?#]/)[0] ?? '';
  return bare.startsWith('/') ? bare : `/${bare}`;
}

function probePort(container: Container, port: string | number): number | undefined {
  if (typeof port === 'number') return port;
  return container.ports?.find(({ name }) => name === port)?.containerPort ?? (Number(port) || undefined);
}
