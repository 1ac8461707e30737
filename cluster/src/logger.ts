/** The loggers of the cluster, JSON lines on stderr, one for each part. */

import { type Logger, pino } from 'pino';

const root = pino({ level: 'info', base: undefined, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2));

export const apiserver: Logger = root.child({ part: 'apiserver' });
export const controllers: Logger = root.child({ part: 'controllers' });
export const kubelet: Logger = root.child({ part: 'kubelet' });
export const network: Logger = root.child({ part: 'network' });

/** For `main`, from its configuration. */
export function setLogLevel(level: string): void {
  for (const logger of [root, apiserver, controllers, kubelet, network]) logger.level = level;
}
