/**
 * Says of policy objects whether they are in force: conditions in their status, and Events of those that have none. Of
 * all replicas only the holder of Lease `policy-controller-write` writes; every one knows what it would write.
 */
import {
  AUTHORIZATION_POLICIES,
  EGRESS_NETWORKS,
  HTTP_LOCAL_RATE_LIMIT_POLICIES,
  type Kind,
  type KubeObject,
  MESH_TLS_AUTHENTICATIONS,
  MeshError,
  NETWORK_AUTHENTICATIONS,
  POLICY_HTTP_ROUTES,
  SERVER_AUTHORIZATIONS,
  SERVERS,
  SERVICE_PROFILES,
  SERVICES,
} from '@tulle/api';
import type { IpNetwork } from '@tulle/api/ip-address.ts';
import {
  GRPC_ROUTES,
  HTTP_ROUTE_GROUPS,
  HTTP_ROUTES,
  MESHES,
  REFERENCE_GRANTS,
  SMI_TCP_ROUTES,
  TCP_ROUTES,
  TLS_ROUTES,
  TRAFFIC_SPLITS,
  TRAFFIC_TARGETS,
} from '@tulle/api/kinds.ts';
import { parseAuthorizationPolicy } from '@tulle/api/policy/authorization-policy.ts';
import { parseEgressNetwork } from '@tulle/api/policy/egress-network.ts';
import { parseHTTPLocalRateLimitPolicy } from '@tulle/api/policy/http-local-rate-limit-policy.ts';
import { parseMeshTLSAuthentication } from '@tulle/api/policy/mesh-tls-authentication.ts';
import { parseNetworkAuthentication } from '@tulle/api/policy/network-authentication.ts';
import { parseServer } from '@tulle/api/policy/server.ts';
import { parseServerAuthorization } from '@tulle/api/policy/server-authorization.ts';
import { parseGrpcRoute } from '@tulle/api/routes/grpc-route.ts';
import { parseHttpRoute } from '@tulle/api/routes/http-route.ts';
import { parseTcpRoute } from '@tulle/api/routes/tcp-route.ts';
import { parseTlsRoute } from '@tulle/api/routes/tls-route.ts';
import { parseServiceProfile } from '@tulle/api/service-profile.ts';
import { parseHttpRouteGroup, parseSmiTcpRoute } from '@tulle/api/smi/traffic-specs.ts';
import { parseTrafficSplit } from '@tulle/api/smi/traffic-split.ts';
import { parseTrafficTarget } from '@tulle/api/smi/traffic-target.ts';
import { type Client, runLease } from '@tulle/client';
import { createEventRecorder } from '../events.ts';
import type { Logger } from '../logger.ts';
import type { MetricRegistry } from '../metric-registry.ts';
import type { ClusterState } from '../workloads/cluster-state.ts';
import type { Condition } from './conditions.ts';
import { type Problem, Problems } from './problems.ts';
import { StatusIndex } from './status-index.ts';
import { createStatusWriter } from './writer.ts';

/** With what decides their status; a kind without a parser only decides that of others. */
const WATCHED: readonly { kind: Kind; parse?: (object: KubeObject) => unknown; isOptional?: boolean }[] = [
  { kind: SERVICES, isOptional: false },
  { kind: SERVERS },
  { kind: EGRESS_NETWORKS, parse: parseEgressNetwork },
  { kind: HTTP_LOCAL_RATE_LIMIT_POLICIES, parse: parseHTTPLocalRateLimitPolicy },
  { kind: POLICY_HTTP_ROUTES, parse: parseHttpRoute },
  { kind: HTTP_ROUTES, parse: parseHttpRoute },
  { kind: GRPC_ROUTES, parse: parseGrpcRoute },
  { kind: TLS_ROUTES, parse: parseTlsRoute },
  { kind: TCP_ROUTES, parse: parseTcpRoute },
  { kind: REFERENCE_GRANTS },
  { kind: MESHES },
];

/** Kinds without a status: their problems are told by Events. */
const TOLD: readonly { kind: Kind; parse: (object: KubeObject) => unknown }[] = [
  { kind: SERVERS, parse: parseServer },
  { kind: SERVER_AUTHORIZATIONS, parse: parseServerAuthorization },
  { kind: AUTHORIZATION_POLICIES, parse: parseAuthorizationPolicy },
  { kind: MESH_TLS_AUTHENTICATIONS, parse: parseMeshTLSAuthentication },
  { kind: NETWORK_AUTHENTICATIONS, parse: parseNetworkAuthentication },
  { kind: SERVICE_PROFILES, parse: parseServiceProfile },
];

const SMI_TOLD: typeof TOLD = [
  { kind: TRAFFIC_SPLITS, parse: parseTrafficSplit },
  { kind: TRAFFIC_TARGETS, parse: parseTrafficTarget },
  { kind: HTTP_ROUTE_GROUPS, parse: parseHttpRouteGroup },
  { kind: SMI_TCP_ROUTES, parse: parseSmiTcpRoute },
];

