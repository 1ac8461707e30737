/** The server's side of an explanation: who is let in by which object, routes, limits; once for servers that are alike. */

import { formatIp, type IpNetwork } from '@tulle/api/ip-address.ts';
import type { NetworkMatch } from '@tulle/api/policy/network.ts';
import type { Authorization, PolicySource } from '@tulle/control-plane/policy/inbound/authorization.ts';
import { evaluateInbound, type InboundDecision } from '@tulle/control-plane/policy/inbound/evaluate.ts';
import {
  type InboundServer,
  type InboundSettings,
  inboundServer,
} from '@tulle/control-plane/policy/inbound/inbound-server.ts';
import type { WorkloadRef } from '@tulle/control-plane/policy/inbound/workload.ts';
import { DEFAULT_POLICIES } from '@tulle/control-plane/workloads/default-policy.ts';
import { serviceEndpoints } from '@tulle/control-plane/workloads/service-endpoints.ts';
import type { ClusterView } from './cluster-view.ts';
import { originOf } from './explain-text.ts';
import type { Caller, ExplainedRequest, Fact, Origin, Section } from './explanation.ts';

export type ServerTarget = { key: string; port: number } | { pod: string; port: number };

interface Asked {
  request: ExplainedRequest;
  host: string;
  caller: Caller;
}

interface Reached {
  ref: WorkloadRef;
  port: number;
  /** Whether a proxy is there to enforce anything. */
  isMeshed: boolean;
}

const PROTOCOLS: Record<InboundServer['protocol'], string> = {
  detect: 'HTTP or bytes, by what the client sends',
  http1: 'HTTP/1',
  http2: 'HTTP/2',
  grpc: 'gRPC',
  opaque: 'bytes, not looked into',
  tls: 'TLS of the application',
};
const NAMES_TOLD_MAX = 3;

export function serverSections(view: ClusterView, target: ServerTarget, asked: Asked): Section[] {
  const reached = 'pod' in target ? podOf(view, target) : endpointsOf(view, target);
  if (reached.length === 0 && 'key' in target) {
    const value = `no endpoint of ${target.key}:${target.port} is there`;
    return [{ title: 'server', facts: [{ label: 'endpoints', value, tone: 'bad' }] }];
  }
  const groups = new Map<string, { facts: Fact[]; members: Reached[] }>();
  for (const one of reached) {
    const facts = factsOf(view, one, asked);
    const key = JSON.stringify([one.port, facts]);
    const group = groups.get(key) ?? { facts, members: [] };
    group.members.push(one);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ facts, members }) => ({ title: titleOf(members, reached.length), facts }));
}

function titleOf(members: readonly Reached[], total: number): string {
  const names = members.slice(0, NAMES_TOLD_MAX).map(({ ref }) => `${ref.namespace}/${ref.name}`);
  const more = members.length > names.length ? ` and ${members.length - names.length} more` : '';
  const share = total > members.length ? ` (${members.length} of ${total} endpoints)` : '';
  return `server ${names.join(', ')}${more} port ${members[0]!.port}${share}`;
}

function podOf(view: ClusterView, { pod: key, port }: { pod: string; port: number }): Reached[] {
  const pod = view.workloads.pod(key);
  if (!pod) return [];
  const ref = { kind: 'Pod', namespace: pod.namespace, name: pod.name } as const;
  return [{ ref, port, isMeshed: pod.proxyPorts !== undefined }];
}

function endpointsOf(view: ClusterView, { key, port }: { key: string; port: number }): Reached[] {
  const { endpoints } = serviceEndpoints(view.workloads, view.mesh, { serviceKey: key, port });
  return [...endpoints.values()].flatMap(({ workload, port: at, identity }) =>
    workload ? [{ ref: workload, port: at, isMeshed: identity !== undefined }] : [],
  );
}

function factsOf(view: ClusterView, { ref, port, isMeshed }: Reached, { request, host, caller }: Asked): Fact[] {
  const server = inboundServer(view.inbound, ref, port);
  if (!server) return [{ label: 'server', value: 'is gone', tone: 'bad' }];
  if (!isMeshed) return [{ label: 'verdict', value: 'let in: no proxy of the mesh is there to refuse', tone: 'bad' }];
  const isResource = typeof server.source !== 'string';
  const origin = (source: PolicySource, field?: string) => defaultOrigin(view, ref, source) ?? originOf(source, field);
  const facts: Fact[] = [
    { label: 'protocol', value: PROTOCOLS[server.protocol], from: origin(server.source, 'spec.proxyProtocol') },
  ];
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const { identity, ip, isMeshed: isTls = true } = caller;
  const client = { isTls, ...(identity ? { id: identity } : {}), ...(ip ? { ip } : {}) };
  const attempt = request.isGiven ? { client, request: { ...request, host, headers } } : { client };
  const decision = evaluateInbound(server, attempt);
  if (decision.route)
    facts.push({
      label: 'route',
      ...routeValue(decision),
      from: originOf(decision.route.source, decision.route.field),
    });
  const isKnown = identity !== undefined || caller.isMeshed === false;
  if (isKnown) facts.push(...verdictFacts(decision, origin));
  else {
    const isLost = decision.verdict === 'not-found' || decision.verdict === 'failed';
    if (isLost) facts.push({ label: 'verdict', value: `refused: ${decision.reason}`, tone: 'bad' });
    facts.push(...letInFacts(server, decision, origin, view.inbound.settings));
  }
  facts.push(...limitFacts(server));
  for (const { source, problem } of server.shadowed)
    facts.push({ label: 'hidden', value: problem, from: originOf(source), tone: 'quiet' });
  if (!isResource && server.shadowed.length === 0 && isKnown === false)
    facts.push({ label: 'server', value: 'no Server selects this port', tone: 'quiet' });
  return facts;
}

