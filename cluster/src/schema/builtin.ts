/** The compiled built-in types, by name (`Pod`, `ServiceSpec`, …). */
import { accessTypes } from './access-types.ts';
import { coreTypes } from './core-types.ts';
import { extensionTypes } from './extension-types.ts';
import { metaTypes } from './meta-types.ts';
import { networkTypes } from './network-types.ts';
import { compileTypes } from './notation.ts';
import type { Schema } from './schema.ts';
import { workloadsTypes } from './workloads-types.ts';

const types = compileTypes(metaTypes, coreTypes, workloadsTypes, accessTypes, extensionTypes, networkTypes);

const typeMeta: Record<string, Schema> = { apiVersion: { type: 'string' }, kind: { type: 'string' } };
for (const type of Object.values(types)) {
  if (type.properties?.metadata === types.ObjectMeta) type.properties = { ...typeMeta, ...type.properties };
}

export const objectMeta: Schema = types.ObjectMeta!;

/** The type of that name; asking for one that does not exist is a mistake in this package. */
export function builtinType(name: string): Schema {
  const type = types[name];
  if (type === undefined) throw new Error(`no built-in type ${name}`);
  return type;
}

/** The type of a built-in kind; two groups have an Event. */
export function builtinSchema(apiVersion: string, kind: string): Schema | undefined {
  return types[apiVersion.startsWith('events.k8s.io/') ? `Events${kind}` : kind];
}

export function builtinTypeNames(): string[] {
  return Object.keys(types);
}
