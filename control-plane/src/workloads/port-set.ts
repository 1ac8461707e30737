/**
 * Lists of ports as annotations write them: numbers, ranges `a-b` and, where the caller knows them, port names,
 * separated by commas (`config.linkerd.io/opaque-ports: "25,7000-7010,redis"`).
 */

export interface PortRange {
  from: number;
  to: number;
}

/** Two with the same ports are equal to `isDeepStrictEqual`. */
export class PortSet {
  readonly ranges: readonly PortRange[];
  readonly except: readonly number[];

  constructor(ranges: readonly PortRange[], except: readonly number[] = []) {
    this.ranges = ranges;
    this.except = except;
  }

  has(port: number): boolean {
    return this.ranges.some(({ from, to }) => port >= from && port <= to) && !this.except.includes(port);
  }
}

export const NO_PORTS = new PortSet([]);

const PORT_MAX = 65535;

/** Entries that are no port, range or known name are left out and named in `problems`. */
export function parsePortList(
  text: string,
  names: ReadonlyMap<string, number> = new Map(),
): { ports: PortSet; problems: string[] } {
  const ranges: PortRange[] = [];
  const problems: string[] = [];
  for (const entry of text.split(',').map((part) => part.trim())) {
    if (entry === '') continue;
    const named = names.get(entry);
    const range = named === undefined ? parseRange(entry) : { from: named, to: named };
    if (range) ranges.push(range);
    else problems.push(`"${entry}" is not a port, a range of ports or the name of one`);
  }
  return { ports: new PortSet(ranges), problems };
}

function parseRange(entry: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(entry);
  if (!match) return undefined;
  const from = Number(match[1]);
  const to = Number(match[2] ?? match[1]);
  return from >= 1 && from <= to && to <= PORT_MAX ? { from, to } : undefined;
}
