/**
 * The shapes of Kubernetes objects as an API server returns them: `kubernetes-types` with `metadata` always there and
 * `status` writable. Objects of kinds that are not typed here are `KubeObject`.
 */

import type * as admission from 'kubernetes-types/admissionregistration/v1.js';
import type * as extensions from 'kubernetes-types/apiextensions/v1.js';
import type * as apps from 'kubernetes-types/apps/v1.js';
import type * as batch from 'kubernetes-types/batch/v1.js';
import type * as coordination from 'kubernetes-types/coordination/v1.js';
import type * as core from 'kubernetes-types/core/v1.js';
import type * as discovery from 'kubernetes-types/discovery/v1.js';
import type * as meta from 'kubernetes-types/meta/v1.js';
import type * as policy from 'kubernetes-types/policy/v1.js';

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Metadata as a server returns it. */
export type ObjectMeta = Writable<Omit<meta.ObjectMeta, 'name'>> & { name: string };

/** Any object of a Kubernetes API; what it holds beyond its metadata depends on its kind. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  [field: string]: any;
}

/** A `kubernetes-types` object as a server returns it. */
export type Served<T> = Writable<Omit<T, 'metadata' | 'apiVersion' | 'kind'>> & {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
};

export type OwnerReference = meta.OwnerReference;
export type LabelSelector = meta.LabelSelector;
/** The answer of an API server to a request that failed. */
export type Status = Omit<meta.Status, 'apiVersion' | 'kind'> & { apiVersion?: string; kind?: string };

export type Pod = Served<core.Pod>;
export type PodSpec = core.PodSpec;
export type PodTemplateSpec = core.PodTemplateSpec;
export type Container = core.Container;
export type Namespace = Served<core.Namespace>;
export type Node = Served<core.Node>;
export type Service = Served<core.Service>;
export type Endpoints = Served<core.Endpoints>;
export type ConfigMap = Served<core.ConfigMap>;
export type Secret = Served<core.Secret>;
export type ServiceAccount = Served<core.ServiceAccount>;
export type CoreEvent = Served<core.Event>;
export type Deployment = Served<apps.Deployment>;
export type ReplicaSet = Served<apps.ReplicaSet>;
export type StatefulSet = Served<apps.StatefulSet>;
export type DaemonSet = Served<apps.DaemonSet>;
export type ControllerRevision = Served<apps.ControllerRevision>;
export type Job = Served<batch.Job>;
export type CronJob = Served<batch.CronJob>;
export type EndpointSlice = Served<discovery.EndpointSlice>;
export type Endpoint = discovery.Endpoint;
export type Lease = Served<coordination.Lease>;
export type PodDisruptionBudget = Served<policy.PodDisruptionBudget>;
export type CustomResourceDefinition = Served<extensions.CustomResourceDefinition>;
export type MutatingWebhookConfiguration = Served<admission.MutatingWebhookConfiguration>;
export type ValidatingWebhookConfiguration = Served<admission.ValidatingWebhookConfiguration>;

/** `namespace/name`, or `name` where there is no namespace: the key of an object in stores and queues. */
export function objectKey(object: { metadata: { name: string; namespace?: string } }): string {
  const { name, namespace } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

/** The parts of an `objectKey`. */
export function splitKey(key: string): { namespace?: string; name: string } {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
