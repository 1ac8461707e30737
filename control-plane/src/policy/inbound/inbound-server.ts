/**
 * Who may speak to a port of a workload, and how its bytes are to be read: the oldest Server that selects the port says
 * so; where there is none the default does, the workload's annotation, else its namespace's, else the mesh's.
 */

import type { IpNetwork } from '@tulle/api/ip-address.ts';
import type { ServerProtocol } from '@tulle/api/policy/server.ts';
import type { GrpcMatch, HttpMatch } from '@tulle/api/routes/http-match.ts';
import type { DefaultPolicy } from '../../workloads/default-policy.ts';
import type { MeshSettings } from '../../workloads/endpoint.ts';
import type { Pod, Probe } from '../../workloads/pod.ts';
import type { WorkloadIndex } from '../../workloads/workload-index.ts';
import { type Authorization, accessPolicyAuthorizations, type PolicySource, wholeNetworks } from './authorization.ts';
import { type ControlPlanePorts, controlPlaneAuthorization, isControlPlane } from './control-plane-port.ts';
import { type ExternalDefaults, externalDefaults, tcpPorts } from './external-workload.ts';
import type { InboundIndex } from './inbound-index.ts';
import {
  DEFAULT_GRPC_ROUTE,
  DEFAULT_HTTP_ROUTE,
  type InboundRateLimit,
  type InboundRoute,
  type ResolvedServer,
} from './resolved-server.ts';
import type { WorkloadRef } from './workload.ts';

export interface InboundSettings {
  defaultPolicy: DefaultPolicy;
  clusterNetworks: readonly IpNetwork[];
  /** Where the kubelet's probes come from; empty: they are not let in. */
  probeNetworks: readonly IpNetwork[];
  controlPlanePorts: ControlPlanePorts;
}

export interface InboundServer {
  /** The Server that decided, or the name of a default. */
  source: PolicySource;
  protocol: ServerProtocol;
  authorizations: readonly Authorization[];
  /** Never empty: the default takes what no route of its own does where there is none. */
  httpRoutes: readonly InboundRoute<HttpMatch>[];
  grpcRoutes: readonly InboundRoute<GrpcMatch>[];
  rateLimit?: InboundRateLimit;
  /** Objects that are for this port and have no effect, and why. */
  shadowed: readonly { source: PolicySource; problem: string }[];
}

export interface InboundContext {
  workloads: WorkloadIndex;
  policies: InboundIndex;
  mesh: MeshSettings;
  settings: InboundSettings;
}

/** What decides where no Server does; pods and workloads outside the cluster have it alike. */
type DefaultsOf = Pick<Pod, keyof ExternalDefaults>;

/** Undefined where there is no such workload. */
export function inboundServer(context: InboundContext, ref: WorkloadRef, port: number): InboundServer | undefined {
  const key = `${ref.namespace}/${ref.name}`;
  if (ref.kind === 'Pod') {
    const pod = context.workloads.pod(key);
    return pod && podServer(context, ref, pod, port);
  }
  const external = context.workloads.externalWorkload(key);
  if (!external) return undefined;
  const [server, ...shadowed] = context.policies.serversOn(ref, tcpPorts(external), port);
  if (!server) return defaultServer(context, externalDefaults(external), port, []);
  return selectedServer(context.policies.resolve(server), [], shadowed, context.settings);
}

function podServer(context: InboundContext, ref: WorkloadRef, pod: Pod, port: number): InboundServer {
  const { mesh, settings, policies } = context;
  const probes = settings.probeNetworks.length > 0 ? (pod.probes.get(port) ?? []) : [];
  const isOurs = isControlPlane(pod, mesh.controllerNamespace);
  const [server, ...shadowed] = policies.serversOn(ref, pod.selectablePorts, port);
  const outside = isOurs ? context.workloads.externalIdentities() : [];
  const own = isOurs ? controlPlaneAuthorization(settings.controlPlanePorts, port, outside) : undefined;
  if (own) {
    const byDefault = defaultServer(context, pod, port, probeRoutes(probes, settings));
    const problem = "the control plane's own ports are not the users'";
    return {
      ...byDefault,
      source: own.source,
      authorizations: [own],
      shadowed: [server, ...shadowed].flatMap((each) => (each ? [{ source: each.ref, problem }] : [])),
    };
  }
  if (!server) return unselectedServer(context, pod, port, probeRoutes(probes, settings));
  const selected = selectedServer(policies.resolve(server), probes, shadowed, settings);
  return isOurs && probes.length > 0 ? withProbes(selected, probes, settings) : selected;
}

/** By the TrafficTargets for the pod, where there are any, else by the default. What the proxy itself serves stays as it is. */
function unselectedServer(
  context: InboundContext,
  pod: Pod,
  port: number,
  probes: readonly ProbeRoutes[],
): InboundServer {
  const byDefault = defaultServer(context, pod, port, probes);
  const access = port === pod.proxyPorts?.admin ? undefined : context.policies.trafficAccess(pod, port);
  if (!access) return byDefault;
  const routes = access.httpRoutes.length > 0 ? access.httpRoutes : [DEFAULT_HTTP_ROUTE];
  return {
    ...byDefault,
    source: 'traffic-target',
    authorizations: access.authorizations,
    httpRoutes: [...routes, ...probes.map(({ http }) => http)],
  };
}

