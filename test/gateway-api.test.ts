/**
 * Our definitions of the Gateway API against those of its own release, as the Go module ships them: fields, types, defaults,
 * limits, enums and what is required must be the same; descriptions and the wording of CEL rules are our own.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import type { KubeObject } from '@tulle/api';
import { parse } from 'yaml';
import { definitions, setOf } from '../cli/src/install/crds.ts';

const MODULE = 'sigs.k8s.io/gateway-api';
/** The module is 5 MB. */
const DOWNLOAD_MS_MAX = 120_000;

const ours = definitions().filter((crd) => setOf(crd) === 'gateway');
const versions = new Set(
  ours.map(({ metadata }) => metadata.annotations!['gateway.networking.k8s.io/bundle-version']!),
);

type Schema = Record<string, unknown>;

/** What clients and controllers can tell apart. */
function comparable(schema: Schema, isRoot = false): Schema {
  const { description: _, 'x-kubernetes-validations': __, ...rest } = schema;
  const out: Schema = { ...rest };
  for (const field of ['required', 'enum']) if (rest[field]) out[field] = [...(rest[field] as unknown[])].sort();
  if (rest.items) out.items = comparable(rest.items as Schema);
  if (rest.properties) {
    const fields = Object.entries(rest.properties as Record<string, Schema>);
    const own = fields.filter(([name]) => !isRoot || !['apiVersion', 'kind', 'metadata'].includes(name));
    out.properties = Object.fromEntries(own.map(([name, property]) => [name, comparable(property)]));
  }
  return out;
}

function comparableDefinition({ spec, metadata }: KubeObject) {
  const { description: _, ...names } = spec.names;
  return {
    annotations: metadata.annotations,
    group: spec.group,
    scope: spec.scope,
    names,
    versions: Object.fromEntries(
      spec.versions.map((version: Schema & { name: string; schema: { openAPIV3Schema: Schema } }) => [
        version.name,
        {
          served: version.served,
          storage: version.storage,
          isDeprecated: version.deprecated ?? false,
          hasStatus: Object.keys((version.subresources as object) ?? {}).includes('status'),
          columns: version.additionalPrinterColumns,
          schema: comparable(version.schema.openAPIV3Schema, true),
        },
      ]),
    ),
  };
}

/** The folder of the module; undefined with a reason where it cannot be had. */
async function moduleFolder(version: string): Promise<{ folder?: string; reason?: string }> {
  const cwd = mkdtempSync(join(tmpdir(), 'gateway-api-'));
  after(() => rmSync(cwd, { recursive: true, force: true }));
  try {
    const options = { cwd, timeout: DOWNLOAD_MS_MAX };
    await promisify(execFile)('go', ['mod', 'init', 'example.com/compare'], options);
    const { stdout } = await promisify(execFile)('go', ['mod', 'download', '-json', `${MODULE}@${version}`], options);
    return { folder: JSON.parse(stdout).Dir };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (code === 'ENOENT') return { reason: 'Go is not installed' };
    return { reason: `Go cannot download ${MODULE}@${version}: ${stdout || stderr}` };
  }
}

const [version = ''] = versions;
const { folder, reason } = await moduleFolder(version);

test('all definitions are of one release', () => assert.equal(versions.size, 1));

for (const crd of ours) {
  test(`${crd.metadata.name} is the one of ${MODULE} ${version}`, { skip: reason ?? false }, () => {
    const file = `gateway.networking.k8s.io_${crd.spec.names.plural}.yaml`;
    const theirs = parse(readFileSync(join(folder!, 'config/crd/experimental', file), 'utf8')) as KubeObject;
    assert.deepEqual(comparableDefinition(crd), comparableDefinition(theirs));
  });
}
