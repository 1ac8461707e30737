/** The control plane's process: all its components, or those that `--components` names. */
import './memory.ts';
import { once } from 'node:events';
import { MeshError } from '@tulle/api';
import { type Config, flagsText, parseConfig } from './config.ts';
import { startContext } from './context.ts';
import { createLoggers } from './logger.ts';

/** EX_USAGE: bad flags. */
const EXIT_USAGE = 64;
/** Streams end at once; what is still there after this long is not waited for. */
const STOP_GRACE_MS = 10_000;

function readConfigOrExit(): Config {
  try {
    return parseConfig(process.argv.slice(2), process.env);
  } catch (cause) {
    process.stderr.write(`${MeshError.from(cause).message}\n`);
    process.exit(EXIT_USAGE);
  }
}

if (process.argv.includes('--help')) {
  process.stdout.write(flagsText());
  process.exit(0);
}
const config = readConfigOrExit();
const loggers = createLoggers({ level: config.logLevel, format: config.logFormat });
const logger = loggers.of('main');
const stopping = new AbortController();
const stopped = once(stopping.signal, 'abort');
process.once('SIGTERM', () => stopping.abort());
process.once('SIGINT', () => stopping.abort());
// A bug in one request must not take the mesh down; it is logged, and the work goes on.
process.on('unhandledRejection', (cause) =>
  logger.error({ error: MeshError.from(cause).message }, 'unhandled rejection'),
);

try {
  await using context = await startContext(config, loggers, stopping.signal);
  logger.info({ components: [...config.components], ports: context.ports }, 'control plane started');
  await stopped;
  logger.info('stopping');
  setTimeout(() => process.exit(1), STOP_GRACE_MS).unref();
} catch (cause) {
  // A start that waits for the API server fails when it is told to stop.
  if (!stopping.signal.aborted) {
    logger.fatal({ error: MeshError.from(cause).message }, 'control plane failed');
    process.exitCode = 1;
  }
}
