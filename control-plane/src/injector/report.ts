/** Whether a pod is to be injected and, where not, why: the reasons that Events, metrics and the CLI show. */
import { INJECT } from './annotations.ts';
import type { InjectContext, PodLike } from './inject-pod.ts';

export type SkipReason =
  | 'host_network_enabled'
  | 'sidecar_already_exists'
  | 'injection_enable_annotation_absent'
  | 'injection_disable_annotation_present'
  | 'invalid_inject_annotation_at_workload'
  | 'invalid_inject_annotation_at_ns'
  | 'invalid_annotation'
  | 'unsupported_resource';

export interface InjectReport {
  /** Where the annotation that decides stands. */
  annotatedAt: 'workload' | 'namespace' | '';
  skip?: { reason: SkipReason; message: string };
  /** A warning only: UDP is not meshed. */
  hasUdpPorts: boolean;
}

const MODES = ['enabled', 'ingress', 'disabled'];
const SIDECARS = ['linkerd-proxy', 'linkerd-init', 'istio-proxy', 'istio-init'];
const MESSAGES: Record<Exclude<SkipReason, 'invalid_annotation'>, string> = {
  host_network_enabled: 'hostNetwork is enabled',
  sidecar_already_exists: 'pod has a sidecar injected already',
  injection_enable_annotation_absent:
    'neither the namespace nor the pod have the annotation "linkerd.io/inject:enabled"',
  injection_disable_annotation_present: 'pod has the annotation "linkerd.io/inject:disabled"',
  invalid_inject_annotation_at_workload: 'invalid value for annotation "linkerd.io/inject" at workload',
  invalid_inject_annotation_at_ns: 'invalid value for annotation "linkerd.io/inject" at namespace',
  unsupported_resource: 'this resource kind is unsupported',
};

/** What can be said before the configuration annotations are read. */
export function reportOn(pod: PodLike, context: InjectContext): InjectReport {
  const atPod = pod.metadata?.annotations?.[INJECT];
  const atNamespace = context.namespace.annotations[INJECT];
  const all = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  const report: InjectReport = {
    annotatedAt: atPod !== undefined ? 'workload' : atNamespace !== undefined ? 'namespace' : '',
    hasUdpPorts: all.some(({ ports }) => ports?.some(({ protocol }) => protocol === 'UDP')),
  };
  const skip = (reason: Exclude<SkipReason, 'invalid_annotation'>) => skipped(report, reason, MESSAGES[reason]);

  if (!pod.spec) return skip('unsupported_resource');
  if (pod.spec.hostNetwork) return skip('host_network_enabled');
  if (all.some(({ name }) => SIDECARS.includes(name))) return skip('sidecar_already_exists');
  if (atPod !== undefined && !MODES.includes(atPod)) return skip('invalid_inject_annotation_at_workload');
  if (atPod === 'disabled') return skip('injection_disable_annotation_present');
  if (atPod !== undefined || context.isManual) return report;
  if (atNamespace === undefined || atNamespace === 'disabled') return skip('injection_enable_annotation_absent');
  if (!MODES.includes(atNamespace)) return skip('invalid_inject_annotation_at_ns');
  return report;
}

export function skipped(report: InjectReport, reason: SkipReason, message: string): InjectReport {
  return { ...report, skip: { reason, message } };
}
