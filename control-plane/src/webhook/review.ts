/** AdmissionReview as the API server sends it, v1 or v1beta1, and the answer in the version of the question. */
import { type KubeObject, MeshError } from '@tulle/api';
import type { WebhookAnswer } from './server.ts';

export interface AdmissionRequest {
  uid: string;
  kind: { group: string; version: string; kind: string };
  name?: string;
  namespace?: string;
  operation?: string;
  object?: KubeObject;
  oldObject?: KubeObject | null;
}

export interface AdmissionResponse {
  uid: string;
  allowed: boolean;
  status?: { message: string; code?: number };
  patch?: string;
  patchType?: 'JSONPatch';
  /** kubectl prints each as `Warning: …`. */
  warnings?: string[];
}

/** From a request's body to an HTTP answer; `answer` must not throw. */
export function reviewHandler(
  answer: (request: AdmissionRequest) => Promise<AdmissionResponse>,
): (body: string) => Promise<WebhookAnswer> {
  return async (body) => {
    let review: ReturnType<typeof parseReview>;
    try {
      review = parseReview(body);
    } catch (error) {
      return { status: 400, body: `${MeshError.from(error).message}\n` };
    }
    const { apiVersion, request } = review;
    const response = await answer(request);
    return { status: 200, body: JSON.stringify({ apiVersion, kind: 'AdmissionReview', response }) };
  };
}

/** Throws a MeshError `INVALID_ARGUMENT` when it is not an AdmissionReview with a request. */
function parseReview(body: string): { apiVersion: string; request: AdmissionRequest } {
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

export const deny = (uid: string, message: string): AdmissionResponse => ({ uid, allowed: false, status: { message } });

const VERSIONS = ['admission.k8s.io/v1', 'admission.k8s.io/v1beta1'];