/** Who says which default holds for the workload; undefined where an object decides. */
function defaultOrigin(view: ClusterView, ref: WorkloadRef, source: PolicySource): Origin | undefined {
  if (typeof source !== 'string' || !(DEFAULT_POLICIES as readonly string[]).includes(source)) return undefined;
  const key = `${ref.namespace}/${ref.name}`;
  const workload = ref.kind === 'Pod' ? view.workloads.pod(key) : undefined;
  const field = 'metadata.annotations[config.linkerd.io/default-inbound-policy]';
  if (workload?.defaultInboundPolicy) return { object: `${ref.kind} ${key}`, field };
  if (view.workloads.namespace(ref.namespace)?.defaultInboundPolicy)
    return { object: `Namespace ${ref.namespace}`, field };
  return { object: `default ${source}`, field: 'of the control plane' };
}

const routeValue = ({ route }: InboundDecision) => ({
  value:
    typeof route?.source === 'string'
      ? route.source === 'probe'
        ? "the kubelet's probe"
        : 'none of its own'
      : 'takes it',
});

type OriginOf = (source: PolicySource, field?: string) => Origin;

function verdictFacts(decision: InboundDecision, origin: OriginOf): Fact[] {
  const { verdict, authorization, reason, passedOver, server } = decision;
  const facts: Fact[] = [];
  if (verdict === 'allow')
    facts.push({ label: 'verdict', value: 'let in', tone: 'good', from: origin(authorization ?? server) });
  else {
    const value =
      verdict === 'not-found'
        ? `refused (404): ${reason}`
        : verdict === 'deny'
          ? `refused (403): ${reason}`
          : `refused: ${reason}`;
    facts.push({ label: 'verdict', value, tone: 'bad', from: origin(server) });
  }
  for (const one of passedOver)
    facts.push({ label: 'not by', value: one.reason, from: origin(one.source), tone: 'quiet' });
  return facts;
}

/** Whom the port is open to, where it is not known who calls. */
function letInFacts(
  server: InboundServer,
  { route }: InboundDecision,
  origin: OriginOf,
  settings: InboundSettings,
): Fact[] {
  const routes = [...server.httpRoutes, ...server.grpcRoutes];
  const ofRoute =
    routes.find(({ source }) => JSON.stringify(source) === JSON.stringify(route?.source))?.authorizations ?? [];
  const all = [...ofRoute, ...server.authorizations];
  if (all.length === 0) return [{ label: 'lets in', value: 'nobody', tone: 'bad', from: origin(server.source) }];
  return all.map((one) => ({
    label: 'lets in',
    value: clientsText(one, settings.clusterNetworks),
    from: origin(one.source),
  }));
}

function clientsText({ clients, networks }: Authorization, clusterNetworks: readonly IpNetwork[]): string {
  const text = networks.map(networkText).join(', ');
  const place = text === clusterNetworks.map(cidr).join(', ') ? "the cluster's networks" : text;
  const where = networks.some(isEverywhere) ? '' : ` from ${place}`;
  if (clients.kind === 'unauthenticated') return `everybody${where}`;
  if (clients.kind === 'tls') return `clients with the mesh's TLS${where}`;
  const names = clients.identities.map((match) =>
    match.kind === 'exact' ? match.name : ['*', ...match.parts].join('.'),
  );
  return `${names.join(', ')}${where}`;
}

const isEverywhere = ({ network, except }: NetworkMatch) => network.prefixLength === 0 && except.length === 0;
const cidr = ({ address, prefixLength }: IpNetwork) => `${formatIp(address)}/${prefixLength}`;
function networkText({ network, except }: NetworkMatch): string {
  return except.length ? `${cidr(network)} without ${except.map(cidr).join(', ')}` : cidr(network);
}

function limitFacts({ rateLimit }: InboundServer): Fact[] {
  if (!rateLimit) return [];
  const { source, total, identity, overrides } = rateLimit;
  const fact = (value: string, field: string): Fact => ({ label: 'limit', value, from: originOf(source, field) });
  return [
    ...(total === undefined ? [] : [fact(`${total} requests a second of all clients`, 'spec.total')]),
    ...(identity === undefined ? [] : [fact(`${identity} requests a second of each client`, 'spec.identity')]),
    ...overrides.map(({ requestsPerSecond, identities }, i) =>
      fact(`${requestsPerSecond} requests a second of ${identities.join(', ')}`, `spec.overrides[${i}]`),
    ),
  ];
}
