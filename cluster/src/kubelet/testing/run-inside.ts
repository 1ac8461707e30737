/** Runs a test file in network, mount and PID namespaces of its own, as this user or as one without privileges. */

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

const ROOT = join(import.meta.dirname, '../../../..');
/** Nobody may enter the home of root, where the project or Node often is: shows both at a place open to all. */
const OPEN_PLACE = '/mnt';
const AT_OPEN_PLACE = `
  mount -t tmpfs -o mode=755 tulle ${OPEN_PLACE}
  mkdir ${OPEN_PLACE}/project && mount --bind "$1" ${OPEN_PLACE}/project
  touch ${OPEN_PLACE}/node && mount --bind "$2" ${OPEN_PLACE}/node
  shift 2 && cd ${OPEN_PLACE}/project && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`;
const NOBODY = ['unshare', '--mount', 'sh', '-ec', AT_OPEN_PLACE, 'sh', ROOT, process.execPath];
const NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
/** A file takes a few seconds; this only ends one that hangs. */
const FILE_MS_MAX = 120_000;

export type InsideUser = 'self' | 'nobody';

/** The program that was built last. */
export function podRuntimePath(): string | undefined {
  const built = ['release', 'debug'].map((kind) => join(ROOT, 'target', kind, 'tulle-pod')).filter(existsSync);
  return built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

/** Why tests inside cannot run here; undefined when they can. */
export function whyNotInside(user: InsideUser): string | undefined {
  if (user === 'nobody' && process.getuid?.() !== 0) return 'the tests run without privileges already';
  if (!podRuntimePath()) return 'tulle-pod is not built';
  const [program = '', ...args] = [...prefix(user), 'true'];
  const tried = spawnSync(program, args, { encoding: 'utf8' });
  return tried.status === 0 ? undefined : `namespaces cannot be made: ${(tried.error?.message ?? tried.stderr).trim()}`;
}

/** Rejects with the report of the file's tests when one fails. */
export async function runInside(file: string, user: InsideUser): Promise<void> {
  const [node, path] =
    user === 'self'
      ? [process.execPath, file]
      : [`${OPEN_PLACE}/node`, join(OPEN_PLACE, 'project', relative(ROOT, file))];
  const test = ['--test', '--test-reporter=spec', '--test-timeout=60000', path];
  const [program = '', ...args] = [...prefix(user), node, ...test];
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), FILE_MS_MAX);
  let report = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (report += chunk));
  const code = await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Error(`tests inside ended with ${code}:\n${report}`);
}

function prefix(user: InsideUser): string[] {
  const isRoot = process.getuid?.() === 0 && user === 'self';
  const own = user === 'nobody' ? NOBODY : [];
  return [...own, 'unshare', ...(isRoot ? [] : ['--user', '--map-root-user']), ...NAMESPACES];
}
