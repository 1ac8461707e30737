/**
 * What happens to a request: at the proxy of its client and at the proxy of each server that it may reach, every value
 * with the object and the field that it comes from. The answers are those of the control plane's own indexes. Pure.
 */
import { MeshError } from '@tulle/api';
import { parseIp } from '@tulle/api/ip-address.ts';
import { evaluateOutbound } from '@tulle/control-plane/policy/outbound/evaluate.ts';
import { TopicSet } from '@tulle/control-plane/policy/outbound/topic-set.ts';
import type { ClusterView } from './cluster-view.ts';
import { clientFacts, profileFacts } from './explain-client.ts';
import { addressSections, networkSections } from './explain-egress.ts';
import { serverSections } from './explain-server.ts';

export interface Origin {
  /** `HTTPRoute shop/api`. */
  object: string;
  /** `spec.rules[0].timeouts.request`. */
  field?: string;
}

export interface Fact {
  label: string;
  value: string;
  from?: Origin;
  tone?: 'good' | 'bad' | 'quiet';
}

export interface Section {
  title: string;
  facts: Fact[];
}

export interface Explanation {
  title: string;
  sections: Section[];
}

export interface Caller {
  namespace: string;
  /** What its proxy shows; undefined where it is not known, or has none. */
  identity?: string;
  ip?: string;
  /** False for a pod without a proxy; undefined where the caller is not known that well. */
  isMeshed?: boolean;
  /** As in titles: `ServiceAccount shop/bot`. */
  text: string;
}

export interface ExplainedRequest {
  /** False: nobody has said which; the client's side takes it for the one below. */
  isGiven: boolean;
  method: string;
  path: string;
  headers: Readonly<Record<string, string>>;
}

/** An address may have been found by a name. */
export type ExplainedTarget =
  | { kind: 'Service' | 'Pod' | 'EgressNetwork'; namespace: string; name: string }
  | { kind: 'Address'; ip: string; host?: string };

export interface Query {
  target: ExplainedTarget;
  port?: number;
  request: ExplainedRequest;
  caller: Caller;
}

/** @throws MeshError `NOT_FOUND` for a target that is not there, `INVALID_ARGUMENT` where the port is not clear. */
export function explain(view: ClusterView, query: Query): Explanation {
  const { target } = query;
  switch (target.kind) {
    case 'Service':
      return explainService(view, target, query);
    case 'Pod':
      return explainPod(view, target, query);
    case 'EgressNetwork':
      return explainNetwork(view, target, query);
    case 'Address':
      return explainAddress(view, target, query);
  }
}

interface Named {
  namespace: string;
  name: string;
}

function explainNetwork(view: ClusterView, target: Named, { port, request, caller }: Query): Explanation {
  const key = `${target.namespace}/${target.name}`;
  if (!view.routes.egressNetwork(key)) throw new MeshError('NOT_FOUND', `there is no EgressNetwork ${key}`);
  const host = request.headers.host ?? '';
  return {
    title: `${titleOf(request)} to EgressNetwork ${key}, from ${caller.text}`,
    sections: networkSections(view, key, port, { request, host, caller }),
  };
}

/** One of a Service or a pod is explained as that. */
function explainAddress(view: ClusterView, { ip, host }: { ip: string; host?: string }, query: Query): Explanation {
  const service = view.workloads.serviceByIp(ip);
  if (service) return explainService(view, service, query);
  const port = query.port ?? 443;
  const pod = view.workloads.podByAddress(ip, port)?.pod;
  if (pod) return explainPod(view, pod, query);
  const { request, caller } = query;
  const asked = { request, host: request.headers.host ?? `${host ?? hostOf(ip)}:${port}`, caller };
  return {
    title: `${titleOf(request)} to ${host ? `${host} (${ip})` : ip} port ${port}, from ${caller.text}`,
    sections: addressSections(view, { ip, port }, asked),
  };
}

const hostOf = (ip: string) => (parseIp(ip)?.family === 6 ? `[${ip}]` : ip);

function explainService(view: ClusterView, target: Named, query: Query): Explanation {
  const { request, caller } = query;
  const key = `${target.namespace}/${target.name}`;
  const service = view.workloads.service(key);
  if (!service) throw new MeshError('NOT_FOUND', `there is no Service ${key}`);
  const port =
    query.port ??
    onlyPort(
      `Service ${key}`,
      service.ports.map((each) => each.port),
    );
  const client = { kind: 'Pod', namespace: caller.namespace, name: '' } as const;
  const located = view.outbound.locate({ kind: 'service', key, port }, client, new TopicSet());
  const policy = view.outbound.policy(located, client, new TopicSet());
  const host = request.headers.host ?? `${target.name}.${target.namespace}.svc.${view.config.clusterDomain}:${port}`;
  const evaluated = evaluateOutbound(policy, { ...request, host });
  const profile = view.profiles.find(service, caller.namespace);
  const isProfiled = profile !== undefined && profile.routes.length + profile.dstOverrides.length > 0;
  const facts =
    caller.isMeshed === false
      ? [
          {
            label: 'proxy',
            value: 'none: the request goes where the Service sends it, by no route',
            tone: 'bad' as const,
          },
        ]
      : isProfiled
        ? profileFacts(view, { service, profile, request, port, evaluated })
        : policy.kind === 'routed' || policy.kind === 'undefined-port'
          ? clientFacts(view, policy, evaluated)
          : [];
  const hasProxy = caller.isMeshed !== false;
  const isSent = isProfiled || evaluated.outcome === 'sent' || !hasProxy;
  const targets = !isSent
    ? []
    : isProfiled || !hasProxy
      ? [{ key, port }]
      : evaluated.backends.flatMap(({ target: to, failure }) =>
          to.kind === 'service' && failure === undefined ? [{ key: `${to.namespace}/${to.name}`, port: to.port }] : [],
        );
  return {
    title: `${titleOf(request)} to Service ${key} port ${port}, from ${caller.text}`,
    sections: [
      { title: 'client', facts },
      ...targets.flatMap((to) => serverSections(view, to, { request, host, caller })),
    ],
  };
}

function explainPod(view: ClusterView, target: Named, query: Query): Explanation {
  const { request, caller } = query;
  const key = `${target.namespace}/${target.name}`;
  const pod = view.workloads.pod(key);
  if (!pod) throw new MeshError('NOT_FOUND', `there is no pod ${key}`);
  const own = pod.proxyPorts ? Object.values(pod.proxyPorts) : [];
  const ports = pod.containerPorts.map((each) => each.port).filter((each) => !own.includes(each));
  const port = query.port ?? onlyPort(`pod ${key}`, ports);
  const host = request.headers.host ?? `${pod.ips[0] ?? target.name}:${port}`;
  return {
    title: `${titleOf(request)} to pod ${key} port ${port}, from ${caller.text}`,
    sections: serverSections(view, { pod: key, port }, { request, host, caller }),
  };
}

const titleOf = ({ isGiven, method, path }: ExplainedRequest) => (isGiven ? `${method} ${path}` : 'any request');

function onlyPort(of: string, ports: readonly number[]): number {
  const [port, ...others] = [...new Set(ports)];
  if (port === undefined) throw new MeshError('INVALID_ARGUMENT', `${of} has no port: name one with --port`);
  if (others.length > 0) {
    throw new MeshError('INVALID_ARGUMENT', `${of} has ports ${[port, ...others].join(', ')}: choose one with --port`);
  }
  return port;
}
