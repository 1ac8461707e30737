/**
 * A control plane with static answers: it signs every CSR, knows one Service whose one endpoint is the server pod, and lets
 * everyone in. Proxies reach it over mesh TLS, as the real one. Nothing of it runs while a round is measured.
 */
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createTlsServer } from 'node:tls';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { Destination, type GetDestination, type UpdateSchema } from '@tulle/api/gen/destination_pb.ts';
import { Identity } from '@tulle/api/gen/identity_pb.ts';
import { InboundServerPolicies, type ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { type BackendSchema, OutboundPolicies, type OutboundPolicySchema } from '@tulle/api/gen/outbound_pb.ts';
import type { Authority } from './authority.ts';

type UpdateInit = MessageInitShape<typeof UpdateSchema>;
type PolicyInit = MessageInitShape<typeof OutboundPolicySchema>;
type ServerInit = MessageInitShape<typeof ServerSchema>;
type BackendInit = MessageInitShape<typeof BackendSchema>;

export const CONTROL_PLANE_NAME = 'linkerd-destination.linkerd.serviceaccount.identity.linkerd.cluster.local';
export const SERVER_NAME = 'server.bench.serviceaccount.identity.linkerd.cluster.local';
export const CLIENT_NAME = 'client.bench.serviceaccount.identity.linkerd.cluster.local';
const SERVICE_NAME = 'server.bench.svc.cluster.local';
const INBOUND_PORT = 4143;
const DETECT_TIMEOUT = { seconds: 10n };
const FAILFAST_TIMEOUT = { seconds: 3n };
const DEFAULT_RTT = { nanos: 30_000_000 };
const DECAY = { seconds: 10n };

export interface ServerPod {
  ip: string;
  isOpaque(port: number): boolean;
}

/** Listens on any port of `host`. */
export async function startControlPlane(authority: Authority, host: string, server: ServerPod): Promise<number> {
  const handler = connectNodeAdapter({
    routes: (router) => route(router, authority, server),
    connect: false,
    grpcWeb: false,
  });
  const http2 = createHttp2Server(handler);
  const identity = await authority.createServerIdentity(CONTROL_PLANE_NAME);
  const tls = createTlsServer({
    ...identity,
    ca: authority.trustAnchorsPem,
    minVersion: 'TLSv1.3',
    requestCert: true,
    // The first call of a proxy asks for the certificate that it does not have yet.
    rejectUnauthorized: false,
  });
  tls.on('secureConnection', (socket) => {
    // Proxies negotiate no protocol; Node's HTTP/2 server insists on one.
    socket.alpnProtocol = 'h2';
    http2.emit('connection', socket);
  });
  await new Promise<void>((resolve, reject) => tls.once('error', reject).listen(0, host, resolve));
  const address = tls.address();
  if (typeof address !== 'object' || !address) throw new Error('listen: no address');
  return address.port;
}

function route(router: ConnectRouter, authority: Authority, server: ServerPod): void {
  router.service(Identity, {
    certify: async (request) => {
      const leaf = await authority.sign(request.certificateSigningRequest, request.identity);
      return {
        leafCertificate: leaf.der,
        intermediateCertificates: [new Uint8Array(authority.issuer.rawData)],
        validUntil: { seconds: BigInt(Math.floor(leaf.validUntil.getTime() / 1000)) },
      };
    },
  });
  router.service(Destination, {
    get: (request, { signal }) => stay<UpdateInit>(endpoints(request, server), signal),
    getProfile: (request, { signal }) =>
      stay({ fullyQualifiedName: SERVICE_NAME, opaqueProtocol: server.isOpaque(portOf(request)) }, signal),
  });
  router.service(InboundServerPolicies, {
    watchPort: (request, { signal }) => stay<ServerInit>(inboundPolicy(server.isOpaque(request.port)), signal),
  });
  router.service(OutboundPolicies, {
    watch: (request, { signal }) => {
      const port = request.target.case === 'addr' ? request.target.value.port : 0;
      return stay<PolicyInit>(outboundPolicy(port, server.isOpaque(port)), signal);
    },
  });
}

/** A stream of one message that ends when the proxy or the bench does. */
async function* stay<T>(message: T, signal: AbortSignal): AsyncGenerator<T> {
  yield message;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

function portOf(request: GetDestination): number {
  return Number(request.path.slice(request.path.lastIndexOf(':') + 1));
}

function ipv4(text: string): { ip: { case: 'ipv4'; value: number } } {
  return { ip: { case: 'ipv4', value: text.split('.').reduce((value, part) => value * 256 + Number(part), 0) } };
}

function endpoints(request: GetDestination, server: ServerPod): UpdateInit {
  const port = portOf(request);
  const isOpaque = server.isOpaque(port);
  const addr = {
    addr: { ip: ipv4(server.ip), port },
    weight: 10_000,
    metricLabels: { pod: 'server', namespace: 'bench' },
    tlsIdentity: {
      strategy: { case: 'dnsLikeIdentity' as const, value: { name: SERVER_NAME } },
      serverName: { name: SERVER_NAME },
    },
    protocolHint: isOpaque
      ? { protocol: { case: 'opaque' as const, value: {} }, opaqueTransport: { inboundPort: INBOUND_PORT } }
      : { protocol: { case: 'h2' as const, value: {} } },
  };
  return { update: { case: 'add', value: { addrs: [addr] } } };
}

function outboundPolicy(port: number, isOpaque: boolean): PolicyInit {
  const metadata = {
    kind: {
      case: 'resource' as const,
      value: { group: 'core', kind: 'Service', namespace: 'bench', name: 'server', port },
    },
  };
  const backend: BackendInit = {
    metadata,
    queue: { capacity: 100, failfastTimeout: FAILFAST_TIMEOUT },
    kind: {
      case: 'balancer',
      value: {
        discovery: { kind: { case: 'dst', value: { path: `${SERVICE_NAME}:${port}` } } },
        load: { case: 'peakEwma', value: { defaultRtt: DEFAULT_RTT, decay: DECAY } },
      },
    },
  };
  const backends = { kind: { case: 'firstAvailable' as const, value: { backends: [{ backend }] } } };
  const matches = [{ path: { kind: { case: 'prefix' as const, value: '/' } } }];
  const http = { routes: [{ metadata: named('http'), rules: [{ matches, backends }] }] };
  const opaque = { routes: [{ metadata: named('opaque'), rules: [{ backends }] }] };
  return {
    metadata,
    protocol: isOpaque
      ? { kind: { case: 'opaque', value: opaque } }
      : { kind: { case: 'detect', value: { timeout: DETECT_TIMEOUT, opaque, http1: http, http2: http } } },
  };
}

function inboundPolicy(isOpaque: boolean): ServerInit {
  const name = 'all-unauthenticated';
  const everywhere = [
    { net: { ip: ipv4('0.0.0.0'), prefixLen: 0 } },
    { net: { ip: { ip: { case: 'ipv6' as const, value: { first: 0n, last: 0n } } }, prefixLen: 0 } },
  ];
  const rules = [{ matches: [{ path: { kind: { case: 'prefix' as const, value: '/' } } }] }];
  return {
    protocol: isOpaque
      ? { kind: { case: 'opaque', value: {} } }
      : {
          kind: {
            case: 'detect',
            value: { timeout: DETECT_TIMEOUT, httpRoutes: [{ metadata: named('default'), rules }] },
          },
        },
    authorizations: [
      {
        networks: everywhere,
        authentication: { permit: { case: 'unauthenticated', value: {} } },
        labels: { group: '', kind: 'default', name },
        metadata: named(name),
      },
    ],
    labels: { group: '', kind: 'default', name },
  };
}

function named(name: string): { kind: { case: 'default'; value: string } } {
  return { kind: { case: 'default', value: name } };
}
