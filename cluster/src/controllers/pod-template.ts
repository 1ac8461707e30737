/** Pods from a template, and templates compared and hashed. */

import { isDeepStrictEqual } from 'node:util';
import type { Kind, KubeObject, Pod, PodTemplateSpec } from '@tulle/api';
import { controllerReference } from './ownership.ts';

/** A pod as the template says, controlled by the owner; named by the server unless a name is given. */
export function podFromTemplate(
  template: PodTemplateSpec,
  ownerKind: Kind,
  owner: KubeObject,
  changes: { name?: string; labels?: Record<string, string>; annotations?: Record<string, string> } = {},
): Pod {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  const named = changes.name ? { name: changes.name } : { generateName: generateNameFor(owner.metadata.name) };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...(named as { name: string }),
      namespace: owner.metadata.namespace,
      labels: { ...labels, ...changes.labels },
      annotations: { ...annotations, ...changes.annotations },
      ...(finalizers ? { finalizers } : {}),
      ownerReferences: [controllerReference(ownerKind, owner)],
    },
    spec: structuredClone(template.spec),
  };
}

/** The server shortens the base itself, but a `-` at the end of a cut base would not be a name. */
function generateNameFor(name: string): string {
  return `${name}-`;
}

/** Whether two templates make the same pods; the label that controllers add is not compared. */
export function isSameTemplate(one: PodTemplateSpec, other: PodTemplateSpec, ignoredLabel: string): boolean {
  return isDeepStrictEqual(withoutLabel(one, ignoredLabel), withoutLabel(other, ignoredLabel));
}

/** A short name for the content: the same for the same content, whatever the order of its fields. */
export function hashOf(content: unknown, collisionCount = 0): string {
  const text = JSON.stringify(canonical(content)) + (collisionCount > 0 ? `#${collisionCount}` : '');
  return encode(fnv1a(text));
}

/** Letters and digits that spell no words, as Kubernetes uses in names. */
const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const HASH_CHARS = 10;

function encode(hash: bigint): string {
  let rest = hash;
  let text = '';
  const base = BigInt(ALPHABET.length);
  for (let index = 0; index < HASH_CHARS; index++) {
    text += ALPHABET[Number(rest % base)];
    rest /= base;
  }
  return text;
}

/** FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv). */
function fnv1a(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

function withoutLabel(template: PodTemplateSpec, label: string): unknown {
  const { [label]: _, ...labels } = template.metadata?.labels ?? {};
  return canonical({ ...template, metadata: { ...template.metadata, labels } });
}

/** Fields in order; what is null or empty left out, as it means the same. */
export function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value)
    .map(([name, field]) => [name, canonical(field)] as const)
    .filter(([name, field]) => field !== null && field !== undefined && !isEmptyMetadata(name, field))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields);
}

/** An empty volume source (`emptyDir: {}`) says something; empty labels do not. */
function isEmptyMetadata(name: string, field: unknown): boolean {
  const isEmpty = typeof field === 'object' && field !== null && Object.keys(field).length === 0;
  return isEmpty && ['labels', 'annotations', 'creationTimestamp', 'securityContext', 'resources'].includes(name);
}
