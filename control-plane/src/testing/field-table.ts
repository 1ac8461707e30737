/** For tests: tables that show each field of a kind on the wire, held against the kind's own definition. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { parse } from 'yaml';

type Json = any;

/** The field, a spec that has it, and what it comes to; `REFUSED`: every request fails. */
export type Row = readonly [field: string, spec: object, wire: unknown];

export const REFUSED = 'refused';

/** Two tests: every row holds, and every field of `api/crds/CRD.yaml` that is not `elsewhere` has one. */
export function testFields(
  crd: string,
  rows: readonly Row[],
  told: (spec: object) => unknown,
  elsewhere: (field: string) => boolean = () => false,
): void {
  test(`${crd}: each field on the wire`, () => {
    for (const [field, spec, expected] of rows) {
      const message = `${field} of ${JSON.stringify(spec)}`;
      assert.ok(hasField(spec, field.split('.')), message);
      const found = told(spec);
      if (expected === REFUSED) assert.match(JSON.stringify(found), /"failureInjector":/, message);
      else assert.deepEqual(found, expected, message);
    }
  });

  test(`${crd}: no field is without a row`, () => {
    const named = new Set(rows.map(([field]) => field));
    const missing = fieldsOf(crd).filter((field) => !named.has(field) && !elsewhere(field));
    assert.deepEqual(missing, []);
  });
}

function hasField(value: unknown, [name = '', ...rest]: string[]): boolean {
  if (name === '*') return Object.keys(value as object).length > 0;
  const inner = (value as Record<string, unknown> | undefined)?.[name.replace('[]', '')];
  if (name.endsWith('[]')) return (inner as unknown[]).some((each) => rest.length === 0 || hasField(each, rest));
  return rest.length === 0 ? inner !== undefined : hasField(inner, rest);
}

/** The leaves of the spec in the definition, of all versions. */
function fieldsOf(crd: string): string[] {
  const text = readFileSync(join(import.meta.dirname, `../../../api/crds/${crd}.yaml`), 'utf8');
  const { spec } = parse(text, { merge: true });
  return [
    ...new Set<string>(spec.versions.flatMap((each: Json) => leaves(each.schema.openAPIV3Schema.properties.spec, ''))),
  ];
}

function leaves(schema: Json, path: string): string[] {
  if (schema.items) return leaves(schema.items, `${path}[]`);
  if (schema.additionalProperties) return [`${path}.*`];
  if (!schema.properties) return [path];
  return Object.entries(schema.properties).flatMap(([name, inner]) =>
    leaves(inner, path === '' ? name : `${path}.${name}`),
  );
}
