/** From a request for admission to its answer: refused, or let in with what its author should know. Never throws. */
import { type KubeObject, MeshError } from '@tulle/api';
import type { AdmissionRequest, AdmissionResponse } from '../webhook/review.ts';
import type { Verdict } from './rules.ts';

export interface ReviewOptions {
  check(group: string, kind: string, object: KubeObject): Verdict;
  /** What the rest of the cluster means for the object; may throw. */
  surroundings(object: KubeObject): Promise<readonly string[]>;
  /** Told of what should not have happened. */
  onError(error: MeshError): void;
}

/** An API server cuts longer ones, and drops them past 4 KiB in all. */
const WARNING_CHARACTERS_MAX = 250;
const WARNINGS_MAX = 12;
/** Enough for twenty problems; the message goes through HTTP headers and terminals. */
const REFUSAL_CHARACTERS_MAX = 8_192;

export async function answerReview(request: AdmissionRequest, options: ReviewOptions): Promise<AdmissionResponse> {
  const { uid, kind, operation } = request;
  try {
    if (operation === 'DELETE') return { uid, allowed: true };
    const object = typedObject(request);
    // What is going away must be able to lose its finalizers, whatever it says.
    if (object.metadata.deletionTimestamp && isSameSpec(request)) return { uid, allowed: true };
    const { refusal, warnings } = options.check(kind.group, kind.kind, object);
    if (refusal !== undefined) return refuse(uid, refusal);
    const all = [...warnings, ...(await surroundings(object, options))];
    return { uid, allowed: true, ...(all.length ? { warnings: all.slice(0, WARNINGS_MAX).map(cut) } : {}) };
  } catch (cause) {
    const error = MeshError.from(cause, 'INTERNAL');
    if (error.code === 'INVALID_ARGUMENT') return refuse(uid, error.message);
    options.onError(error);
    return refuse(
      uid,
      `the webhook failed, which is a fault of the mesh and not of this object: ${error.message}`,
      500,
    );
  }
}

function refuse(uid: string, message: string, code = 403): AdmissionResponse {
  const text = message.length > REFUSAL_CHARACTERS_MAX ? `${message.slice(0, REFUSAL_CHARACTERS_MAX)}…` : message;
  return { uid, allowed: false, status: { message: text, code } };
}

/** With the type that the API server says it has, and the namespace of the request. */
function typedObject({ object, kind, namespace, name }: AdmissionRequest): KubeObject {
  const at = `read ${kind.kind} of AdmissionReview`;
  if (!object || typeof object !== 'object' || Array.isArray(object)) {
    throw new MeshError('INVALID_ARGUMENT', `${at}: found no object`);
  }
  const metadata = object.metadata ?? {};
  if (typeof metadata !== 'object') throw new MeshError('INVALID_ARGUMENT', `${at}: found no object in metadata`);
  return {
    ...object,
    apiVersion: kind.group ? `${kind.group}/${kind.version}` : kind.version,
    kind: kind.kind,
    metadata: { ...metadata, name: metadata.name ?? name ?? '', ...(namespace ? { namespace } : {}) },
  };
}

function isSameSpec({ object, oldObject }: AdmissionRequest): boolean {
  return JSON.stringify(object?.spec) === JSON.stringify(oldObject?.spec);
}

/** A warning is never worth a refusal. */
async function surroundings(object: KubeObject, options: ReviewOptions): Promise<readonly string[]> {
  try {
    return await options.surroundings(object);
  } catch (cause) {
    options.onError(MeshError.from(cause, 'INTERNAL'));
    return [];
  }
}

const cut = (text: string) =>
  text.length > WARNING_CHARACTERS_MAX ? `${text.slice(0, WARNING_CHARACTERS_MAX - 1)}…` : text;
