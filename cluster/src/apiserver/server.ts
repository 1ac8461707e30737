/** The API server: HTTPS on a TCP address, on a Unix socket and on listeners that were handed to it. */

import type { IncomingMessage } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { MeshError } from '@tulle/api';
import { Admission } from '../admission/admission.ts';
import { createNamespaceLifecycle } from '../admission/namespace-lifecycle.ts';
import { createServiceAccountAdmission } from '../admission/service-account.ts';
import { createServiceAllocation } from '../admission/service-allocation.ts';
import { createWebhookAdmission } from '../admission/webhooks.ts';
import { createAuthenticator } from '../authentication/authenticator.ts';
import { openPki, type Pki } from '../authentication/pki.ts';
import { TokenAuthority } from '../authentication/token-authority.ts';
import { createAuthorizer } from '../authorization/authorizer.ts';
import { bootstrapObjects } from '../bootstrap.ts';
import { apiserver as logger } from '../logger.ts';
import { publishApiServices } from '../resources/api-service.ts';
import { builtinResources } from '../resources/builtin.ts';
import { serveCustomResources } from '../resources/custom-resource.ts';
import { Registry } from '../resources/registry.ts';
import { ServiceAddresses } from '../service-addresses.ts';
import { openJournal } from '../store/journal.ts';
import { Store } from '../store/store.ts';
import { authenticate, authorize } from './access.ts';
import type { ApiContext } from './context.ts';
import { dispatch, openRequest, type Services } from './dispatch.ts';
import { startGarbageCollector } from './garbage-collector.ts';
import { dialByNodeStatus, forwardUpgrade, type NodeDialer } from './node-proxy.ts';
import { findEntry, PagedLists } from './read.ts';
import { statusOf } from './respond.ts';
import { badRequest } from './status.ts';

/** Connections at once: every watch of an HTTP/1.1 client is one. */
export const CONNECTIONS_MAX = 8192;
/** How long a request may take to arrive whole; bodies are at most 3 MiB. */
const REQUEST_TIMEOUT_MS = 60_000;

export interface ApiServerOptions {
  /** Where the state is kept; without it, in memory. */
  stateDir?: string;
  /** TCP addresses, Unix sockets (`path`) or inherited listeners (`fd`). */
  listen: readonly ListenOptions[];
  /** More addresses that the server's certificate is good for. */
  addresses?: readonly string[];
  /** Where pods reach the server. */
  advertise?: { addresses: readonly string[]; port: number };
  dial?: NodeDialer;
  now?: () => number;
  pki?: Pki;
}

export interface ApiServer extends AsyncDisposable {
  context: ApiContext;
  pki: Pki;
  /** Port of the first TCP listener. */
  port: number | undefined;
  /** What /readyz says. */
  setReady(isReady: boolean): void;
}

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { stateDir } = options;
  const now = options.now ?? Date.now;
  const journal = stateDir === undefined ? undefined : openJournal(join(stateDir, 'store'));
  const store = new Store(
    journal === undefined ? {} : { journal, revision: journal.revision, entries: journal.entries },
  );
  journal?.attach(store);
  const pki =
    options.pki ?? (await openPki(stateDir === undefined ? undefined : join(stateDir, 'pki'), options.addresses));
  const registry = new Registry(builtinResources);
  const stopping = new AbortController();
  const tokens = new TokenAuthority(pki.serviceAccountKeyPem, store, now);
  const addresses = new ServiceAddresses(store, now);
  const admission = new Admission([
    createNamespaceLifecycle(store),
    createServiceAccountAdmission(store),
    createWebhookAdmission({ store, registry }),
    createServiceAllocation(addresses),
  ]);
  const context: ApiContext = {
    store,
    registry,
    authenticator: createAuthenticator(tokens),
    authorizer: createAuthorizer(store),
    admission,
    now,
    signal: stopping.signal,
  };
  bootstrapObjects({
    store,
    registry,
    nowMs: now(),
    ...(options.advertise === undefined ? {} : { advertise: options.advertise }),
  });
  serveCustomResources(context);
  publishApiServices(context);
  startGarbageCollector(context);

  let isReady = true;
  const services: Services = {
    context,
    tokens,
    pages: new PagedLists(),
    dial: options.dial ?? dialByNodeStatus(context),
    isReady: () => isReady,
  };
  const https = createHttpsServer({
    key: pki.server.keyPem,
    cert: pki.server.certPem,
    ca: pki.caPem,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    requestTimeout: REQUEST_TIMEOUT_MS,
    noDelay: true,
    keepAliveTimeout: 120_000,
  });
  https.on('request', (incoming, outgoing) => {
    void dispatch(services, incoming, outgoing);
  });
  https.on('upgrade', (incoming, socket, head) => {
    void upgrade(services, incoming, socket, head);
  });
  const sockets = new Set<Socket>();
  const listeners: Server[] = [];
  let port: number | undefined;
  for (const listen of options.listen) {
    const listener = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      https.emit('connection', socket);
    });
    listener.maxConnections = CONNECTIONS_MAX;
    await listenOn(listener, listen);
    listeners.push(listener);
    const address = listener.address();
    if (port === undefined && typeof address === 'object' && address !== null) port = address.port;
  }
  logger.info({ port, revision: store.revision, stateDir }, 'API server listens');
  const stop = async () => {
    stopping.abort();
    const closed = listeners.map((listener) => new Promise<void>((resolve) => listener.close(() => resolve())));
    // Watches have been told to end; what is still open after that has nothing to say.
    setImmediate(() => {
      for (const socket of sockets) socket.destroy();
    });
    await Promise.all(closed);
    journal?.close();
  };
  let stopped: Promise<void> | undefined;
  return {
    context,
    pki,
    port,
    setReady: (value) => {
      isReady = value;
    },
    [Symbol.asyncDispose]: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}

function listenOn(listener: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    listener.once('error', (error) =>
      reject(new MeshError('UNAVAILABLE', `listen on ${JSON.stringify(options)}: ${error.message}`, { cause: error })),
    );
    listener.listen(options, resolve);
  });
}

/** WebSocket upgrades: port-forwarding is the one there is. */
async function upgrade(services: Services, incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  socket.on('error', () => socket.destroy());
  try {
    // There is no response object in an upgrade; the request is only used for what it asks.
    const request = openRequest(services, incoming, undefined as never);
    const { info } = request;
    // Upgrades are GETs; Kubernetes authorizes port-forwarding as create.
    if (info.subresource === 'portforward') info.verb = 'create';
    request.user = authenticate(services.context, incoming);
    authorize(services.context, request);
    const resource = services.context.registry.find(info.group, info.version, info.plural);
    if (resource?.storage !== 'pods' || info.subresource !== 'portforward')
      throw badRequest('only pods/portforward can be upgraded');
    request.resource = resource;
    const ports = info.query
      .getAll('ports')
      .concat(info.query.getAll('port'))
      .flatMap((text) => text.split(','));
    if (!/websocket/i.test(incoming.headers.upgrade ?? ''))
      throw badRequest('unable to upgrade: only WebSocket is spoken here');
    await forwardUpgrade(incoming, socket, head, findEntry(request), ports, services.dial);
  } catch (error) {
    const status = statusOf(error);
    const text = JSON.stringify(status);
    socket.end(
      `HTTP/1.1 ${status.code} ${status.reason}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    );
  }
}
