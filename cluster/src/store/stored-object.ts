/** One stored object and what is computed from it once: its key, its revision and its JSON text. */

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ManagedFieldsEntry {
  manager?: string;
  operation?: 'Apply' | 'Update';
  apiVersion?: string;
  time?: string;
  fieldsType?: 'FieldsV1';
  fieldsV1?: Record<string, unknown>;
  subresource?: string;
}

export interface StoredMetadata {
  name: string;
  namespace?: string;
  generateName?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  creationTimestamp: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  managedFields?: ManagedFieldsEntry[];
}

export type Fields = Record<string, any>;

export interface StoredObject extends Fields {
  apiVersion: string;
  kind: string;
  metadata: StoredMetadata;
}

export class Entry {
  readonly object: StoredObject;
  readonly key: string;
  readonly revision: number;
  #json = new Map<string, string>();

  constructor(object: StoredObject) {
    this.object = object;
    this.key = Entry.keyOf(object.metadata);
    this.revision = Number(object.metadata.resourceVersion);
  }

  get namespace(): string | undefined {
    return this.object.metadata.namespace;
  }

  get name(): string {
    return this.object.metadata.name;
  }

  /** The object's JSON as served under `apiVersion`; `convert` runs once per version and object. */
  json(apiVersion: string, convert: (object: StoredObject) => Fields): string {
    let text = this.#json.get(apiVersion);
    if (text === undefined) {
      text = JSON.stringify(convert(this.object));
      this.#json.set(apiVersion, text);
    }
    return text;
  }

  /** For an entry that is history: few will ask for its text again. */
  forgetJson(): void {
    this.#json.clear();
  }

  static keyOf(metadata: { name: string; namespace?: string }): string {
    return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
  }
}
