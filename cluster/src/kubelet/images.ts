/** Image names → programs of this machine, by the table that the build writes (`dist/images.json`). */

import { readFileSync } from 'node:fs';
import { MeshError } from '@tulle/api';

export interface Image {
  /** Files of the machine that the image consists of, beside the machine's system folders. */
  binds?: { from: string; to: string }[];
  entrypoint?: string[];
  command?: string[];
  /** `uid`, or `uid:gid`. */
  user?: number | string;
  env?: Record<string, string>;
  workingDir?: string;
  /** Asks the program to end; SIGTERM when not given. */
  stopSignal?: string;
}

/** By image name without tag. */
export type ImageTable = Record<string, Image>;

export function loadImages(path: string): ImageTable {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ImageTable;
  } catch (cause) {
    throw new MeshError('FAILED_PRECONDITION', `load images from ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** The image of a name; tag and digest do not matter, nor does the registry that short names stand for. */
export function findImage(images: ImageTable, name: string): Image | undefined {
  const repository = imageName(name);
  const short = repository.replace(/^docker\.io\//, '').replace(/^library\//, '');
  return images[repository] ?? images[short];
}

export function unknownImage(images: ImageTable, name: string): string {
  const known = Object.keys(images).sort().join(', ');
  return `image "${name}" is not in this machine's image table, which has: ${known}`;
}

export function imageName(name: string): string {
  const withoutDigest = name.split('@')[0] ?? name;
  const colon = withoutDigest.lastIndexOf(':');
  return colon > withoutDigest.lastIndexOf('/') ? withoutDigest.slice(0, colon) : withoutDigest;
}
