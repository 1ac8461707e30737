/** The values of an installation: defaults, `--ha`, files, `--set` and flags, each laid over the one before. */
import { readFileSync } from 'node:fs';
import { MeshError } from '@tulle/api';
import { INBOUND_POLICIES } from '@tulle/control-plane/injector/annotations.ts';
import { defaultValues, haValues, type Values } from '@tulle/control-plane/injector/values.ts';
import {
  layerValues,
  parseLayer,
  type ValuesLayer,
  validateValues,
} from '@tulle/control-plane/injector/values-layers.ts';
import type { Command } from 'commander';

interface FlagSpec {
  flag: string;
  path: string;
  what: string;
  parse?: (raw: string) => unknown;
  /** What a flag without `<…>` sets; true when not given. */
  value?: unknown;
}

/** Flags that are a short way to say `--set path=value`. Without `<…>` they set true. */
export const PROXY_FLAGS: readonly FlagSpec[] = [
  { flag: '--proxy-image <name>', path: 'proxy.image.name', what: "the proxy's image" },
  { flag: '--proxy-version <tag>', path: 'proxy.image.version', what: "tag of the proxy's image" },
  { flag: '--image-pull-policy <policy>', path: 'imagePullPolicy', what: 'Always, IfNotPresent or Never' },
  { flag: '--proxy-log-level <filter>', path: 'proxy.logLevel', what: "the proxy's log filter" },
  { flag: '--proxy-uid <uid>', path: 'proxy.uid', what: 'user that the proxy runs as', parse: Number },
  { flag: '--proxy-gid <gid>', path: 'proxy.gid', what: 'group that the proxy runs as', parse: Number },
  { flag: '--proxy-cpu-request <cpu>', path: 'proxy.resources.cpu.request', what: 'CPU that a proxy is given' },
  { flag: '--proxy-cpu-limit <cpu>', path: 'proxy.resources.cpu.limit', what: 'CPU that a proxy may use' },
  {
    flag: '--proxy-memory-request <bytes>',
    path: 'proxy.resources.memory.request',
    what: 'memory that a proxy is given',
  },
  { flag: '--proxy-memory-limit <bytes>', path: 'proxy.resources.memory.limit', what: 'memory that a proxy may use' },
  { flag: '--admin-port <port>', path: 'proxy.ports.admin', what: 'port of probes and metrics', parse: Number },
  { flag: '--control-port <port>', path: 'proxy.ports.control', what: 'port of tap', parse: Number },
  { flag: '--inbound-port <port>', path: 'proxy.ports.inbound', what: 'port for traffic into the pod', parse: Number },
  {
    flag: '--outbound-port <port>',
    path: 'proxy.ports.outbound',
    what: 'port for traffic out of the pod',
    parse: Number,
  },
  {
    flag: '--skip-inbound-ports <ports>',
    path: 'proxyInit.ignoreInboundPorts',
    what: 'ports whose inbound traffic bypasses the proxy',
  },
  {
    flag: '--skip-outbound-ports <ports>',
    path: 'proxyInit.ignoreOutboundPorts',
    what: 'ports whose outbound traffic bypasses the proxy',
  },
  { flag: '--default-inbound-policy <policy>', path: 'proxy.defaultInboundPolicy', what: INBOUND_POLICIES.join(', ') },
  {
    flag: '--enable-external-profiles',
    path: 'proxy.enableExternalProfiles',
    what: 'look up names outside the cluster too',
  },
];

export const INSTALL_FLAGS: readonly FlagSpec[] = [
  ...PROXY_FLAGS,
  {
    flag: '--enable-smi',
    path: 'enableSmi',
    what: 'read the Service Mesh Interface; with --crds: its definitions too',
  },
  {
    flag: '--disable-h2-upgrade',
    path: 'enableH2Upgrade',
    what: 'carry HTTP/1 between proxies as it is',
    value: false,
  },
  { flag: '--control-plane-image <name>', path: 'controllerImage', what: "the control plane's image" },
  { flag: '--control-plane-version <tag>', path: 'linkerdVersion', what: 'tag of all images' },
  {
    flag: '--controller-replicas <count>',
    path: 'controllerReplicas',
    what: 'replicas of the control plane',
    parse: Number,
  },
  { flag: '--controller-log-level <level>', path: 'controllerLogLevel', what: "the control plane's log level" },
  { flag: '--controller-uid <uid>', path: 'controllerUID', what: 'user that the control plane runs as', parse: Number },
  {
    flag: '--controller-gid <gid>',
    path: 'controllerGID',
    what: 'group that the control plane runs as',
    parse: Number,
  },
  { flag: '--cluster-domain <name>', path: 'clusterDomain', what: "the cluster's DNS domain" },
  {
    flag: '--identity-trust-domain <name>',
    path: 'identityTrustDomain',
    what: 'trust domain of identities (default the cluster domain)',
  },
  {
    flag: '--identity-issuance-lifetime <duration>',
    path: 'identity.issuer.issuanceLifetime',
    what: "lifetime of the proxies' certificates",
  },
  {
    flag: '--identity-clock-skew-allowance <duration>',
    path: 'identity.issuer.clockSkewAllowance',
    what: 'how far clocks may differ',
  },
];

