/**
 * Imported before everything else: tells V8 to prefer a small heap to a fast one. Beside a large cluster (`npm run bench
 * -- --scale`) the process holds 200 MiB instead of 470; what it does per change is too little for the speed to matter.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--optimize-for-size');
setFlagsFromString('--expose-gc');

type Collect = (options: { type: 'major'; flavor: 'last-resort' }) => void;

/** Gives the memory back that reading a cluster has left behind: one pause of some tenths of a second. */
export function compactHeap(): void {
  const collect = runInNewContext('gc') as Collect;
  collect({ type: 'major', flavor: 'last-resort' });
}
