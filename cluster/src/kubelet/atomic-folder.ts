/**
 * Writes a volume's files so that a reader sees all of the old or all of the new ones: files are links into `..data`,
 * itself a link to the present version's folder, replaced by a rename.
 */

import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';

export interface VolumeFile {
  content: Buffer;
  mode: number;
}

const DATA = '..data';

/** The files belong to `group`, if given, with read access. Does nothing where they are there already. */
export async function writeAtomicFolder(folder: string, files: Map<string, VolumeFile>, group?: number): Promise<void> {
  if (await hasFiles(folder, files)) return;
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const version = await mkdtemp(join(folder, `..${new Date().toISOString().replace(/[-:T]/g, '_').slice(0, 19)}.`));
  await chmod(version, 0o755);
  for (const [path, { content, mode }] of files) {
    const target = join(version, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    await writeFile(target, content);
    await chmod(target, group === undefined ? mode : mode | 0o040);
    if (group !== undefined) await chown(target, 0, group);
  }
  const old = await readlink(join(folder, DATA)).catch(() => undefined);
  const next = join(folder, '..data_tmp');
  await rm(next, { force: true });
  await symlink(version.slice(folder.length + 1), next);
  await rename(next, join(folder, DATA));
  const roots = new Set([...files.keys()].map((path) => path.split('/')[0] ?? path));
  for (const name of await readdir(folder)) {
    if (!name.startsWith('..') && !roots.delete(name)) await rm(join(folder, name), { force: true });
  }
  for (const name of roots) await symlink(join(DATA, name), join(folder, name));
  if (old) await rm(join(folder, old), { recursive: true, force: true });
}

async function hasFiles(folder: string, files: Map<string, VolumeFile>): Promise<boolean> {
  try {
    const found = await readdir(join(folder, DATA), { recursive: true, withFileTypes: true });
    if (found.filter((entry) => entry.isFile()).length !== files.size) return false;
    for (const [path, { content }] of files) if (!content.equals(await readFile(join(folder, path)))) return false;
    return true;
  } catch {
    return false; // not there yet
  }
}
