/**
 * The API server that the suite of its semantics runs against: one in memory with the cluster's controllers, or the one of
 * TEST_KUBECONFIG. The suite says nothing that does not hold of a real Kubernetes.
 */

import { randomBytes } from 'node:crypto';
import { after } from 'node:test';
import { type Kind, type KubeObject, MeshError, NAMESPACES, SERVICE_ACCOUNTS, type Status } from '@tulle/api';
import { type Client, type ClusterConfig, createClient, loadKubeconfig, type WatchEvent, waitFor } from '@tulle/client';
import { startApiServer } from '@tulle/cluster/apiserver/server.ts';
import { startControllers } from '@tulle/cluster/controllers/start-controllers.ts';
import { setLogLevel } from '@tulle/cluster/logger.ts';

export interface TestApi {
  /** As an administrator. */
  client: Client;
  /** A namespace of the test file's own. */
  namespace: string;
  /** A client with this token, or without credentials. */
  clientWith(token?: string): Client;
  /** Resolves when the objects of the kind, in the namespace where it has namespaces, are as the test waits for them. */
  until<T extends KubeObject>(kind: Kind, isReached: (objects: T[]) => boolean): Promise<T[]>;
  /** A name that no other run has taken, for objects without namespace. */
  unique(base: string): string;
}

/** A real controller-manager takes some seconds to collect garbage. */
const WAIT_MS_MAX = 30_000;

/** For the whole test file; ends with it. */
export async function openApi(): Promise<TestApi> {
  const foreign = process.env.TEST_KUBECONFIG;
  const inMemory = foreign ? undefined : await startInMemory();
  const client = createClient(inMemory?.config ?? loadKubeconfig({ path: foreign ?? '' }));
  const namespace = unique('api');
  await client.create(NAMESPACES, { metadata: { name: namespace } });
  const until: TestApi['until'] = (kind, isReached) =>
    waitFor(client, kind, kind.namespaced ? { namespace } : {}, isReached, AbortSignal.timeout(WAIT_MS_MAX));
  await until(SERVICE_ACCOUNTS, (all) => all.length > 0);
  const clients = [client];
  after(async () => {
    if (foreign) await client.delete(NAMESPACES, namespace);
    for (const one of clients) one.close();
    await inMemory?.stop();
  });
  return {
    client,
    namespace,
    unique,
    until,
    clientWith(token) {
      const { server, caPem, insecureSkipTlsVerify, tlsServerName } = client.config;
      const credentials = token ? { token: async () => token } : {};
      const config = { server, caPem, insecureSkipTlsVerify, tlsServerName, namespace, ...credentials };
      const one = createClient(config);
      clients.push(one);
      return one;
    },
  };
}

async function startInMemory(): Promise<{ config: ClusterConfig; stop: () => Promise<void> }> {
  setLogLevel('error');
  const stopping = new AbortController();
  const server = await startApiServer({ listen: [{ host: '127.0.0.1', port: 0 }] });
  const admin = await server.pki.issueClient('kubernetes-admin', ['system:masters']);
  const config = {
    server: `https://127.0.0.1:${server.port}`,
    caPem: server.pki.caPem,
    clientCertPem: admin.certPem,
    clientKeyPem: admin.keyPem,
    namespace: 'default',
  };
  const client = createClient(config);
  startControllers({ client, signal: stopping.signal });
  const stop = async () => {
    stopping.abort();
    client.close();
    await server[Symbol.asyncDispose]();
  };
  return { config, stop };
}

function unique(base: string): string {
  return `${base}-${randomBytes(4).toString('hex')}`;
}

/** The failure of a request that must fail, with the server's answer. */
export async function failure(work: Promise<unknown>): Promise<Status> {
  try {
    await work;
  } catch (error) {
    if (error instanceof MeshError && error.status) return error.status as Status;
    throw error;
  }
  throw new MeshError('FAILED_PRECONDITION', 'the request was to fail and did not');
}

/** The first events of a watch, as many as asked for. */
export async function take<T extends KubeObject>(
  events: AsyncIterable<WatchEvent<T>>,
  count: number,
): Promise<WatchEvent<T>[]> {
  const taken: WatchEvent<T>[] = [];
  for await (const event of events) {
    if (event.type !== 'BOOKMARK') taken.push(event);
    if (taken.length === count) break;
  }
  return taken;
}
