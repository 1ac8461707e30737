/** The processes of a pod of the one-machine cluster, found from the host by the host name that their root has. */
import { readdirSync, readFileSync } from 'node:fs';

export function podProcesses(pod: string): number[] {
  const own: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (readFileSync(`/proc/${entry}/root/etc/hostname`, 'utf8').trim() === pod) own.push(Number(entry));
    } catch {
      // A process that has just ended, or a kernel thread.
    }
  }
  return own;
}

/** SIGKILL to all of them at once. */
export function killPod(pod: string): number {
  const own = podProcesses(pod);
  for (const pid of own) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended with the one before it.
    }
  }
  return own.length;
}
