/** Flags and environment → one frozen `Config`. All problems are reported together. */
import { MeshError } from '@tulle/api';
import { type IpNetwork, parseNetwork } from '@tulle/api/ip-address.ts';
import { parseGoDuration } from './duration.ts';
import { splitAddress } from './listen.ts';
import { DEFAULT_POLICIES, parseDefaultPolicy } from './workloads/default-policy.ts';
import { type PortSet, parsePortList } from './workloads/port-set.ts';

export const COMPONENTS = ['identity', 'destination', 'policy', 'injector', 'status', 'admission'] as const;
export type Component = (typeof COMPONENTS)[number];

export type Config = Readonly<ReturnType<typeof readConfig>>;

/** Each flag may also be given as `TULLE_<NAME>`; a flag wins. Lists and durations are written as Linkerd writes them. */
export const FLAGS = {
  components: { fallback: COMPONENTS.join(','), help: 'components to run' },
  'controller-namespace': { fallback: 'linkerd', help: 'namespace of the control plane' },
  'cluster-domain': { fallback: 'cluster.local', help: 'DNS domain of the cluster' },
  'identity-trust-domain': { fallback: '', help: 'domain of identities; the cluster domain when empty' },
  'identity-issuance-lifetime': { fallback: '24h0m0s', help: 'lifetime of certificates' },
  'identity-clock-skew-allowance': { fallback: '20s', help: 'added to both ends of a certificate’s lifetime' },
  'identity-issuer-path': {
    fallback: '/var/run/linkerd/identity/issuer',
    help: 'folder of the issuer’s certificate and key; empty: read Secret linkerd-identity-issuer',
  },
  'identity-trust-anchors-path': {
    fallback: '/var/run/linkerd/identity/trust-roots/ca-bundle.crt',
    help: 'file of the trust anchors; empty: read ConfigMap linkerd-identity-trust-roots',
  },
  'default-opaque-ports': {
    fallback: '25,587,3306,4444,5432,6379,9300,11211',
    help: 'ports that are opaque by default',
  },
  'cluster-networks': {
    fallback: '10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fd00::/8',
    help: 'networks of pods, Services and nodes',
  },
  'global-egress-network-namespace': {
    fallback: 'linkerd-egress',
    help: 'namespace whose EgressNetworks hold for clients of every namespace',
  },
  'probe-networks': { fallback: '0.0.0.0/0,::/0', help: 'networks that probes come from; none: probes are not let in' },
  'default-inbound-policy': { fallback: 'all-unauthenticated', help: 'policy of pods that say nothing' },
  'enable-h2-upgrade': { fallback: 'true', help: 'carry HTTP/1 over HTTP/2 between proxies' },
  'enable-ipv6': { fallback: 'false', help: 'use IPv6 endpoints; their proxies must redirect IPv6' },
  'outbound-transport-mode': { fallback: 'transport-header', help: 'transport-header or transparent' },
  'allow-l5d-request-headers': { fallback: 'false', help: 'let requests set their own timeouts and retries' },
  'enable-smi': { fallback: 'false', help: 'read TrafficSplits and TrafficTargets of SMI' },
  'identity-addr': { fallback: ':8080', help: 'address of the identity service' },
  'destination-addr': { fallback: ':8086', help: 'address of the destination service' },
  'policy-addr': { fallback: ':8090', help: 'address of the policy service' },
  'injector-addr': { fallback: ':8443', help: 'address of the injector’s webhook' },
  'injector-tls-path': { fallback: '/var/run/linkerd/tls', help: 'folder of the webhook’s tls.crt and tls.key' },
  'policy-validator-addr': { fallback: ':9443', help: 'address of the webhook that checks policies and routes' },
  'policy-validator-tls-path': {
    fallback: '/var/run/linkerd/policy-validator-tls',
    help: 'folder of its tls.crt and tls.key',
  },
  'sp-validator-addr': { fallback: ':8444', help: 'address of the webhook that checks ServiceProfiles' },
  'sp-validator-tls-path': { fallback: '/var/run/linkerd/sp-validator-tls', help: 'folder of its tls.crt and tls.key' },
  'admin-addr': { fallback: ':9990', help: 'address of the admin server' },
  kubeconfig: { fallback: '', help: 'for outside a cluster' },
  'log-level': { fallback: 'info', help: 'trace, debug, info, warn, error or silent' },
  'log-format': { fallback: 'json', help: 'json or plain' },
} as const satisfies Record<string, { fallback: string; help: string }>;
export type FlagName = keyof typeof FLAGS;

/** What `--help` prints: every flag with its default. */
export function flagsText(): string {
  const lines = Object.entries(FLAGS).map(
    ([name, { fallback, help }]) => `  --${name}\n      ${help} (${fallback || 'empty'})\n`,
  );
  return `The mesh's control plane. Each flag may also be given as TULLE_<NAME>.\n${lines.join('')}`;
}

/** @throws MeshError `INVALID_ARGUMENT` naming every problem. */
export function parseConfig(args: readonly string[], environment: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const config = readConfig(readFlags(args, environment, problems), problems);
  if (problems.length > 0) throw new MeshError('INVALID_ARGUMENT', problems.join('\n'));
  return Object.freeze(config);
}

type Values = Record<FlagName, string>;

