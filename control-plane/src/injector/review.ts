/**
 * A request for admission and its answer, without I/O of its own. Pods are injected; Services take over the opaque ports of
 * their namespace; anything else is let through unchanged.
 */
import { type KubeObject, MeshError } from '@tulle/api';
import type { AdmissionRequest, AdmissionResponse } from '../webhook/review.ts';
import { injectPod, opaquePortsPatch } from './inject-pod.ts';
import type { AddOperation } from './json-patch.ts';
import type { InjectReport } from './report.ts';
import { type Values, VERSION } from './values.ts';

export interface Owner {
  apiVersion: string;
  kind: string;
  name: string;
  uid?: string;
}

export interface ReviewSources {
  values: Values;
  controlPlaneNamespace: string;
  namespaceAnnotations(name: string): Promise<Readonly<Record<string, string>>>;
  ownerOf(pod: KubeObject, namespace: string): Promise<Owner | undefined>;
}

export interface ReviewOutcome {
  response: AdmissionResponse;
  /** For a pod: what to record about it. */
  injection?: { owner: Owner; namespace: string; report: InjectReport };
}

export async function answerReview(request: AdmissionRequest, sources: ReviewSources): Promise<ReviewOutcome> {
  const { object, namespace = '' } = request;
  const kind = request.kind.group === '' ? request.kind.kind : '';
  if (kind !== 'Pod' && kind !== 'Service') return { response: allow(request, []) };
  if (!object || typeof object !== 'object' || (object.metadata !== undefined && typeof object.metadata !== 'object')) {
    throw new MeshError('INVALID_ARGUMENT', `read ${kind} of AdmissionReview: no object with metadata`);
  }
  const annotations = await sources.namespaceAnnotations(namespace);
  if (kind === 'Service') return { response: allow(request, opaquePortsPatch(object.metadata, annotations)) };

  const owner = await sources.ownerOf(object, namespace);
  const { patch, report } = injectPod(object, {
    namespace: { name: namespace, annotations },
    values: sources.values,
    controlPlaneNamespace: sources.controlPlaneNamespace,
    ...(owner ? { owner } : {}),
    createdBy: `linkerd/proxy-injector ${VERSION}`,
  });
  const warnings = WORTH_A_WARNING.has(report.skip?.reason ?? '') ? [`not injected: ${report.skip?.message}`] : [];
  return {
    response: { ...allow(request, patch), ...(warnings.length ? { warnings } : {}) },
    injection: { owner: owner ?? podAsOwner(object), namespace, report },
  };
}

/** Whoever writes one of these meant a proxy and would miss it; kubectl shows the warning at once. */
const WORTH_A_WARNING = new Set([
  'invalid_annotation',
  'invalid_inject_annotation_at_workload',
  'invalid_inject_annotation_at_ns',
]);

function allow({ uid }: AdmissionRequest, patch: AddOperation[]): AdmissionResponse {
  if (!patch.length) return { uid, allowed: true };
  return {
    uid,
    allowed: true,
    patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
    patchType: 'JSONPatch',
  };
}

const podAsOwner = ({ metadata }: KubeObject): Owner => ({
  apiVersion: 'v1',
  kind: 'Pod',
  name: metadata?.name ?? `${metadata?.generateName ?? ''}`,
  ...(metadata?.uid ? { uid: metadata.uid } : {}),
});
