/**
 * An AdmissionReview and its answer, without I/O of its own. Pods are injected; Services take over the opaque ports of
 * their namespace; anything else is let through unchanged.
 */
import { type KubeObject, MeshError } from '@tulle/api';
import { injectPod, opaquePortsPatch } from './inject-pod.ts';
import type { AddOperation } from './json-patch.ts';
import type { InjectReport } from './report.ts';
import { type Values, VERSION } from './values.ts';

export interface AdmissionRequest {
  uid: string;
  kind: { group: string; version: string; kind: string };
  namespace?: string;
  object?: KubeObject;
}

export interface AdmissionResponse {
  uid: string;
  allowed: boolean;
  status?: { message: string };
  patch?: string;
  patchType?: 'JSONPatch';
  warnings?: string[];
}

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

/** Throws a MeshError `INVALID_ARGUMENT` when it is not an AdmissionReview with a request. */
export function parseReview(body: string): { apiVersion: string; request: AdmissionRequest } {
  let review: { apiVersion?: unknown; kind?: unknown; request?: Partial<AdmissionRequest> } | null;
  try {
    review = JSON.parse(body);
  } catch {
    throw new MeshError('INVALID_ARGUMENT', 'read AdmissionReview: not JSON');
  }
  const apiVersion = review?.apiVersion;
  if (review?.kind !== 'AdmissionReview' || !VERSIONS.includes(apiVersion as string)) {
    throw new MeshError('INVALID_ARGUMENT', 'read AdmissionReview: want one of admission.k8s.io/v1 or v1beta1');
  }
  const { request } = review;
  if (typeof request?.uid !== 'string' || typeof request.kind?.kind !== 'string') {
    throw new MeshError('INVALID_ARGUMENT', 'read AdmissionReview: no request with uid and kind');
  }
  return { apiVersion: apiVersion as string, request: request as AdmissionRequest };
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

export const deny = (uid: string, message: string): AdmissionResponse => ({ uid, allowed: false, status: { message } });

const VERSIONS = ['admission.k8s.io/v1', 'admission.k8s.io/v1beta1'];
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