/** The same object for all ports that one Server alone selects and that are probed alike. */
function selectedServer(
  resolved: ResolvedServer,
  probes: readonly Probe[],
  shadowed: readonly ResolvedServer['server'][],
  settings: InboundSettings,
): InboundServer {
  if (shadowed.length > 0) return combine(resolved, probeRoutes(probes, settings), shadowed);
  const key = probes.map(({ method, path }) => `${method} ${path}`).join('\n');
  const known = shared.get(resolved) ?? new Map<string, InboundServer>();
  const combined = known.get(key) ?? combine(resolved, probeRoutes(probes, settings), shadowed);
  if (known.size < SHARED_PER_SERVER_MAX) known.set(key, combined);
  shared.set(resolved, known);
  return combined;
}

/** Pods of one Server are of few workloads, whose pods are probed alike; what goes beyond is worked out each time. */
const SHARED_PER_SERVER_MAX = 16;

/** By the probes of the port; what a Server comes to is another object after each change. */
const shared = new WeakMap<ResolvedServer, Map<string, InboundServer>>();

function combine(
  resolved: ResolvedServer,
  probes: readonly ProbeRoutes[],
  shadowed: readonly ResolvedServer['server'][],
): InboundServer {
  const { server, authorizations, httpRoutes, grpcRoutes, rateLimit, ineffective } = resolved;
  const problem = `Server ${server.ref.name} is older and selects the same port`;
  return {
    source: server.ref,
    protocol: server.protocol,
    authorizations,
    httpRoutes: httpRoutes.length > 0 ? httpRoutes : [DEFAULT_HTTP_ROUTE, ...probes.map(({ http }) => http)],
    grpcRoutes: grpcRoutes.length > 0 ? grpcRoutes : [DEFAULT_GRPC_ROUTE, ...probes.flatMap(({ grpc }) => grpc)],
    rateLimit,
    shadowed: [...ineffective, ...shadowed.map(({ ref }) => ({ source: ref, problem }))],
  };
}

function defaultServer(
  { workloads, mesh, settings }: InboundContext,
  workload: DefaultsOf,
  port: number,
  probes: readonly ProbeRoutes[],
): InboundServer {
  const namespace = workloads.namespace(workload.namespace);
  const chosen = workload.defaultInboundPolicy ?? namespace?.defaultInboundPolicy ?? settings.defaultPolicy;
  const policy = workload.requireIdentityPorts.has(port) ? REQUIRING_IDENTITY[chosen] : chosen;
  const isOpaque = (workload.opaquePorts ?? namespace?.opaquePorts ?? mesh.defaultOpaquePorts).has(port);
  return {
    source: policy,
    protocol: isOpaque ? 'opaque' : 'detect',
    authorizations: accessPolicyAuthorizations(policy, settings.clusterNetworks),
    httpRoutes: [DEFAULT_HTTP_ROUTE, ...probes.map(({ http }) => http)],
    grpcRoutes: [DEFAULT_GRPC_ROUTE],
    shadowed: [],
  };
}

const REQUIRING_IDENTITY: Record<DefaultPolicy, DefaultPolicy> = {
  'all-unauthenticated': 'all-authenticated',
  'all-authenticated': 'all-authenticated',
  'cluster-unauthenticated': 'cluster-authenticated',
  'cluster-authenticated': 'cluster-authenticated',
  deny: 'deny',
  audit: 'audit',
};

interface ProbeRoutes {
  http: InboundRoute<HttpMatch>;
  /** One or none: a port that takes gRPC alone answers only probes of that kind. */
  grpc: InboundRoute<GrpcMatch>[];
}

function probeRoutes(unsorted: readonly Probe[], settings: InboundSettings): ProbeRoutes[] {
  if (unsorted.length === 0) return [];
  // By path: containers in another order are told the same.
  const probes = unsorted.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const authorizations: Authorization[] = [
    { source: 'probe', networks: wholeNetworks(settings.probeNetworks), clients: { kind: 'unauthenticated' } },
  ];
  const http = probes.map(
    ({ method, path }): HttpMatch => ({ path: { kind: 'exact', value: path }, headers: [], queryParams: [], method }),
  );
  const grpc = probes.flatMap(({ method, path }): GrpcMatch[] => {
    const [, service, rpc] = path.split('/');
    return method === 'POST' && service && rpc ? [{ service, method: rpc, headers: [] }] : [];
  });
  const route = <M>(matches: readonly M[]): InboundRoute<M> => ({
    source: 'probe',
    hostnames: [],
    rules: [{ field: '', matches, filters: [] }],
    authorizations,
  });
  return [{ http: route(http), grpc: grpc.length > 0 ? [route(grpc)] : [] }];
}

/** In a pod of the control plane probes stay answered whatever a Server says: else the kubelet would end the pod. */
function withProbes(server: InboundServer, probes: readonly Probe[], settings: InboundSettings): InboundServer {
  const routes = probeRoutes(probes, settings).map(({ http }) => http);
  const others = server.httpRoutes.filter(({ source }) => source !== 'probe');
  const canCarry = server.protocol === 'http1' || server.protocol === 'http2' || server.protocol === 'detect';
  return { ...server, protocol: canCarry ? server.protocol : 'detect', httpRoutes: [...others, ...routes] };
}
