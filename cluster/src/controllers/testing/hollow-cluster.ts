/**
 * For tests: an API server in memory with all controllers, and nodes that only say that pods run. A test says which pods
 * become ready and how they end.
 */

import { setMaxListeners } from 'node:events';
import type { TestContext } from 'node:test';
import { type Kind, type KubeObject, MeshError, NAMESPACES, NODES, PODS, type Pod, SERVICE_ACCOUNTS } from '@tulle/api';
import { type Client, createClient, type Reflector, startReflector, waitFor } from '@tulle/client';
import { type ApiServer, startApiServer } from '../../apiserver/server.ts';
import { setLogLevel } from '../../logger.ts';
import { startControllers } from '../start-controllers.ts';

export interface HollowOptions {
  nodes?: Array<{ name: string; labels?: Record<string, string> }>;
  /** Milliseconds since 1970, for the server and the controllers. */
  now?: () => number;
  /** What the agent says of a pod that is on a node; by default it runs and is ready. Undefined says nothing yet. */
  run?: (pod: Pod) => Pod['status'] | undefined;
}

export interface HollowCluster {
  client: Client;
  server: ApiServer;
  namespace: string;
  /** Looks at every pod again, as `run` may say something else now. */
  rerun(): void;
  reflector<T extends KubeObject>(kind: Kind): Reflector<T>;
  /** Resolves when the objects of the kind are as the test waits for them. */
  until<T extends KubeObject>(kind: Kind, isReached: (objects: T[]) => boolean): Promise<T[]>;
}

/** A test that waits longer has failed. */
const WAIT_MS_MAX = 30_000;

let serial = 0;

export async function startHollowCluster(t: TestContext, options: HollowOptions = {}): Promise<HollowCluster> {
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const now = options.now ?? Date.now;
  setLogLevel('error');
  const server = await startApiServer({ listen: [{ host: '127.0.0.1', port: 0 }], now });
  const admin = await server.pki.issueClient('admin', ['system:masters']);
  const { caPem } = server.pki;
  const client = createClient({
    server: `https://127.0.0.1:${server.port}`,
    caPem,
    clientCertPem: admin.certPem,
    clientKeyPem: admin.keyPem,
    namespace: 'default',
  });
  t.after(async () => {
    stop.abort();
    client.close();
    // The server sees its connections closed before it stops.
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    await server[Symbol.asyncDispose]();
  });
  for (const { name, labels = {} } of options.nodes ?? [{ name: 'n1' }]) await createNode(client, name, labels);
  startControllers({ client, signal: stop.signal, now });
  const agent = startAgent(client, options.run ?? runsAndIsReady, stop.signal);
  const namespace = `test-${serial++}`;
  await client.create(NAMESPACES, { metadata: { name: namespace } });
  // Pods are refused until their service account is there.
  const until = <T extends KubeObject>(kind: Kind, isReached: (objects: T[]) => boolean) =>
    waitFor<T>(client, kind, kind.namespaced ? { namespace } : {}, isReached, AbortSignal.timeout(WAIT_MS_MAX));
  await until(SERVICE_ACCOUNTS, (all) => all.length > 0);

  const reflector = <T extends KubeObject>(kind: Kind) => startReflector<T>(client, kind, { namespace }, stop.signal);
  return {
    client,
    server,
    namespace,
    rerun: agent.rerun,
    reflector,
    until,
  };
}

/** Resolves when the reflector's store is as the test waits for it. */
export function reached<T>(reflector: Reflector<T>, isReached: (objects: T[]) => boolean): Promise<T[]> {
  return new Promise((resolve) => {
    reflector.subscribe(() => {
      if (isReached(reflector.list())) resolve(reflector.list());
    });
  });
}

function runsAndIsReady(): Pod['status'] {
  return status('Running', true);
}

/** A status as an agent writes it. */
export function status(phase: string, isReady: boolean): NonNullable<Pod['status']> {
  const lastTransitionTime = new Date().toISOString().replace(/\.\d+Z/, 'Z');
  return { phase, conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False', lastTransitionTime }] };
}

async function createNode(client: Client, name: string, labels: Record<string, string>): Promise<void> {
  const node = await client.create(NODES, {
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } },
  });
  const conditions = [{ type: 'Ready', status: 'True' }];
  const allocatable = { cpu: '4', memory: '8Gi', pods: '110' };
  await client.updateStatus(NODES, { ...node, status: { conditions, allocatable } });
}

function startAgent(client: Client, run: (pod: Pod) => Pod['status'] | undefined, signal: AbortSignal) {
  const pods = startReflector<Pod>(client, PODS, {}, signal);
  const addresses = new Map<string, number>();
  const said = new Map<string, string>();
  pods.subscribe(({ type, object }) => {
    if (type !== 'deleted') void look(object);
  });

  async function look(pod: Pod): Promise<void> {
    if (!pod.spec?.nodeName || signal.aborted) return;
    const { name, namespace, uid = '', deletionTimestamp } = pod.metadata;
    try {
      if (deletionTimestamp) {
        await client.delete(PODS, name, namespace, { gracePeriodSeconds: 0, preconditions: { uid } });
        return;
      }
      const wanted = run(pod);
      const text = JSON.stringify([wanted?.phase, wanted?.conditions?.map((condition) => condition.status)]);
      if (!wanted || said.get(uid) === text) return;
      said.set(uid, text);
      const number = addresses.get(uid) ?? addresses.size + 1;
      addresses.set(uid, number);
      const podIPs = [{ ip: `10.42.0.${number}` }, { ip: `fd42::${number.toString(16)}` }];
      const changes = { ...wanted, podIP: podIPs[0]?.ip, podIPs };
      await client.patch(PODS, name, namespace, { status: changes }, 'strategic', { subresource: 'status' });
    } catch (error) {
      const { code } = MeshError.from(error);
      if (!['NOT_FOUND', 'ABORTED', 'CANCELLED', 'UNAVAILABLE'].includes(code)) throw error;
    }
  }
  return {
    rerun() {
      for (const pod of pods.list()) void look(pod);
    },
  };
}
