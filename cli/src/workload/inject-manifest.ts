/**
 * Injection of manifests: by default only the annotations that make the webhook inject, by hand the proxy itself. Changes
 * the documents in place and says for every object what was done.
 */
import { MeshError } from '@tulle/api';
import { INJECT, OPAQUE_PORTS, overrideValues } from '@tulle/control-plane/injector/annotations.ts';
import { injectPod } from '@tulle/control-plane/injector/inject-pod.ts';
import { type AddOperation, applyAdds, pointer } from '@tulle/control-plane/injector/json-patch.ts';
import { reportOn, type SkipReason } from '@tulle/control-plane/injector/report.ts';
import type { Values } from '@tulle/control-plane/injector/values.ts';
import { applyToDocument } from './documents.ts';
import { type ManifestObject, templateOf } from './workload.ts';

export interface InjectSettings {
  values: Values;
  controlPlaneNamespace: string;
  createdBy: string;
  isManual: boolean;
  /** `linkerd.io/inject` and `config.linkerd.io/*`, as the flags of the command say. */
  annotations: Readonly<Record<string, string>>;
}

export interface ObjectReport {
  kind: string;
  name: string;
  action: 'injected' | 'annotated' | 'skipped' | 'uninjected';
  reason?: SkipReason;
  hasUdpPorts: boolean;
}

/** Throws when an annotation, of the object or by a flag, has a bad value. */
export function injectObject(target: ManifestObject, settings: InjectSettings): ObjectReport {
  const report = { kind: target.kind.toLowerCase(), name: target.name, hasUdpPorts: false };
  if (target.kind === 'Namespace' || target.kind === 'Service') return { ...report, ...annotateOnly(target, settings) };

  const template = templateOf(target);
  if (!target.templatePath || !template?.spec) return { ...report, action: 'skipped', reason: 'unsupported_resource' };
  const isOwnPod = target.kind === 'Pod';
  const context = {
    namespace: { name: target.namespace, annotations: {} },
    values: settings.values,
    controlPlaneNamespace: settings.controlPlaneNamespace,
    createdBy: settings.createdBy,
    isManual: true,
    ...(isOwnPod ? {} : { owner: { kind: target.kind, name: target.name } }),
  };
  const before = reportOn(template, context);
  const isControlPlane = template.metadata?.labels?.['linkerd.io/control-plane-component'] !== undefined;
  if (before.skip || isControlPlane) {
    const reason = before.skip?.reason ?? 'unsupported_resource';
    if (reason.startsWith('invalid'))
      throw new MeshError('INVALID_ARGUMENT', `${describe(target)}: ${before.skip?.message}`);
    return { ...report, action: 'skipped', reason, hasUdpPorts: before.hasUdpPorts };
  }
  const annotating = annotationsPatch(template.metadata, settings.annotations);
  const annotated = applyAdds(template, annotating);
  const { problems } = overrideValues(settings.values, annotated.metadata?.annotations ?? {}, {});
  if (problems.length) throw new MeshError('INVALID_ARGUMENT', `${describe(target)}: ${problems.join('; ')}`);

  let patch = annotating;
  if (settings.isManual) {
    const injection = injectPod(annotated, context);
    if (injection.report.skip)
      throw new MeshError('INVALID_ARGUMENT', `${describe(target)}: ${injection.report.skip.message}`);
    patch = [...annotating, ...injection.patch];
  }
  applyToDocument(target.document, [...target.path, ...target.templatePath], patch);
  return { ...report, action: 'injected', hasUdpPorts: before.hasUdpPorts };
}

/** A Namespace takes all annotations, a Service only the one of opaque ports. */
function annotateOnly(
  target: ManifestObject,
  settings: InjectSettings,
): { action: 'annotated' | 'skipped'; reason?: SkipReason } {
  const opaque = settings.annotations[OPAQUE_PORTS];
  const own = target.kind === 'Namespace' ? settings.annotations : opaque ? { [OPAQUE_PORTS]: opaque } : {};
  if (target.kind === 'Service' && !opaque) return { action: 'skipped', reason: 'unsupported_resource' };
  if (target.object.metadata?.annotations?.[INJECT] === 'disabled') {
    return { action: 'skipped', reason: 'injection_disable_annotation_present' };
  }
  applyToDocument(target.document, target.path, annotationsPatch(target.object.metadata, own));
  return { action: 'annotated' };
}

function annotationsPatch(
  metadata: { annotations?: object } | undefined,
  annotations: Readonly<Record<string, string>>,
): AddOperation[] {
  const add = (path: string, value: unknown): AddOperation => ({ op: 'add', path, value });
  return [
    ...(metadata ? [] : [add('/metadata', {})]),
    ...(metadata?.annotations ? [] : [add('/metadata/annotations', {})]),
    ...Object.entries(annotations).map(([key, value]) => add(`/metadata/annotations/${pointer(key)}`, value)),
  ];
}

const describe = ({ kind, name }: ManifestObject) => `inject ${kind.toLowerCase()} "${name}"`;