const LEASE_NAME = 'policy-controller-write';
/** As Linkerd's Lease: a leader that is gone is followed within a minute. */
const LEASE = { durationS: 30, renewS: 20, retryS: 5 };

/** What statuses should be, kept up to date by watches that begin with `state.start`. */
export function watchStatus(
  state: ClusterState,
  clusterNetworks: readonly IpNetwork[],
  onChange: (keys: ReadonlySet<string>) => void,
): StatusIndex {
  const parsers = new Map(WATCHED.map(({ kind, parse }) => [kind.kind, parse]));
  const problemOf = (object: KubeObject) => problemIn(object, parsers.get(object.kind ?? ''))?.message;
  const index = new StatusIndex({ clusterNetworks, problemOf });
  for (const { kind, isOptional = true } of WATCHED) {
    const apply = (type: 'set' | 'delete', object: KubeObject) => {
      onChange(index.apply(type, typed(object, kind)));
      return [];
    };
    const served = (isServed: boolean) => {
      if (kind === REFERENCE_GRANTS) onChange(index.setHasGrants(isServed));
      return [];
    };
    state.watch(kind, apply, { isOptional, served });
  }
  return index;
}

export interface StatusOptions {
  client: Client;
  state: ClusterState;
  clusterNetworks: readonly IpNetwork[];
  controllerNamespace: string;
  isSmiEnabled: boolean;
  /** Unique for each process. */
  holder: string;
  logger: Logger;
  metrics: MetricRegistry;
}

export interface Status {
  /** What its status would say of an object, stored or not, that its author may not expect; a sentence each. */
  preview(object: KubeObject): string[];
  /** Writes, once everything is read and it leads, until the signal is aborted. */
  run(synced: Promise<void>, signal: AbortSignal): Promise<void>;
}

/** Registers its watches with `state`, which must not have started. */
export function createStatus(options: StatusOptions): Status {
  const { client, state, logger, metrics } = options;
  const kinds = new Map(WATCHED.map(({ kind }) => [kindKey(kind), kind]));
  let isSynced = false;
  const index = watchStatus(state, options.clusterNetworks, (keys) => {
    if (isSynced) writer.push(keys);
  });
  const writer = createStatusWriter({
    client,
    wanted: (key, now) => index.wanted(key, now),
    kindOf: ({ apiVersion = '', kind = '' }) => kinds.get(kindKey({ apiVersion, kind })),
    logger,
    metrics,
  });
  const problems = new Problems(createEventRecorder({ client, logger, component: 'linkerd-policy' }));
  for (const { kind, parse } of [...TOLD, ...(options.isSmiEnabled ? SMI_TOLD : [])]) {
    const apply = (type: 'set' | 'delete', object: KubeObject) => {
      const subject = typed(object, kind);
      problems.set(subject, type === 'set' ? problemIn(subject, parse) : undefined);
      return [];
    };
    state.watch(kind, apply, { isOptional: true });
  }

  return {
    preview: (object) =>
      index.preview(object).flatMap(({ about, conditions }) => conditions.flatMap((one) => remark(about, one))),
    async run(synced, signal) {
      // Before that, what is not known yet would be said not to be there.
      await synced;
      isSynced = true;
      const lease = { ...LEASE, namespace: options.controllerNamespace, name: LEASE_NAME, holder: options.holder };
      await runLease(client, lease, signal, (isLeader) => {
        logger.info({ isLeader }, isLeader ? 'writes statuses' : 'does not write statuses');
        if (isLeader) writer.push(index.keys());
        writer.setActive(isLeader);
        problems.setActive(isLeader);
      });
      writer[Symbol.dispose]();
    },
  };
}

/** Undefined where all is as its author expects. */
function remark(about: string, { status, reason, message }: Condition): string[] {
  if (status === 'True') return message ? [message] : [];
  const text = message || REASONS[reason] || '';
  return [`${about}: ${text ? `${text} (${reason})` : reason}`];
}

const REASONS: Readonly<Record<string, string>> = {
  NoMatchingParent: 'there is no such object yet',
  NoMatchingTarget: 'there is no such object yet',
  RateLimitReasonAlreadyExists: 'it has an older HTTPLocalRateLimitPolicy, and this one has no effect',
};

/** Lists and deletions may come without a type. */
function typed(object: KubeObject, { apiVersion, kind }: Kind): KubeObject {
  return object.kind && object.apiVersion ? object : { ...object, apiVersion, kind };
}

function problemIn(object: KubeObject, parse: ((object: KubeObject) => unknown) | undefined): Problem | undefined {
  try {
    const parsed = parse?.(object) as { clients?: { kind: string; reason?: string } } | undefined;
    if (parsed?.clients?.kind !== 'nobody') return undefined;
    return { reason: 'AuthorizesNobody', message: `authorizes nobody: ${parsed.clients.reason}` };
  } catch (cause) {
    return { reason: 'NotRead', message: MeshError.from(cause).message };
  }
}

const kindKey = ({ apiVersion, kind }: { apiVersion: string; kind: string }) => `${apiVersion.split('/')[0]}/${kind}`;
