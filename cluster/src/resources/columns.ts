/** Table cells that several kinds share. */
import { labelSelectorText } from '../apiserver/selector.ts';
import type { Fields } from '../store/stored-object.ts';
import type { Column } from './resource.ts';

export const nameColumn: Column = {
  name: 'Name',
  format: 'name',
  description: 'the name of the object',
  value: (object) => object.metadata.name,
};

export const ageColumn: Column = {
  name: 'Age',
  description: 'the time since the object was created',
  value: (object, nowMs) => age(object.metadata.creationTimestamp, nowMs),
};

export function age(time: string | undefined, nowMs: number): string {
  if (time === undefined) return '<unknown>';
  return shortDuration(nowMs - Date.parse(time));
}

/** As kubectl writes durations: two units while they tell something, then one. */
export function shortDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`;
  if (days < 730) return `${days}d`;
  const years = Math.floor(days / 365);
  if (years < 8) return days % 365 === 0 ? `${years}y` : `${years}y${days % 365}d`;
  return `${years}y`;
}

export function joined(values: readonly unknown[] | undefined, separator = ','): string {
  return values === undefined || values.length === 0 ? '<none>' : values.join(separator);
}

export function labelsText(labels: Record<string, string> | undefined): string {
  return joined(Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`));
}

/** The wide columns of kinds with a pod template. */
export function templateColumns(template: (object: Fields) => Fields | undefined): Column[] {
  const containers = (object: Fields): Fields[] => template(object)?.spec?.containers ?? [];
  return [
    {
      name: 'Containers',
      priority: 1,
      value: (object) =>
        containers(object)
          .map((c) => c.name)
          .join(','),
    },
    {
      name: 'Images',
      priority: 1,
      value: (object) =>
        containers(object)
          .map((c) => c.image)
          .join(','),
    },
  ];
}

export const selectorColumn: Column = {
  name: 'Selector',
  priority: 1,
  value: (object) => joined([labelSelectorText(object.spec?.selector)].filter((text) => text !== '')),
};

/** A number that is 0 where the object does not say it. */
export const count = (name: string, read: (object: Fields) => number | undefined): Column => ({
  name,
  type: 'integer',
  value: (object) => read(object) ?? 0,
});