/** `--name value`, `--name=value`, `-name=value`; a boolean alone is true. */
function readFlags(args: readonly string[], environment: NodeJS.ProcessEnv, problems: string[]): Values {
  const names = Object.keys(FLAGS) as FlagName[];
  const values = Object.fromEntries(
    names.map((name) => [
      name,
      environment[`TULLE_${name.toUpperCase().replaceAll('-', '_')}`] ?? FLAGS[name].fallback,
    ]),
  ) as Values;
  for (let i = 0; i < args.length; i++) {
    const match = /^--?([a-z0-9-]+)(?:=(.*))?$/s.exec(args[i]!);
    const name = match?.[1] as FlagName | undefined;
    if (!name || !Object.hasOwn(FLAGS, name)) {
      problems.push(`${args[i]}: no such flag`);
      continue;
    }
    const isBoolean = FLAGS[name].fallback === 'true' || FLAGS[name].fallback === 'false';
    const next = args[i + 1];
    if (match?.[2] !== undefined) values[name] = match[2];
    else if (isBoolean) values[name] = 'true';
    else if (next === undefined) problems.push(`--${name}: no value`);
    else {
      values[name] = next;
      i++;
    }
  }
  return values;
}

function readConfig(values: Values, problems: string[]) {
  const read = <T>(name: FlagName, parse: (text: string) => T | undefined, expected: string): T => {
    const value = parse(values[name]);
    if (value === undefined) problems.push(`--${name}: "${values[name]}" is not ${expected}`);
    return value as T;
  };
  const bool = (name: FlagName) =>
    read(name, (text) => (text === 'true' || text === 'false' ? { is: text === 'true' } : undefined), 'true or false')
      ?.is;
  const address = (name: FlagName) =>
    read(name, (text) => (splitAddress(text) ? text : undefined), 'host:port or :port');
  const networks = (name: FlagName) => read(name, parseNetworks, 'a list of networks such as 10.0.0.0/8');
  const duration = (name: FlagName) => read(name, parseGoDuration, 'a duration such as 24h0m0s');
  const clusterDomain = read('cluster-domain', dnsName, 'a DNS name');
  return {
    components: read('components', parseComponents, `a list of ${COMPONENTS.join(', ')}`),
    controllerNamespace: read('controller-namespace', dnsName, 'the name of a namespace'),
    clusterDomain,
    trustDomain: read('identity-trust-domain', (text) => (text === '' ? clusterDomain : dnsName(text)), 'a DNS name'),
    issuanceLifetimeMs: duration('identity-issuance-lifetime'),
    clockSkewAllowanceMs: read('identity-clock-skew-allowance', (text) => parseGoDuration(text, 0), 'a duration'),
    issuerPath: values['identity-issuer-path'],
    trustAnchorsPath: values['identity-trust-anchors-path'],
    defaultOpaquePorts: read('default-opaque-ports', parsePorts, 'a list of ports'),
    clusterNetworks: networks('cluster-networks'),
    globalEgressNetworkNamespace: read('global-egress-network-namespace', dnsName, 'the name of a namespace'),
    probeNetworks: networks('probe-networks'),
    defaultInboundPolicy: read('default-inbound-policy', parseDefaultPolicy, `one of ${DEFAULT_POLICIES.join(', ')}`),
    isH2UpgradeEnabled: bool('enable-h2-upgrade'),
    isIpv6Enabled: bool('enable-ipv6'),
    outboundTransportMode: read<'transport-header' | 'transparent'>(
      'outbound-transport-mode',
      (text) => (text === 'transport-header' || text === 'transparent' ? text : undefined),
      'transport-header or transparent',
    ),
    allowsL5dRequestHeaders: bool('allow-l5d-request-headers'),
    isSmiEnabled: bool('enable-smi'),
    identityAddress: address('identity-addr'),
    destinationAddress: address('destination-addr'),
    policyAddress: address('policy-addr'),
    injectorAddress: address('injector-addr'),
    injectorTlsPath: values['injector-tls-path'],
    policyValidatorAddress: address('policy-validator-addr'),
    policyValidatorTlsPath: values['policy-validator-tls-path'],
    spValidatorAddress: address('sp-validator-addr'),
    spValidatorTlsPath: values['sp-validator-tls-path'],
    adminAddress: address('admin-addr'),
    kubeconfigPath: values.kubeconfig,
    logLevel: read('log-level', parseLogLevel, 'trace, debug, info, warn, error or silent'),
    logFormat: read<'json' | 'plain'>(
      'log-format',
      (text) => (text === 'json' || text === 'plain' ? text : undefined),
      'json or plain',
    ),
  };
}

function parseComponents(text: string): ReadonlySet<Component> | undefined {
  const names = text.split(',').map((part) => part.trim());
  const known = names.filter((name): name is Component => (COMPONENTS as readonly string[]).includes(name));
  return known.length === names.length ? new Set(known) : undefined;
}

function parseLogLevel(text: string): string | undefined {
  return ['trace', 'debug', 'info', 'warn', 'error', 'silent'].includes(text) ? text : undefined;
}

function parsePorts(text: string): PortSet | undefined {
  const { ports, problems } = parsePortList(text);
  return problems.length === 0 ? ports : undefined;
}

function parseNetworks(text: string): IpNetwork[] | undefined {
  const networks = text === '' ? [] : text.split(',').map(parseNetwork);
  return networks.every((network) => network !== undefined) ? networks : undefined;
}

function dnsName(text: string): string | undefined {
  return text.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(text)
    ? text
    : undefined;
}
