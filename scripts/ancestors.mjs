/**
 * Notices that a process above this one has died (npm killed by SIGKILL, say), which nobody tells an orphan.
 * The chain is read once at the start, up to the npm that started it; a pid counts as gone when its start time differs.
 */
import { readFileSync } from 'node:fs';

/** A death is seen within this time; what hangs on it must be gone 2 s later. */
const POLL_MS = 250;

function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0], parent: Number(fields[1]), startTime: fields[19] };
  } catch {
    return undefined;
  }
}

function titleOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ');
  } catch {
    return '';
  }
}

/** Calls `onGone` once when the parent, or npm above it, has ended. */
export function watchAncestors(onGone) {
  const chain = [];
  let pid = process.ppid;
  for (;;) {
    const stat = statOf(pid);
    if (!stat || pid <= 1) break;
    chain.push({ pid, startTime: stat.startTime });
    const title = titleOf(pid);
    if (/\bnpm(-cli\.js)?\b/.test(title)) break;
    // Above an sh -c of npm's there may be npm; above anything else it is the caller's own business.
    if (!/^(\S*\/)?(sh|dash|bash)\b/.test(title)) break;
    pid = stat.parent;
  }
  const timer = setInterval(() => {
    const isGone = chain.some(({ pid, startTime }) => {
      const stat = statOf(pid);
      return !stat || stat.startTime !== startTime || stat.state === 'Z';
    });
    if (!isGone) return;
    clearInterval(timer);
    onGone();
  }, POLL_MS);
  timer.unref();
}
