/** The examples of docs/ as manifests: what a page shows is what the tests apply. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MeshError } from '@tulle/api';
import { parseAllDocuments } from 'yaml';
import { root } from './cluster.ts';

/** The objects of the YAML block below `<!-- example: name -->` in a page of docs/. */
export function exampleOf(page: string, name: string): Record<string, any>[] {
  const text = readFileSync(join(root, 'docs', page), 'utf8');
  const [, block] = new RegExp(`<!-- example: ${name} -->\\n\`\`\`yaml\\n([^]*?)\n\`\`\``).exec(text) ?? [];
  if (block === undefined) throw new MeshError('NOT_FOUND', `docs/${page}: no example ${name}`);
  return parseAllDocuments(block).map((document) => document.toJS());
}
