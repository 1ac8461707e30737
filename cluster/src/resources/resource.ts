/** What the API server knows of one served kind. Everything about verbs is generic; the rest hangs on this description. */

import type { FieldError } from '../apiserver/status.ts';
import type { Decoded } from '../schema/decode.ts';
import type { Schema } from '../schema/schema.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';

export interface Column {
  name: string;
  type?: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  format?: string;
  description?: string;
  /** 0 is always shown, 1 only by `-o wide`. */
  priority?: number;
  value: (object: StoredObject, nowMs: number) => string | number | boolean | null;
}

export interface ScalePaths {
  specReplicas: string[];
  statusReplicas: string[];
  /** A label selector object or its text. */
  selector: string[];
}

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

export const allVerbs: readonly Verb[] = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
];

export interface Resource {
  group: string;
  version: string;
  kind: string;
  listKind: string;
  plural: string;
  singular: string;
  shortNames: readonly string[];
  categories: readonly string[];
  namespaced: boolean;
  verbs: readonly Verb[];
  /** The collection in the store; versions of one kind share it. */
  storage: string;
  schema: Schema;
  /** A copy of a client's value as this kind: unknown fields dropped and listed, types checked. */
  read: (value: Fields) => Decoded;
  isCustom: boolean;
  hasStatus: boolean;
  scale?: ScalePaths;
  /** Whether metadata.generation counts changes outside metadata and status. */
  hasGeneration: boolean;
  /** Sub-resources besides status and scale, as discovery lists them. */
  subresources: readonly { name: string; kind: string; group?: string; version?: string; verbs: readonly string[] }[];
  columns: readonly Column[];
  /** Field selectors besides metadata.name and metadata.namespace. */
  selectableFields: Readonly<Record<string, (object: Fields) => string>>;
  /** Between the stored form and this version's; identity where there is one version. */
  toStored: (object: Fields) => Fields;
  fromStored: (object: StoredObject) => Fields;
  /** Each changes the object in place; it is the caller's own copy. */
  applyDefaults: (object: Fields) => void;
  prepareCreate: (object: Fields) => void;
  prepareUpdate: (object: Fields, old: StoredObject) => void;
  validate: (object: Fields) => FieldError[];
  validateUpdate: (object: Fields, old: StoredObject) => FieldError[];
  nameRule: (name: string) => string | undefined;
  /** Deleting with grace: seconds until the object may go, 0 for at once. */
  gracePeriodSeconds?: (object: StoredObject, requested: number | undefined) => number;
  warnings?: (object: Fields) => string[];
}

export function apiVersionOf(resource: { group: string; version: string }): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

export function qualifiedName(resource: { group: string; plural: string }): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}
