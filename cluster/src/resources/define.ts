/** Builds the description of a built-in kind from what is special about it. */

import { required } from '../apiserver/status.ts';
import { builtinType } from '../schema/builtin.ts';
import { decode, missingFields } from '../schema/decode.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { dnsSubdomain } from './names.ts';
import { allVerbs, qualifiedName, type Resource } from './resource.ts';

export type Definition = Pick<Resource, 'group' | 'version' | 'kind' | 'plural' | 'namespaced'> &
  Partial<Resource> & { type?: string };

export function defineResource(definition: Definition): Resource {
  const { type, ...given } = definition;
  const schema = given.schema ?? builtinType(type ?? definition.kind);
  const hasStatus = given.hasStatus ?? schema.properties?.status !== undefined;
  const validate = given.validate ?? (() => []);
  return {
    listKind: `${definition.kind}List`,
    singular: definition.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    verbs: allVerbs,
    storage: qualifiedName(definition),
    read: (value: Fields) => decode(schema, value),
    isCustom: false,
    hasStatus,
    hasGeneration: hasStatus && schema.properties?.spec !== undefined,
    subresources: [],
    columns: [nameColumn, ageColumn],
    selectableFields: {},
    toStored: (object) => object,
    fromStored: (object: StoredObject) => object,
    applyDefaults: () => {},
    prepareCreate: (object) => {
      if (hasStatus) delete object.status;
    },
    prepareUpdate: () => {},
    validateUpdate: () => [],
    nameRule: dnsSubdomain,
    ...given,
    schema,
    validate: (object) => [...missingFields(schema, object).map((field) => required(field)), ...validate(object)],
  };
}
