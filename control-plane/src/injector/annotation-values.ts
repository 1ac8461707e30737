/** What the values of annotations look like: each function takes the text and throws a MeshError that says what it wants. */
import { MeshError, parseQuantity } from '@tulle/api';
import { parsePortRanges } from './ports.ts';
import type { EnvVar } from './values.ts';

const bad = (wanted: string) => new MeshError('INVALID_ARGUMENT', `want ${wanted}`);

export function oneOf(...allowed: string[]): (raw: string) => string {
  return (raw) => {
    if (!allowed.includes(raw)) throw bad(`one of ${allowed.filter(Boolean).join(', ')}`);
    return raw;
  };
}

export function text(raw: string): string {
  if (raw.trim() === '' || /\s/.test(raw)) throw bad('a text without spaces');
  return raw;
}

/** The spellings that Go's strconv.ParseBool takes, as manifests written for Linkerd use them. */
export function boolean(raw: string): boolean {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(raw)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(raw)) return false;
  throw bad('true or false');
}

export function enabled(raw: string): boolean {
  return oneOf('enabled', 'disabled')(raw) === 'enabled';
}

export function integer(raw: string, least: number, most: number): number {
  const value = Number(raw);
  if (!/^\d+$/.test(raw) || value < least || value > most) throw bad(`a whole number from ${least} to ${most}`);
  return value;
}

export function ports(raw: string): string {
  parsePortRanges(raw);
  return raw.trim();
}

export function subnets(raw: string): string {
  for (const subnet of raw.split(',')) parseCidr(subnet.trim());
  return raw.trim();
}

/** Throws unless it is an IPv4 or IPv6 network in prefix notation. */
export function parseCidr(raw: string): { family: 4 | 6; prefix: number } {
  const match = /^([0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)\/(\d{1,3})$/.exec(raw);
  const family = match?.[1]?.includes(':') ? 6 : 4;
  const prefix = Number(match?.[2]);
  const isAddress = family === 6 ? URL.canParse(`http://[${match?.[1]}]/`) : isIPv4(match?.[1] ?? '');
  if (!match || prefix > (family === 6 ? 128 : 32) || !isAddress) throw bad('networks such as 10.0.0.0/8 or fd00::/8');
  return { family, prefix };
}

const isIPv4 = (raw: string) => /^(\d{1,3}\.){3}\d{1,3}$/.test(raw) && raw.split('.').every((n) => Number(n) < 256);

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The proxy's own notation: a whole number and a unit. */
export function durationMs(raw: string): number {
  if (raw.trim() === '0') return 0;
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(raw.trim());
  if (!match) throw bad('a duration such as 500ms, 10s, 2m or 1h');
  return Number(match[1]) * UNIT_MS[match[2]!]!;
}

export function duration(raw: string): string {
  durationMs(raw);
  return raw.trim();
}

/** A Kubernetes quantity as a number. */
export function quantity(raw: string): number {
  const value = parseQuantity(raw);
  if (value === undefined || value < 0) throw bad('a quantity such as 100m, 0.5 or 20Mi');
  return value;
}

export function quantityText(raw: string): string {
  quantity(raw);
  return raw;
}

export function ratio(raw: string): number {
  const value = Number(raw);
  if (!(value > 0 && value <= 1)) throw bad('a number above 0 and up to 1');
  return value;
}

/** A comma-separated list of `level`, `target` or `target=level`, with span fields in brackets. */
export function logLevel(raw: string): string {
  const directive = /^(?:[\w:.-]*(?:\[[^\]]*\])?=)?(?:off|error|warn|info|debug|trace|[0-5])$|^[\w:.-]+$/i;
  const list = raw.split(/,(?![^[]*\])/).map((entry) => entry.trim());
  if (!list.every((entry) => directive.test(entry))) throw bad('a log filter such as warn,linkerd=debug');
  return raw;
}

export function envList(raw: string): EnvVar[] {
  let list: unknown;
  try {
    list = JSON.parse(raw);
  } catch {
    throw bad('a JSON list of {"name", "value"}');
  }
  const isEntry = (entry: unknown): entry is EnvVar =>
    typeof (entry as { name?: unknown } | null)?.name === 'string' && (entry as { name: string }).name !== '';
  if (!Array.isArray(list) || !list.every(isEntry)) throw bad('a JSON list of {"name", "value"}');
  if (!list.every((entry) => entry.value === undefined || typeof entry.value === 'string')) {
    throw bad('env values that are texts');
  }
  return list;
}
