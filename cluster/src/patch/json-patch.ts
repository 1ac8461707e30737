/** JSON Patch (RFC 6902) on plain values; the input is not changed. */
import { isDeepStrictEqual } from 'node:util';
import { badRequest, failure } from '../apiserver/status.ts';

/** The real API server's own limit on operations in one patch. */
export const JSON_PATCH_OPERATIONS_MAX = 10_000;

interface Operation {
  op: string;
  path: string;
  from?: string;
  value?: unknown;
}

export function applyJsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest('error decoding patch: a JSON patch is a list of operations');
  if (patch.length > JSON_PATCH_OPERATIONS_MAX) {
    throw failure(
      413,
      'RequestEntityTooLarge',
      `the allowed maximum operations in a JSON patch is ${JSON_PATCH_OPERATIONS_MAX}, got ${patch.length}`,
    );
  }
  let root: unknown = structuredClone(target);
  for (const operation of patch as Operation[]) root = applyOne(root, operation);
  return root;
}

function applyOne(root: unknown, operation: Operation): unknown {
  if (typeof operation?.path !== 'string') throw badRequest('error decoding patch: an operation has no path');
  const { op, path } = operation;
  switch (op) {
    case 'add':
      return add(root, path, structuredClone(operation.value));
    case 'remove':
      return remove(root, path);
    case 'replace':
      if (path === '') return structuredClone(operation.value);
      return add(remove(root, path), path, structuredClone(operation.value));
    case 'move': {
      const moved = read(root, operation.from ?? '');
      return add(remove(root, operation.from ?? ''), path, moved);
    }
    case 'copy':
      return add(root, path, structuredClone(read(root, operation.from ?? '')));
    case 'test':
      if (!isDeepStrictEqual(read(root, path, true), operation.value ?? null)) {
        throw unprocessable(`testing value ${path} failed: test failed`);
      }
      return root;
    default:
      throw badRequest(`error decoding patch: unexpected kind: ${op}`);
  }
}

const unprocessable = (message: string) =>
  failure(422, 'Invalid', `the server rejected our request due to an error in our request: ${message}`);

function tokens(path: string): string[] {
  if (path === '') return [];
  if (!path.startsWith('/')) throw unprocessable(`the path ${path} does not begin with /`);
  return path
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function step(value: unknown, token: string, path: string): unknown {
  if (Array.isArray(value)) {
    const index = Number(token);
    if (/^\d+$/.test(token) && index < value.length) return value[index];
  } else if (typeof value === 'object' && value !== null && Object.hasOwn(value, token)) {
    return (value as Record<string, unknown>)[token];
  }
  throw unprocessable(`the path ${path} does not exist`);
}

function read(root: unknown, path: string, isMissingNull = false): unknown {
  let value = root;
  const all = tokens(path);
  for (const [i, token] of all.entries()) {
    if (isMissingNull && i === all.length - 1 && typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return (value as Record<string, unknown>)[token] ?? null;
    }
    value = step(value, token, path);
  }
  return value;
}

function parentOf(root: unknown, path: string): { parent: unknown; last: string } {
  const all = tokens(path);
  const last = all.pop()!;
  let parent = root;
  for (const token of all) parent = step(parent, token, path);
  return { parent, last };
}

function add(root: unknown, path: string, value: unknown): unknown {
  if (path === '') return value;
  const { parent, last } = parentOf(root, path);
  if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : Number(last);
    if ((last !== '-' && !/^\d+$/.test(last)) || index > parent.length)
      throw unprocessable(`the index in ${path} is out of bounds`);
    parent.splice(index, 0, value);
  } else if (typeof parent === 'object' && parent !== null && last !== '__proto__') {
    (parent as Record<string, unknown>)[last] = value;
  } else {
    throw unprocessable(`the path ${path} does not exist`);
  }
  return root;
}

function remove(root: unknown, path: string): unknown {
  const { parent, last } = parentOf(root, path);
  step(parent, last, path);
  if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else delete (parent as Record<string, unknown>)[last];
  return root;
}
