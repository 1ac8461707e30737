/**
 * What may leave the cluster: which EgressNetwork holds for an address, or what a network says, with the networks that it
 * hides or that take a part of it, and what becomes of a request.
 */
import { MeshError } from '@tulle/api';
import { formatIp, type IpAddress, type IpNetwork, networkContains, parseIp } from '@tulle/api/ip-address.ts';
import { type NetworkMatch, networkMatches } from '@tulle/api/policy/network.ts';
import { evaluateOutbound, type OutboundEvaluation } from '@tulle/control-plane/policy/outbound/evaluate.ts';
import type { EgressNetworkSettings, MatchedNetwork } from '@tulle/control-plane/policy/outbound/outbound-index.ts';
import type { Address, RoutedPolicy, Source } from '@tulle/control-plane/policy/outbound/outbound-policy.ts';
import { isAccepted } from '@tulle/control-plane/policy/outbound/resolver.ts';
import { TopicSet } from '@tulle/control-plane/policy/outbound/topic-set.ts';
import type { ClusterView } from './cluster-view.ts';
import { clientFacts, sourceOrigin } from './explain-client.ts';
import { networkText, originOf } from './explain-text.ts';
import type { Caller, ExplainedRequest, Fact, Section } from './explanation.ts';

interface Asked {
  request: ExplainedRequest;
  /** With the port, unless the request gives it otherwise. */
  host: string;
  caller: Caller;
}

/** Of documentation (RFC 5737): stands for every address of a network that names none. */
const SOME_ADDRESS = '192.0.2.1';
const NO_PROXY: Fact = {
  label: 'proxy',
  value: 'none: everything goes where it was going, by no policy',
  tone: 'bad',
};

/** `address` is outside the cluster, or at least nothing that is known in it. */
export function addressSections(view: ClusterView, address: Address, asked: Asked): Section[] {
  const { caller } = asked;
  if (caller.isMeshed === false) return [{ title: 'client', facts: [NO_PROXY] }];
  const ip = parseIp(address.ip)!;
  if (view.config.clusterNetworks.some((network) => networkContains(network, ip))) {
    const value = "in the cluster's networks, and no Service or pod has it: passed on as it is";
    return [{ title: 'network', facts: [{ label: 'address', value, tone: 'bad' }] }];
  }
  const [matched, ...hidden] = networksOf(view, ip, caller);
  if (!matched) {
    const value = 'no EgressNetwork has it: passed on as it is';
    return [{ title: 'network', facts: [{ label: 'address', value, from: originOf('egress-fallback') }] }];
  }
  const behind = hidden.map((other): Fact => {
    return { label: 'hidden', value: reasonHidden(other, matched), from: originOf(other.network.ref), tone: 'quiet' };
  });
  const facts = [...networkFacts(view, matched.network), ...behind];
  return [{ title: 'network', facts }, ...policySections(view, matched.network, address, asked)];
}

/** Of the whole network: its addresses that a more specific one takes are told apart. */
export function networkSections(view: ClusterView, key: string, port: number | undefined, asked: Asked): Section[] {
  const network = view.routes.egressNetwork(key)!;
  const { caller } = asked;
  if (caller.isMeshed === false) return [{ title: 'client', facts: [NO_PROXY] }];
  const facts = networkFacts(view, network);
  if (![caller.namespace, view.config.globalEgressNetworkNamespace].includes(network.ref.namespace)) {
    facts.push({
      label: 'refused',
      value: `it holds for clients of namespace ${network.ref.namespace} only, and this is one of ${caller.namespace}`,
      tone: 'bad',
    });
    return [{ title: 'network', facts }];
  }
  const { own, taken } = partsOf(view, network, caller);
  for (const [winner, parts] of taken) {
    const value = `takes ${parts.join(', ')} of it`;
    facts.push({ label: 'hidden', value, from: originOf(winner.ref), tone: 'quiet' });
  }
  const address = { ip: own ?? SOME_ADDRESS, port: port ?? onlyPort(view, network, key) };
  return [{ title: 'network', facts }, ...policySections(view, network, address, asked)];
}

function networksOf(view: ClusterView, ip: IpAddress, caller: Caller): MatchedNetwork[] {
  const { globalEgressNetworkNamespace, clusterNetworks } = view.config;
  return view.routes.egressNetworksOf(ip, [caller.namespace, globalEgressNetworkNamespace], clusterNetworks);
}

