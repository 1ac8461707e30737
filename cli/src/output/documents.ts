/** Kubernetes objects as a stream of YAML documents, or as one JSON List. */
import { MeshError } from '@tulle/api';
import { stringify } from 'yaml';

export function printDocuments(objects: readonly object[], format: string): string {
  if (format === 'json') {
    const list = objects.length === 1 ? objects[0] : { apiVersion: 'v1', kind: 'List', items: objects };
    return `${JSON.stringify(list, null, 2)}\n`;
  }
  return objects.map((object) => `---\n${stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })}`).join('');
}

/** Throws unless the format is one of those that the command has. */
export function outputFormat(format: string | undefined, allowed: readonly string[]): string {
  const chosen = format ?? allowed[0]!;
  if (!allowed.includes(chosen)) {
    throw new MeshError('INVALID_ARGUMENT', `--output ${chosen}: want one of ${allowed.join(', ')}`);
  }
  return chosen;
}