const append = (value: string, list: string[] = []) => [...list, value];

export function addValueFlags(command: Command, flags: readonly FlagSpec[]): Command {
  for (const { flag, what } of flags) command.option(flag, what);
  return command
    .option('-f, --values <file>', 'YAML file with values, may be repeated', append)
    .option('--set <key=value>', 'one value, or several with commas between, may be repeated', append)
    .option('--set-string <key=value>', 'the same, always a text', append)
    .option('--set-file <key=path>', 'the same, read from a file', append);
}

/** Throws with every problem at once. `overrides` is what differs from the defaults. */
export function valuesFrom(
  options: Record<string, unknown>,
  flags: readonly FlagSpec[],
): { values: Values; overrides: ValuesLayer } {
  const layers: ValuesLayer[] = [];
  if (options.ha) layers.push(haValues);
  for (const path of (options.values as string[]) ?? []) layers.push(parseLayer(readText(path), path));
  for (const text of (options.set as string[]) ?? []) layers.push(...parseSet(text, scalar));
  for (const text of (options.setString as string[]) ?? []) layers.push(...parseSet(text, (raw) => raw));
  for (const text of (options.setFile as string[]) ?? []) layers.push(...parseSet(text, readText));
  for (const { flag, path, parse, value } of flags) {
    const raw = options[optionKey(flag)];
    if (raw === undefined) continue;
    const given = typeof raw === 'string' ? (parse?.(raw) ?? raw) : (value ?? raw);
    layers.push(nest(path.split('.'), given));
  }
  const problems: string[] = [];
  let values = defaultValues();
  let overrides: ValuesLayer = {};
  for (const layer of layers) {
    values = layerValues(values, layer, problems);
    overrides = merge(overrides, layer);
  }
  problems.push(...validateValues(values));
  if (problems.length) throw new MeshError('INVALID_ARGUMENT', `read values: ${problems.join('\n  ')}`);
  return { values, overrides };
}

export function readText(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    throw new MeshError('NOT_FOUND', `read ${path}: ${reason(error as NodeJS.ErrnoException)}`, { cause: error });
  }
}

/** Node's own words name the path again, and the system call. */
function reason({ code = '', message }: NodeJS.ErrnoException): string {
  return { ENOENT: 'there is no such file', EISDIR: 'it is a folder', EACCES: 'permission denied' }[code] ?? message;
}

/** `a.b=1,c=2`; a comma in a value is written `\,`. */
function parseSet(text: string, read: (raw: string) => unknown): ValuesLayer[] {
  return text.split(/(?<!\\),/).map((pair) => {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new MeshError('INVALID_ARGUMENT', `--set ${pair}: want key=value`);
    const path = pair
      .slice(0, equals)
      .split(/(?<!\\)\./)
      .map((segment) => segment.replaceAll('\\.', '.'));
    return nest(path, read(pair.slice(equals + 1).replaceAll('\\,', ',')));
  });
}

function scalar(raw: string): unknown {
  if (raw === 'true' || raw === 'false') return raw === 'true';
  if (raw === 'null') return null;
  if (/^-?\d{1,15}(\.\d+)?$/.test(raw)) return Number(raw);
  if (/^[[{]/.test(raw)) return (parseLayer(`value: ${raw}`, `--set ${raw}`) as { value: unknown }).value;
  return raw;
}

function nest(path: string[], value: unknown): ValuesLayer {
  return path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as ValuesLayer;
}

function merge(under: ValuesLayer, over: ValuesLayer): ValuesLayer {
  const result: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const old = result[key];
    const isMap = (node: unknown): node is ValuesLayer =>
      typeof node === 'object' && node !== null && !Array.isArray(node);
    result[key] = isMap(old) && isMap(value) ? merge(old, value) : value;
  }
  return result;
}

/** The name under which commander keeps an option. */
function optionKey(flag: string): string {
  return flag
    .split(' ')[0]!
    .slice(2)
    .replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
