/**
 * What resources that are not in the cluster yet would have done to callers that proxies have seen. Every caller is
 * asked about twice, before and after the resources are laid over the cluster's. Pure but for the index that it changes.
 */
import { type Kind, type KubeObject, MeshError } from '@tulle/api';
import { groupOf } from '@tulle/api/object-ref.ts';
import { evaluateInbound, type InboundDecision } from '@tulle/control-plane/policy/inbound/evaluate.ts';
import { INBOUND_KINDS } from '@tulle/control-plane/policy/inbound/inbound-index.ts';
import { type InboundServer, inboundServer } from '@tulle/control-plane/policy/inbound/inbound-server.ts';
import type { ClusterView } from './cluster-view.ts';
import { type SeenCaller, serviceAccountOf } from './seen-traffic.ts';

export interface TrialRow {
  caller: SeenCaller;
  before: InboundDecision;
  after: InboundDecision;
  /** `depends`: on requests that metrics do not tell apart. */
  change: 'none' | 'refused' | 'allowed' | 'depends';
  /** What decides after: an object or a default. */
  by: string;
}

/** @throws MeshError `INVALID_ARGUMENT` when there is nothing in `objects` that decides on callers. */
export function tryPolicies(
  view: ClusterView,
  callers: readonly SeenCaller[],
  objects: readonly KubeObject[],
  type: 'set' | 'delete' = 'set',
): TrialRow[] {
  const before = callers.map((caller) => decideOn(view, caller));
  lay(view, objects, type);
  return callers.flatMap((caller, i) => {
    const was = before[i];
    const now = decideOn(view, caller);
    if (!was || !now) return [];
    return [
      {
        caller,
        before: was.decision,
        after: now.decision,
        change: changeOf(caller, was, now),
        by: decider(now.decision),
      },
    ];
  });
}

/** The kind of an object that can change who is let in. */
export function triedKind({ apiVersion = '', kind }: KubeObject): Kind | undefined {
  return INBOUND_KINDS.find((each) => each.kind === kind && groupOf(each.apiVersion) === groupOf(apiVersion));
}

/** Lays the objects over those of the cluster, as if they had been applied, or takes them from it. */
function lay(view: ClusterView, objects: readonly KubeObject[], type: 'set' | 'delete'): void {
  const tried = objects.filter(triedKind);
  for (const object of tried) view.inbound.policies.apply(triedKind(object)!, type, object);
  if (tried.length === 0) {
    const kinds = [...new Set(INBOUND_KINDS.map(({ kind }) => kind))].join(', ');
    throw new MeshError('INVALID_ARGUMENT', `try policies: found none, want resources of kind ${kinds}`);
  }
}

interface Decided {
  decision: InboundDecision;
  /** Whether other requests of the same caller, or the same from elsewhere, may come out differently. */
  isOneOfSeveral: boolean;
}

/** In no network that a policy may name (RFC 5737): stands for an address that is not known. */
const ELSEWHERE = '192.0.2.1';

/** Undefined for a pod that is gone. */
function decideOn(view: ClusterView, caller: SeenCaller): Decided | undefined {
  const { namespace, pod, port, clientId, isTls, unit } = caller;
  const server = inboundServer(view.inbound, { kind: 'Pod', namespace, name: pod }, port);
  if (!server) return undefined;
  const ip = clientId === undefined ? undefined : addressOf(view, clientId);
  const from = (address: string | undefined) => ({
    isTls,
    ...(clientId === undefined ? {} : { id: clientId }),
    ...(address === undefined ? {} : { ip: address }),
  });
  // A client whose address is not known is asked about as one that every network has, and as one that none has.
  const clients = ip === undefined ? [from(undefined), from(ELSEWHERE)] : [from(ip)];
  const isRequest = unit === 'requests' && server.protocol !== 'opaque' && server.protocol !== 'tls';
  const routes = isRequest ? routesOf(server, caller) : [undefined];
  const decisions = routes.flatMap((route) =>
    clients.map((client) => evaluateInbound(server, { client, ...(route ? { route } : {}) })),
  );
  const worst = decisions.find(({ verdict }) => verdict !== 'allow') ?? decisions[0]!;
  return { decision: worst, isOneOfSeveral: decisions.some(({ verdict }) => verdict !== worst.verdict) };
}

/** Metrics name the route of a request: that one where it is still there, else each that it may come to. */
function routesOf(server: InboundServer, { route }: SeenCaller) {
  const all = (server.protocol === 'grpc' ? server.grpcRoutes : server.httpRoutes).map(({ source }) =>
    typeof source === 'string'
      ? { group: '', kind: 'default', name: source }
      : { group: source.group, kind: source.kind, name: source.name },
  );
  const wanted = route ?? { group: '', kind: 'default', name: 'default' };
  const same = all.filter((one) => one.kind === wanted.kind && one.name === wanted.name && one.group === wanted.group);
  if (same.length > 0) return same;
  const own = all.filter(({ kind, name }) => kind !== 'default' || name !== 'probe');
  return own.length > 0 ? own : [undefined];
}

/** That of a pod of the ServiceAccount: policies may ask for the client's network too. */
function addressOf(view: ClusterView, clientId: string): string | undefined {
  const account = serviceAccountOf(clientId);
  if (!account) return undefined;
  return view.podOfAccount(account)?.ips[0];
}

function changeOf({ allowed, denied }: SeenCaller, was: Decided, now: Decided): TrialRow['change'] {
  const isSame =
    was.decision.verdict === now.decision.verdict &&
    was.isOneOfSeveral === now.isOneOfSeveral &&
    decider(was.decision) === decider(now.decision);
  if (isSame) return 'none';
  if (now.isOneOfSeveral) return 'depends';
  const isIn = now.decision.verdict === 'allow';
  if (allowed > 0 && !isIn) return 'refused';
  return denied > 0 && isIn ? 'allowed' : 'none';
}

function decider({ verdict, authorization, server, rateLimit, route }: InboundDecision): string {
  const source =
    verdict === 'allow'
      ? authorization
      : verdict === 'limited'
        ? rateLimit?.source
        : verdict === 'failed'
          ? route?.source
          : server;
  return sourceText(source ?? server);
}

export function sourceText(source: InboundDecision['server']): string {
  return typeof source === 'string' ? `default ${source}` : `${source.kind} ${source.name}`;
}
