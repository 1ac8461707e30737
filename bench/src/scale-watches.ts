/** The 2,000 streams that the proxies of 500 pods hold open, and when each of them last heard something. */
import { type CallOptions, type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Destination } from '@tulle/api/gen/destination_pb.ts';
import { InboundServerPolicies } from '@tulle/api/gen/inbound_pb.ts';
import { OutboundPolicies } from '@tulle/api/gen/outbound_pb.ts';
import type { ScaleService } from './scale-cluster.ts';

export const CLIENTS = 500;
/** Every fifth client calls the same Service. */
export const HOT_EVERY = 5;
/** The control plane's own proxy spreads the streams over few connections. */
const CONNECTIONS = 10;
/** A proxy's back-off. */
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 10_000;

export type WatchKind = 'get' | 'profile' | 'outbound' | 'inbound';

export interface Watch {
  kind: WatchKind;
  /** The Service that is asked for; of an inbound watch that of the pod itself. */
  service: ScaleService;
  messages: number;
  lastAtMs: number;
}

interface Apis {
  destination: Client<typeof Destination>;
  inbound: Client<typeof InboundServerPolicies>;
  outbound: Client<typeof OutboundPolicies>;
}

export interface Ports {
  destination: number;
  policy: number;
}

/** Opens them all; each tries again until it is answered. */
export function openWatches(ports: Ports, services: readonly ScaleService[], signal: AbortSignal): Watch[] {
  const connections = Array.from({ length: CONNECTIONS }, () => connect(ports));
  const watches: Watch[] = [];
  const open = (
    kind: WatchKind,
    service: ScaleService,
    at: number,
    call: (api: Apis, options: CallOptions) => AsyncIterable<unknown>,
  ) => {
    const watch: Watch = { kind, service, messages: 0, lastAtMs: 0 };
    watches.push(watch);
    follow(watch, () => call(connections[at % CONNECTIONS]!, { signal }), signal);
  };
  const step = Math.floor(services.length / CLIENTS);
  for (let at = 0; at < CLIENTS; at++) {
    const own = services[at * step]!;
    const pod = own.pods[0]!;
    const target = at % HOT_EVERY === 0 ? services[1]! : services[(at * step + 1) % services.length]!;
    const contextToken = JSON.stringify({ ns: own.namespace, nodeName: pod.node, pod: pod.name });
    const workload = JSON.stringify({ ns: own.namespace, pod: pod.name });
    const name = `${target.name}.${target.namespace}.svc.cluster.local:80`;
    const ipv4 = target.clusterIp.split('.').reduce((value, part) => value * 256 + Number(part), 0);
    const addr = { ip: { ip: { case: 'ipv4' as const, value: ipv4 } }, port: 80 };
    open('get', target, at, (api, options) => api.destination.get({ path: name, contextToken }, options));
    open('profile', target, at, (api, options) =>
      api.destination.getProfile({ path: `${target.clusterIp}:80`, contextToken }, options),
    );
    open('outbound', target, at, (api, options) =>
      api.outbound.watch({ sourceWorkload: workload, target: { case: 'addr', value: addr } }, options),
    );
    open('inbound', own, at, (api, options) => api.inbound.watchPort({ workload, port: 8080 }, options));
  }
  return watches;
}

function connect({ destination, policy }: Ports): Apis {
  const to = (port: number) => createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
  const policies = to(policy);
  return {
    destination: createClient(Destination, to(destination)),
    inbound: createClient(InboundServerPolicies, policies),
    outbound: createClient(OutboundPolicies, policies),
  };
}

async function follow(watch: Watch, call: () => AsyncIterable<unknown>, signal: AbortSignal): Promise<void> {
  for (let retryMs = RETRY_MS_MIN; !signal.aborted; retryMs = Math.min(2 * retryMs, RETRY_MS_MAX)) {
    try {
      for await (const _ of call()) {
        watch.messages++;
        watch.lastAtMs = performance.now();
      }
    } catch {
      // Not listening or not ready yet, or the end: as proxies do, again after a while.
    }
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}
