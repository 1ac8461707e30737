/** For tests that say what becomes of each field of a resource: the fields that there are. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
}

/** `spec.rules[].name` and all others that no field is below, of every version; `crd` is the name of its file. */
export function fieldsOf(crd: string): string[] {
  const file = new URL(`../../../api/crds/${crd}.yaml`, import.meta.url);
  const { spec } = parse(readFileSync(file, 'utf8'), { merge: true });
  const fields = new Set<string>();
  const walk = ({ properties, items }: Schema, path: string) => {
    for (const [name, schema] of Object.entries(properties ?? {})) walk(schema, `${path}.${name}`);
    if (items) walk(items, `${path}[]`);
    else if (!properties) fields.add(path);
  };
  for (const { schema } of spec.versions) walk(schema.openAPIV3Schema.properties.spec, 'spec');
  return [...fields];
}
