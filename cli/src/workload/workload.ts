/** The objects in a manifest and where the pod, or the template of pods, is in each. */

import type { PodLike } from '@tulle/control-plane/injector/inject-pod.ts';
import { type Document, isMap, isSeq } from 'yaml';
import type { Path } from './documents.ts';

export interface ManifestObject {
  document: Document;
  /** Where the object is in its document: empty, or below the items of a List. */
  path: Path;
  kind: string;
  name: string;
  namespace: string;
  object: any;
  /** Where the pod template is within the object, for kinds that have one. */
  templatePath?: Path;
}

const TEMPLATE = ['spec', 'template'];
const TEMPLATE_PATHS: Record<string, Path> = {
  Pod: [],
  Deployment: TEMPLATE,
  ReplicaSet: TEMPLATE,
  ReplicationController: TEMPLATE,
  StatefulSet: TEMPLATE,
  DaemonSet: TEMPLATE,
  Job: TEMPLATE,
  CronJob: ['spec', 'jobTemplate', 'spec', 'template'],
};

/** Every object, those within a List each for themselves. */
export function objectsIn(document: Document): ManifestObject[] {
  const whole = document.toJS();
  if (!whole || typeof whole !== 'object') return [];
  const isList = typeof whole.kind === 'string' && whole.kind.endsWith('List') && Array.isArray(whole.items);
  if (!isList) return [describe(document, [], whole)];
  return whole.items.map((item: any, index: number) => describe(document, ['items', index], item));
}

export function templateOf({ object, templatePath }: ManifestObject): PodLike | undefined {
  return templatePath?.reduce((node: any, segment) => node?.[segment], object) ?? undefined;
}

function describe(document: Document, path: Path, object: any): ManifestObject {
  const kind = typeof object?.kind === 'string' ? object.kind : '';
  const templatePath = TEMPLATE_PATHS[kind];
  return {
    document,
    path,
    kind,
    name: String(object?.metadata?.name ?? ''),
    namespace: String(object?.metadata?.namespace ?? ''),
    object,
    ...(templatePath ? { templatePath } : {}),
  };
}

/** Deletes what is at a path and then, outwards, each map or list that this leaves empty. */
export function deleteAt(document: Document, path: Path): void {
  document.deleteIn(path);
  const parentPath = path.slice(0, -1);
  const parent = parentPath.length > 1 ? document.getIn(parentPath, true) : undefined;
  if ((isMap(parent) || isSeq(parent)) && parent.items.length === 0) deleteAt(document, parentPath);
}
