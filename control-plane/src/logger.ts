/** Named loggers of the control plane, on stdout: JSON lines, or plain ones. Never keys, tokens or bodies. */
import { writeSync } from 'node:fs';
import pino from 'pino';

export type Logger = pino.Logger;
export type LoggerName =
  | 'main'
  | 'grpc'
  | 'workloads'
  | 'identity'
  | 'destination'
  | 'policy'
  | 'injector'
  | 'status'
  | 'admission';

export interface Loggers {
  of(name: LoggerName): Logger;
}

export function createLoggers(options: { level: string; format: 'json' | 'plain' }): Loggers {
  const settings: pino.LoggerOptions = {
    base: null,
    level: options.level,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  };
  const root = options.format === 'json' ? pino(settings) : pino(settings, { write: writePlain });
  const named = new Map<LoggerName, Logger>();
  return {
    of(name) {
      let logger = named.get(name);
      if (!logger) {
        logger = root.child({ logger: name });
        named.set(name, logger);
      }
      return logger;
    },
  };
}

function writePlain(line: string): void {
  const { time, level, logger, msg, ...fields } = JSON.parse(line);
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`);
  writeSync(1, `${time} ${String(level).toUpperCase()} ${logger}: ${msg}${rest.join('')}\n`);
}