function networkFacts(view: ClusterView, network: EgressNetworkSettings): Fact[] {
  const { ref, networks, trafficPolicy, problems } = network;
  const value = networks?.map(matchText).join(', ') ?? "everything outside the cluster's networks";
  const facts: Fact[] = [
    { label: 'addresses', value, from: originOf(ref, 'spec.networks') },
    { label: 'policy', value: trafficPolicy, from: originOf(ref, 'spec.trafficPolicy') },
  ];
  if (!isAccepted(network, view.config.clusterNetworks)) {
    const why = problems[0] ?? "its networks overlap with the cluster's";
    facts.push({ label: 'routes', value: `none is in force: ${why}`, from: originOf(ref), tone: 'bad' });
  }
  return facts;
}

function reasonHidden({ network, prefixLength }: MatchedNetwork, winner: MatchedNetwork): string {
  if (network.ref.namespace !== winner.network.ref.namespace)
    return `namespace ${winner.network.ref.namespace} has its own`;
  return prefixLength < winner.prefixLength
    ? 'it has the address too, less specifically'
    : 'it has the address too, and is younger';
}

/** An address that the network holds for, and what others take of it, by where their networks and its own begin. */
function partsOf(view: ClusterView, network: EgressNetworkSettings, caller: Caller) {
  const namespaces = new Set([caller.namespace, view.config.globalEgressNetworkNamespace]);
  const all = [...namespaces].flatMap((namespace) => view.routes.egressNetworksIn(namespace));
  const named = all.flatMap(({ networks = [] }) => networks.map((each) => each.network));
  const some = { prefixLength: 32, address: parseIp(SOME_ADDRESS)! };
  const taken = new Map<EgressNetworkSettings, Set<string>>();
  let own: string | undefined;
  for (const part of [...named, some]) {
    const matched = networksOf(view, part.address, caller);
    if (!matched.some((each) => each.network === network)) continue;
    const winner = matched[0]!.network;
    if (winner === network) own ??= formatIp(part.address);
    else taken.set(winner, (taken.get(winner) ?? new Set()).add(winner.networks ? winningText(winner, part) : 'all'));
  }
  return { own, taken: new Map([...taken].map(([winner, parts]) => [winner, [...parts]])) };
}

function winningText({ networks = [] }: EgressNetworkSettings, { address }: IpNetwork): string {
  const [match] = networks
    .filter((each) => networkMatches(each, address))
    .sort((a, b) => b.network.prefixLength - a.network.prefixLength);
  return match ? networkText(match.network) : formatIp(address);
}

function matchText({ network, except }: NetworkMatch): string {
  return except.length > 0
    ? `${networkText(network)} without ${except.map(networkText).join(', ')}`
    : networkText(network);
}

/** That of its routes' parents; where there is none every port is the same. */
function onlyPort(view: ClusterView, { ref }: EgressNetworkSettings, key: string): number {
  const ports = new Set([...view.routes.attached('egress', ref)].flatMap(({ parent }) => parent.port ?? []));
  if (ports.size <= 1) return [...ports][0] ?? 443;
  const told = [...ports].sort((a, b) => a - b).join(', ');
  throw new MeshError('INVALID_ARGUMENT', `EgressNetwork ${key} has routes on ports ${told}: choose one with --port`);
}

/** Where the client's bytes decide, one for HTTP and one for everything else. */
function policySections(
  view: ClusterView,
  network: EgressNetworkSettings,
  address: Address,
  { request, host, caller }: Asked,
): Section[] {
  const client = { kind: 'Pod', namespace: caller.namespace, name: '' } as const;
  const policy = view.outbound.policy({ kind: 'egress-network', network, address }, client, new TopicSet());
  if (policy.kind !== 'routed') return [];
  const section = (title: string, one: RoutedPolicy) => {
    const evaluated = evaluateOutbound(one, { ...request, host });
    return { title, facts: [...clientFacts(view, one, evaluated), ...otherRoutes(one, evaluated)] };
  };
  if (policy.protocol !== 'detect') return [section(`client, port ${address.port}`, policy)];
  return [
    section(`client, HTTP on port ${address.port}`, policy),
    section('client, TLS and anything else', { ...policy, protocol: 'opaque', accrual: undefined }),
  ];
}

/** Routes that are in force and do not take the request. */
function otherRoutes(policy: RoutedPolicy, { route, shadowed }: OutboundEvaluation): Fact[] {
  const isTold = (source: Source) =>
    source === route || shadowed.some((one) => one.source === source || refOf(one.source) === refOf(source));
  const { protocol } = policy;
  const routes = protocol === 'grpc' || protocol === 'tls' || protocol === 'opaque' ? policy[protocol] : policy.http;
  return routes.flatMap(({ source, hostnames }): Fact[] => {
    if (source.kind === 'default' || isTold(source)) return [];
    const value = hostnames.length > 0 ? `for ${hostnames.join(', ')}` : 'for other requests';
    return [{ label: 'other', value, from: sourceOrigin(source), tone: 'quiet' }];
  });
}

const refOf = (source: Source) => (source.kind === 'object' ? source.ref : undefined);
