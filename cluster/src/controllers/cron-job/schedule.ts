/** Cron schedules: five fields, names, ranges, steps and the `@` shorthands, in a time zone. Pure. */

import { MeshError } from '@tulle/api';

export interface Schedule {
  /** The first time after `afterMs` that the schedule names; undefined if there is none in five years. */
  nextMs(afterMs: number): number | undefined;
}

const SHORTHANDS: Record<string, string> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const FIELDS = [
  { name: 'minute', min: 0, max: 59, names: [] },
  { name: 'hour', min: 0, max: 23, names: [] },
  { name: 'day of month', min: 1, max: 31, names: [] },
  { name: 'month', min: 1, max: 12, names: MONTHS },
  { name: 'day of week', min: 0, max: 7, names: DAYS },
] as const;

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** 29 February can be eight years away, at a turn of century; five are what cron libraries look ahead. */
const SEARCH_MS_MAX = 5 * 366 * 24 * HOUR_MS;

/** @throws MeshError `INVALID_ARGUMENT` naming the field or the time zone. */
export function parseSchedule(text: string, timeZone = 'UTC'): Schedule {
  const localTime = localTimeIn(timeZone);
  const parts = (SHORTHANDS[text.trim()] ?? text.trim()).split(/\s+/);
  if (parts.length !== FIELDS.length) throw invalid(text, `${parts.length} fields, expected ${FIELDS.length}`);
  const sets = FIELDS.map((field, index) => parseField(text, field, parts[index] ?? ''));
  const [minutes, hours, days, months, weekdays] = sets as [
    Set<number>,
    Set<number>,
    Set<number>,
    Set<number>,
    Set<number>,
  ];
  if (weekdays.has(7)) weekdays.add(0);
  // Where both days are restricted, either is enough.
  const isEitherDay = !/^[*?]/.test(parts[2] ?? '') && !/^[*?]/.test(parts[4] ?? '');
  const isDay = (local: LocalTime) => {
    const isOfMonth = days.has(local.day);
    const isOfWeek = weekdays.has(local.weekday);
    return isEitherDay ? isOfMonth || isOfWeek : isOfMonth && isOfWeek;
  };

  return {
    nextMs(afterMs) {
      let atMs = (Math.floor(afterMs / MINUTE_MS) + 1) * MINUTE_MS;
      const lastMs = afterMs + SEARCH_MS_MAX;
      while (atMs <= lastMs) {
        const local = localTime(atMs);
        if (!months.has(local.month) || !isDay(local)) {
          // To local midnight; never past it, as a day may have 23 or 25 hours.
          const leftMs = (24 - local.hour) * HOUR_MS - local.minute * MINUTE_MS;
          atMs += leftMs > 2 * HOUR_MS ? leftMs - HOUR_MS : Math.min(leftMs, (60 - local.minute) * MINUTE_MS);
        } else if (!hours.has(local.hour)) atMs += (60 - local.minute) * MINUTE_MS;
        else if (!minutes.has(local.minute)) atMs += MINUTE_MS;
        else return atMs;
      }
      return undefined;
    },
  };
}

interface LocalTime {
  minute: number;
  hour: number;
  day: number;
  month: number;
  weekday: number;
}

function localTimeIn(timeZone: string): (ms: number) => LocalTime {
  if (timeZone === 'UTC' || timeZone === 'Etc/UTC') {
    return (ms) => {
      const date = new Date(ms);
      return {
        minute: date.getUTCMinutes(),
        hour: date.getUTCHours(),
        day: date.getUTCDate(),
        month: date.getUTCMonth() + 1,
        weekday: date.getUTCDay(),
      };
    };
  }
  let format: Intl.DateTimeFormat;
  try {
    const options = { minute: 'numeric', hour: 'numeric', day: 'numeric', month: 'numeric', weekday: 'short' } as const;
    format = new Intl.DateTimeFormat('en-US', { ...options, hourCycle: 'h23', timeZone });
  } catch (cause) {
    throw new MeshError('INVALID_ARGUMENT', `parse schedule: unknown time zone ${timeZone}`, { cause });
  }
  return (ms) => {
    const parts = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    return {
      minute: Number(parts.minute),
      hour: Number(parts.hour),
      day: Number(parts.day),
      month: Number(parts.month),
      weekday: DAYS.indexOf((parts.weekday ?? '').toLowerCase()),
    };
  };
}

function parseField(text: string, field: (typeof FIELDS)[number], part: string): Set<number> {
  const values = new Set<number>();
  for (const item of part.toLowerCase().split(',')) {
    const match = /^(\*|\?|[a-z0-9]+)(?:-([a-z0-9]+))?(?:\/(\d+))?$/.exec(item);
    if (!match) throw invalid(text, `${field.name} ${JSON.stringify(part)} is malformed`);
    const [, first = '', last, every] = match;
    const isAll = first === '*' || first === '?';
    const from = isAll ? field.min : valueIn(text, field, first);
    const step = every === undefined ? 1 : Number(every);
    const to = last !== undefined ? valueIn(text, field, last) : isAll || every !== undefined ? field.max : from;
    if (step === 0 || (isAll && last !== undefined) || from > to) {
      throw invalid(text, `${field.name} ${JSON.stringify(part)} is malformed`);
    }
    for (let value = from; value <= to; value += step) values.add(value);
  }
  return values;
}

function valueIn(text: string, field: (typeof FIELDS)[number], word: string): number {
  const named = (field.names as readonly string[]).indexOf(word);
  const value = named >= 0 ? named + (field.name === 'month' ? 1 : 0) : /^\d+$/.test(word) ? Number(word) : Number.NaN;
  if (!(value >= field.min && value <= field.max)) {
    throw invalid(text, `${field.name} ${JSON.stringify(word)} is not within ${field.min}-${field.max}`);
  }
  return value;
}

function invalid(text: string, problem: string): MeshError {
  return new MeshError('INVALID_ARGUMENT', `parse schedule ${JSON.stringify(text)}: ${problem}`);
}
