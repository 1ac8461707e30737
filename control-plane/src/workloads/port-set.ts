/**
 * Lists of ports as annotations write them: numbers, ranges `a-b` and, where the caller knows them, port names,
 * separated by commas (`config.linkerd.io/opaque-ports: "25,7000-7010,redis"`).
 */

export interface PortRange {
  from: number;
  to: number;
}

export interface PortSet {
  readonly ranges: readonly PortRange[];
  has(port: number): boolean;
}

export const NO_PORTS: PortSet = { ranges: [], has: () => false };

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
  return { ports: createPortSet(ranges), problems };
}

export function createPortSet(ranges: readonly PortRange[]): PortSet {
  return { ranges, has: (port) => ranges.some(({ from, to }) => port >= from && port <= to) };
}

function parseRange(entry: string): PortRange | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(entry);
  if (!match) return undefined;
  const from = Number(match[1]);
  const to = Number(match[2] ?? match[1]);
  return from >= 1 && from <= to && to <= PORT_MAX ? { from, to } : undefined;
}
