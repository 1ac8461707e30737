/** The cluster's network: interfaces, Services and DNS, within the network namespace of the calling process. */

import { ENDPOINT_SLICES, type EndpointSlice, NAMESPACES, type Namespace, SERVICES, type Service } from '@tulle/api';
import { type Client, startReflector } from '@tulle/client';
import type { Logger } from 'pino';
import { createDnsRecords } from './dns-records.ts';
import { startDnsServer } from './dns-server.ts';
import { EndpointSliceIndex } from './endpoint-slices.ts';
import { type NetworkLayout, usableAddresses } from './interfaces.ts';
import { startServiceProxy } from './service-proxy.ts';

export interface NetworkOptions {
  client: Client;
  layout: NetworkLayout;
  clusterDomain: string;
  signal: AbortSignal;
  logger: Logger;
}

const DNS_PORT = 53;

/**
 * Serves Services and DNS on the interfaces that `createInterfaces` has made. Resolves when both are in step with the
 * API for the first time.
 */
export async function startNetwork(options: NetworkOptions): Promise<AsyncDisposable> {
  const { client, layout, clusterDomain, signal, logger } = options;
  const services = startReflector<Service>(client, SERVICES, {}, signal);
  const slices = startReflector<EndpointSlice>(client, ENDPOINT_SLICES, {}, signal);
  const namespaces = startReflector<Namespace>(client, NAMESPACES, {}, signal);
  const slicesOf = new EndpointSliceIndex();
  slices.subscribe(({ type, object }) => slicesOf.apply(type, object));
  const source = {
    service: (key: string) => services.get(key),
    services: () => services.list(),
    slices: (key: string) => slicesOf.of(key),
    hasNamespace: (name: string) => namespaces.get(name) !== undefined,
  };
  await Promise.all([services.synced, slices.synced, namespaces.synced]);
  await using stack = new AsyncDisposableStack();
  stack.use(
    await startDnsServer({
      records: createDnsRecords(source, clusterDomain),
      domain: clusterDomain,
      addresses: usableAddresses(layout.dnsAddresses),
      port: DNS_PORT,
    }),
  );
  stack.use(await startServiceProxy(client, layout, signal, logger));
  return stack.move();
}
