/**
 * Injection itself, without I/O: decides whether a pod gets a proxy, and says what is added to it as a JSON Patch.
 * The webhook and `tulle inject --manual` both come here.
 */
import { createHash } from 'node:crypto';
import { type Container, MeshError, type ObjectMeta, type PodSpec } from '@tulle/api';
import { INJECT, inheritedAnnotations, OPAQUE_PORTS, overrideValues } from './annotations.ts';
import { type AddOperation, pointer } from './json-patch.ts';
import {
  debugContainer,
  initContainer,
  initVolume,
  type ProxyOptions,
  proxyContainer,
  proxyVolumes,
} from './pod-parts.ts';
import { parsePortRanges, portsWithin, resolvePortNames } from './ports.ts';
import { type InjectReport, reportOn, skipped } from './report.ts';
import { proxyVersion, type Values } from './values.ts';

/** A pod, or the template of one. */
export interface PodLike {
  metadata?: Partial<ObjectMeta>;
  spec?: PodSpec;
}

export interface InjectContext {
  namespace: { name: string; annotations: Readonly<Record<string, string>> };
  values: Values;
  /** Namespace of the control plane. */
  controlPlaneNamespace: string;
  /** The workload that the pod belongs to, top of its owners. */
  owner?: { kind: string; name: string };
  /** What the annotation `linkerd.io/created-by` says. */
  createdBy: string;
  /** By hand: without the annotation on pod or namespace too, unless it says `disabled`. */
  isManual?: boolean;
}

export interface Injection {
  /** Empty when nothing is to be changed. */
  patch: AddOperation[];
  report: InjectReport;
}

export function injectPod(pod: PodLike, context: InjectContext): Injection {
  const podAnnotations = pod.metadata?.annotations ?? {};
  const namespaceAnnotations = context.namespace.annotations;
  const report = reportOn(pod, context);
  if (report.skip) return { patch: opaquePortsPatch(pod.metadata, namespaceAnnotations), report };

  const { values, problems } = overrideValues(context.values, podAnnotations, namespaceAnnotations);
  const mode = podAnnotations[INJECT] ?? namespaceAnnotations[INJECT];
  values.proxy.isIngress ||= mode === 'ingress';
  if (values.proxy.isIngress && values.proxy.isGateway) problems.push('a pod cannot be in ingress and in gateway mode');
  let options: ProxyOptions | undefined;
  try {
    options = proxyOptions(pod, values, context);
  } catch (error) {
    problems.push(`annotation ${OPAQUE_PORTS}: ${MeshError.from(error).message}`);
  }
  if (!options || problems.length)
    return { patch: [], report: skipped(report, 'invalid_annotation', problems.join('; ')) };
  return { patch: buildPatch(pod, values, options, context), report };
}

/** The annotation of opaque ports that a Service or a pod takes over from its namespace. */
export function opaquePortsPatch(
  metadata: Partial<ObjectMeta> | undefined,
  namespaceAnnotations: Readonly<Record<string, string>>,
): AddOperation[] {
  const inherited = namespaceAnnotations[OPAQUE_PORTS];
  if (inherited === undefined || metadata?.annotations?.[OPAQUE_PORTS] !== undefined) return [];
  const patch = new PatchBuilder();
  patch.addAll('/metadata/annotations', metadata?.annotations, { [OPAQUE_PORTS]: inherited });
  return patch.operations;
}

function proxyOptions(pod: PodLike, values: Values, context: InjectContext): ProxyOptions {
  const { proxy } = values;
  const named = new Map<string, number>();
  for (const { name, containerPort } of containers(pod).flatMap(({ ports }) => ports ?? [])) {
    if (name) named.set(name, containerPort);
  }
  return {
    controlPlaneNamespace: context.controlPlaneNamespace,
    inboundPorts: proxy.podInboundPorts || exposedPorts(pod).join(','),
    opaquePorts: resolvePortNames(proxy.opaquePorts, named),
    ...(context.owner ? { traceService: `${context.owner.kind.toLowerCase()}/${context.owner.name}` } : {}),
    isControlPlane: false,
    isNative: proxy.nativeSidecar,
    isAwaited: proxy.await,
  };
}

