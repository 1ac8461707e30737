/**
 * Everything runs in namespaces of the bench's own: the process starts itself again as the first in them, so the host's
 * network is never touched and all of it vanishes when the process ends, however it ends.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const INSIDE = 'TULLE_BENCH_INSIDE';

/** True inside the namespaces. Outside it runs the program again inside, and exits with its exit code. */
export async function enterNamespaces(): Promise<boolean> {
  if (process.env[INSIDE]) return true;
  const flags = ['--net', '--pid', '--mount-proc', '--fork', '--kill-child'];
  if (process.getuid?.() !== 0) flags.unshift('--user', '--map-root-user');
  const probe = spawnSync('unshare', [...flags, 'true'], { encoding: 'utf8' });
  if (probe.status !== 0) throw new Error(`make namespaces: ${probe.stderr?.trim() || probe.error?.message}`);
  const child = spawn('unshare', [...flags, process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise<number>((resolve) =>
    child.on('exit', (code, signal) => resolve(signal ? 1 : (code ?? 1))),
  );
  return false;
}

/** Whether other users exist here, so that a proxy can be exempt from the redirect by its user id. */
export function hasUsers(): boolean {
  return Number(readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/)[2]) > 1;
}
