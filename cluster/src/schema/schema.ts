/** The structural schema that types, custom resources, patches and OpenAPI share: JSON Schema with Kubernetes' extensions. */

export interface Schema {
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  format?: string;
  description?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  required?: string[];
  default?: unknown;
  enum?: unknown[];
  nullable?: boolean;
  pattern?: string;
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-map-type'?: 'atomic' | 'granular';
  'x-kubernetes-int-or-string'?: boolean;
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  'x-kubernetes-embedded-resource'?: boolean;
  [keyword: string]: unknown;
}

/** The schema of one field of an object or map; undefined where anything goes. */
export function fieldSchema(schema: Schema | undefined, field: string): Schema | undefined {
  const known = schema?.properties?.[field];
  if (known !== undefined) return known;
  return typeof schema?.additionalProperties === 'object' ? schema.additionalProperties : undefined;
}

/** How elements of a list are told apart: by key fields, by value, or not at all. */
export type ListKeys = { type: 'map'; keys: string[] } | { type: 'set' } | { type: 'atomic' };

export function listKeys(schema: Schema | undefined): ListKeys {
  const type = schema?.['x-kubernetes-list-type'] ?? 'atomic';
  if (type === 'map') return { type, keys: schema?.['x-kubernetes-list-map-keys'] ?? [] };
  return { type };
}

/** The key values of one element of a map list; a key that is left out has its schema's default. */
export function keyOf(
  item: Record<string, unknown>,
  keys: string[],
  items: Schema | undefined,
): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const key of [...keys].sort()) {
    const value = item[key] ?? items?.properties?.[key]?.default;
    if (value !== undefined) out[key] = value;
  }
  return out;
}
