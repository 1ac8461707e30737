/**
 * The cluster that an end-to-end test runs on: a one-machine cluster of its own, or the one of TEST_KUBECONFIG. Manifests and calls go
 * through the Kubernetes API alike; what only the one-machine cluster allows (entering its network) is in `oneMachine`.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DEPLOYMENTS, type KubeObject, MeshError, NAMESPACES, PODS } from '@tulle/api';
import { type Client, createClient, loadKubeconfig } from '@tulle/client';
import { startCluster } from '@tulle/cluster';
import { parseAllDocuments } from 'yaml';
import { Agent, namespaceManifest, type PeerOptions, peerManifests } from './peers.ts';

const exec = promisify(execFile);
export const root = join(import.meta.dirname, '../..');
const READY_TIMEOUT_MS = 90_000;
const POLL_MS = 200;

export interface TestCluster extends AsyncDisposable {
  client: Client;
  kubeconfigPath: string;
  /** Undefined on a foreign cluster. */
  oneMachine?: { innerPid: number; stateDir: string };
  /** Namespaces that the test file made on a foreign cluster, which go with it. */
  made?: Set<string>;
}

/** `links` are state folders of one-machine clusters that run. */
export async function openCluster(options: { nodes?: number; links?: string[] } = {}): Promise<TestCluster> {
  const foreign = process.env.TEST_KUBECONFIG;
  if (foreign) {
    const client = createClient(loadKubeconfig({ path: foreign }));
    const made = new Set<string>();
    return {
      client,
      kubeconfigPath: foreign,
      made,
      async [Symbol.asyncDispose]() {
        for (const name of made) await client.delete(NAMESPACES, name);
        for (const name of made) await untilNamespaceGone(client, name);
        client.close();
      },
    };
  }
  const stateDir = await mkdtemp(join(tmpdir(), 'tulle-test-'));
  const cluster = await startCluster({ stateDir, nodes: options.nodes ?? 1, links: options.links ?? [] });
  await cluster.ready;
  const client = createClient(loadKubeconfig({ path: cluster.kubeconfigPath }));
  return {
    client,
    kubeconfigPath: cluster.kubeconfigPath,
    oneMachine: { innerPid: cluster.innerPid, stateDir },
    async [Symbol.asyncDispose]() {
      client.close();
      await cluster[Symbol.asyncDispose]();
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

/** Runs the built `tulle`; a non-zero exit throws with its stderr. */
export async function tulle(cluster: TestCluster, ...args: string[]): Promise<string> {
  const { stdout } = await exec(
    process.execPath,
    [join(root, 'dist/tulle.js'), '--kubeconfig', cluster.kubeconfigPath, ...args],
    {
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  return stdout;
}

/** Installs the mesh exactly as a user does, and waits until its pod is ready. */
export async function installMesh(cluster: TestCluster, ...flags: string[]): Promise<void> {
  await applyText(cluster, await tulle(cluster, 'install', '--crds'));
  await applyText(cluster, await tulle(cluster, 'install', ...flags));
  await untilDeploymentReady(cluster, 'linkerd', 'linkerd-destination');
  // An API server may still find nobody behind the webhook's Service, and then lets pods pass as they are.
  await until('pods are injected', async () => {
    const metadata = { name: 'probe', namespace: 'default', annotations: { 'linkerd.io/inject': 'enabled' } };
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata,
      spec: { containers: [{ name: 'app', image: 'tulle/test:0.1.0' }] },
    };
    const { spec } = await cluster.client.create<KubeObject>(PODS, pod, { dryRun: true });
    return [...spec.containers, ...(spec.initContainers ?? [])].some(({ name }) => name === 'linkerd-proxy');
  });
}

export async function applyText(cluster: TestCluster, text: string): Promise<void> {
  for (const document of parseAllDocuments(text)) {
    const object = document.toJS() as KubeObject | null;
    if (object) await cluster.client.apply(object, { fieldManager: 'test', force: true });
  }
}

export async function apply(cluster: TestCluster, objects: Record<string, unknown>[]): Promise<void> {
  for (const object of objects as unknown as KubeObject[]) {
    await cluster.client.apply(object, { fieldManager: 'test', force: true });
    if (object.kind === 'Namespace') cluster.made?.add(object.metadata.name);
  }
}

/** Deletes objects; what is gone already is fine. */
export async function remove(cluster: TestCluster, objects: Record<string, any>[]): Promise<void> {
  for (const { apiVersion, kind, metadata } of objects) {
    const found = await cluster.client.kindFor(apiVersion, kind);
    await cluster.client.delete(found, metadata.name, metadata.namespace).catch((error) => {
      if (MeshError.from(error).code !== 'NOT_FOUND') throw error;
    });
  }
}

/** Applies objects for as long as the result is not disposed of. */
export async function inForce(cluster: TestCluster, objects: Record<string, any>[]): Promise<AsyncDisposable> {
  await apply(cluster, objects);
  return { [Symbol.asyncDispose]: () => remove(cluster, objects) };
}

/** Applies a namespace and peers in it, and waits until all of them are ready. */
export async function deployPeers(
  cluster: TestCluster,
  namespace: string,
  peers: Omit<PeerOptions, 'namespace'>[],
): Promise<void> {
  await apply(cluster, [
    namespaceManifest(namespace),
    ...peers.flatMap((peer) => peerManifests({ ...peer, namespace })),
  ]);
  for (const { name } of peers) await untilDeploymentReady(cluster, namespace, name);
}

export async function agentOf(cluster: TestCluster, namespace: string, name: string): Promise<Agent> {
  const [pod] = await podsOf(cluster, namespace, name);
  if (!pod) throw new MeshError('NOT_FOUND', `find agent ${namespace}/${name}: it has no pod`);
  return new Agent(cluster.client, namespace, pod.metadata.name ?? '');
}

export async function podsOf(cluster: TestCluster, namespace: string, app: string): Promise<KubeObject[]> {
  const { items } = await cluster.client.list<KubeObject>(PODS, { namespace, labelSelector: `app=${app}` });
  return items.filter((pod) => !pod.metadata.deletionTimestamp);
}

export async function untilDeploymentReady(cluster: TestCluster, namespace: string, name: string): Promise<void> {
  await until(`deployment ${namespace}/${name} is ready`, async () => {
    const { spec, status, metadata } = await cluster.client.get<KubeObject>(DEPLOYMENTS, name, namespace);
    const replicas = spec.replicas ?? 1;
    return (
      status?.observedGeneration >= (metadata.generation ?? 0) &&
      (status?.updatedReplicas ?? 0) === replicas &&
      (status?.readyReplicas ?? 0) === replicas &&
      (status?.replicas ?? 0) === replicas
    );
  });
}

async function untilNamespaceGone(client: Client, name: string): Promise<void> {
  await until(`namespace ${name} is gone`, async () => {
    const { items } = await client.list(NAMESPACES, { fieldSelector: `metadata.name=${name}` });
    return items.length === 0;
  });
}

/** Waits until a fact holds, asking again and again; says which one never did. */
export async function until(fact: string, holds: () => Promise<boolean>, timeoutMs = READY_TIMEOUT_MS): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      if (await holds()) return;
    } catch (error) {
      last = error;
    }
    await delay(POLL_MS);
  }
  throw new MeshError('DEADLINE_EXCEEDED', `wait until ${fact}: not after ${timeoutMs} ms`, { cause: last });
}

/** Runs a command inside the one-machine cluster's own network. */
export function enterNetwork(cluster: TestCluster, ...command: string[]): [string, string[]] {
  if (!cluster.oneMachine)
    throw new MeshError('FAILED_PRECONDITION', 'enter the cluster network: not a one-machine cluster');
  return ['nsenter', ['--target', String(cluster.oneMachine.innerPid), '--net', '--', ...command]];
}