function buildPatch(pod: PodLike, values: Values, options: ProxyOptions, context: InjectContext): AddOperation[] {
  const patch = new PatchBuilder();
  if (!pod.metadata) patch.add('/metadata', {});
  patch.addAll('/metadata/annotations', pod.metadata?.annotations, annotationsOf(pod, values, context));
  patch.addAll('/metadata/labels', pod.metadata?.labels, labelsOf(context));
  if (!pod.spec?.volumes) patch.add('/spec/volumes', []);
  if (!pod.spec?.initContainers) patch.add('/spec/initContainers', []);
  patch.add('/spec/volumes/-', initVolume(values));
  // Without a native sidecar the proxy does not run yet while init containers do: redirecting last leaves them the network.
  patch.add(`/spec/initContainers/${options.isNative ? '0' : '-'}`, initContainer(values, options));
  if (values.debugContainer.enabled) patch.add('/spec/containers/-', debugContainer(values));
  for (const volume of proxyVolumes(values)) patch.add('/spec/volumes/-', volume);
  const proxy = proxyContainer(values, options);
  if (options.isNative) patch.add('/spec/initContainers/1', proxy);
  else patch.add(`/spec/containers/${options.isAwaited ? '0' : '-'}`, proxy);
  return patch.operations;
}

function annotationsOf(pod: PodLike, values: Values, context: InjectContext): Record<string, string> {
  const own = pod.metadata?.annotations ?? {};
  const added: Record<string, string> = {
    'linkerd.io/created-by': context.createdBy,
    'linkerd.io/proxy-version': proxyVersion(values),
    'linkerd.io/trust-root-sha256': createHash('sha256').update(values.identityTrustAnchorsPEM).digest('hex'),
    ...inheritedAnnotations(own, context.namespace.annotations),
  };
  if (own[OPAQUE_PORTS] === undefined && added[OPAQUE_PORTS] === undefined) {
    const exposed = containers(pod).flatMap(({ ports }) => (ports ?? []).map(({ containerPort }) => containerPort));
    const opaque = portsWithin(exposed, parsePortRanges(context.values.proxy.opaquePorts));
    if (opaque.length) added[OPAQUE_PORTS] = opaque.join(',');
  }
  return added;
}

function labelsOf({ controlPlaneNamespace, namespace, owner }: InjectContext): Record<string, string> {
  return {
    'linkerd.io/control-plane-ns': controlPlaneNamespace,
    ...(owner && owner.kind.toLowerCase() !== 'pod'
      ? { [`linkerd.io/proxy-${owner.kind.toLowerCase()}`]: owner.name }
      : {}),
    ...(namespace.name ? { 'linkerd.io/workload-ns': namespace.name } : {}),
  };
}

const containers = (pod: PodLike): Container[] => [
  ...(pod.spec?.initContainers ?? []),
  ...(pod.spec?.containers ?? []),
];

/** Ports that the containers declare or are probed on, ascending. */
function exposedPorts(pod: PodLike): number[] {
  const ports = new Set<number>();
  for (const { ports: declared, livenessProbe, readinessProbe, startupProbe } of containers(pod)) {
    for (const { containerPort, protocol } of declared ?? [])
      if ((protocol ?? 'TCP') === 'TCP') ports.add(containerPort);
    for (const probe of [livenessProbe, readinessProbe, startupProbe]) {
      const port = probe?.httpGet?.port ?? probe?.tcpSocket?.port ?? probe?.grpc?.port;
      if (typeof port === 'number') ports.add(port);
    }
  }
  return [...ports].sort((a, b) => a - b);
}

class PatchBuilder {
  readonly operations: AddOperation[] = [];
  add(path: string, value: unknown): void {
    this.operations.push({ op: 'add', path, value });
  }
  /** Adds entries to a map, and first the map where the object has none. */
  addAll(path: string, existing: object | undefined, entries: Record<string, string>): void {
    if (!existing) this.add(path, {});
    for (const [key, value] of Object.entries(entries)) this.add(`${path}/${pointer(key)}`, value);
  }
}
