/** `npm run demo`: a real mesh on one machine. Starts a cluster, installs the mesh, deploys the sample application, and shows its metrics. */
import { type Options, parseOptions } from './options.ts';
import { runDemo } from './run.ts';

/** After a signal the cluster is given this long to stop; then it is killed with this process. */
const STOP_MS_MAX = 10_000;

let options: Options;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exit(64);
}

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stopping.signal.aborted) process.exit(130);
    stopping.abort();
    setTimeout(() => process.exit(130), STOP_MS_MAX).unref();
  });
}

try {
  await runDemo(options, stopping.signal);
  process.exit(0);
} catch (error) {
  if (stopping.signal.aborted) process.exit(options.forMs === undefined ? 0 : 130);
  process.stderr.write(`\ndemo: ${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
}
