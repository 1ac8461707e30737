/** Port lists as annotations and flags write them: `80,443`, ranges `8080-8090`, for opaque ports also container port names. */
import { MeshError } from '@tulle/api';

export interface PortRange {
  from: number;
  to: number;
}

/** Throws when an entry is neither a port nor a range of ports. An empty text is an empty list. */
export function parsePortRanges(text: string): PortRange[] {
  return entries(text).map((entry) => {
    const range = parseRange(entry);
    if (!range)
      throw new MeshError('INVALID_ARGUMENT', `parse ports "${text}": "${entry}" is not a port or a range a-b`);
    return range;
  });
}

/**
 * Resolves names of container ports in a list of opaque ports. A name that no container has is left out,
 * as it may belong to another pod that the same Service or namespace annotation covers.
 */
export function resolvePortNames(text: string, named: ReadonlyMap<string, number>): string {
  const resolved = entries(text).flatMap((entry) => {
    if (parseRange(entry)) return [entry];
    if (!/^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(entry)) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        `parse ports "${text}": "${entry}" is not a port, a range or a port name`,
      );
    }
    const port = named.get(entry);
    return port === undefined ? [] : [String(port)];
  });
  return resolved.join(',');
}

/** Those of `ports` that lie in one of the ranges, ascending. */
export function portsWithin(ports: Iterable<number>, ranges: readonly PortRange[]): number[] {
  return [...new Set(ports)]
    .filter((port) => ranges.some(({ from, to }) => port >= from && port <= to))
    .sort((a, b) => a - b);
}

function entries(text: string): string[] {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

function parseRange(entry: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(entry);
  if (!match) return undefined;
  const from = Number(match[1]);
  const to = Number(match[2] ?? match[1]);
  return from >= 1 && to <= 65535 && from <= to ? { from, to } : undefined;
}
