/** The agent's Node object and heartbeat Lease. */

import { readFileSync } from 'node:fs';
import { arch, cpus, hostname, machine, release, totalmem } from 'node:os';
import { LEASES, MeshError, NODES } from '@tulle/api';
import { type Client, sleep } from '@tulle/client';
import type { Logger } from 'pino';

export interface NodeFacts {
  name: string;
  zone?: string;
  region?: string;
  podCidrs: string[];
  addresses: string[];
  agentPort: number;
}

/** Two addresses of a /20 are taken; beyond this the API server and two cores are the limit. */
const PODS_MAX = 500;
const HEARTBEAT_MS = 10_000;
const LEASE_S = 40;
const LEASE_NAMESPACE = 'kube-node-lease';
const VERSION = 'v1.34.0+tulle';
const ARCHITECTURES: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };

export async function registerNode(client: Client, facts: NodeFacts): Promise<void> {
  const labels = {
    'kubernetes.io/hostname': facts.name,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': ARCHITECTURES[arch()] ?? arch(),
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': ARCHITECTURES[arch()] ?? arch(),
    ...(facts.zone ? { 'topology.kubernetes.io/zone': facts.zone } : {}),
    ...(facts.region ? { 'topology.kubernetes.io/region': facts.region } : {}),
  };
  const spec = { podCIDR: facts.podCidrs[0], podCIDRs: facts.podCidrs };
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: facts.name, labels }, spec };
  try {
    await client.create(NODES, node);
  } catch (error) {
    if (MeshError.from(error).code !== 'ALREADY_EXISTS') throw error;
    await client.patch(NODES, facts.name, undefined, { metadata: { labels }, spec }, 'merge');
  }
  // Not a strategic merge: its key for addresses is their type, so that two of one type become one.
  await client.patch(NODES, facts.name, undefined, { status: nodeStatus(facts) }, 'merge', { subresource: 'status' });
}

/** Renews the Lease until the signal is aborted. */
export async function keepLease(client: Client, name: string, signal: AbortSignal, logger: Logger): Promise<void> {
  while (!signal.aborted) {
    const spec = {
      holderIdentity: name,
      leaseDurationSeconds: LEASE_S,
      renewTime: `${new Date().toISOString().slice(0, -1)}000Z`,
    };
    try {
      await client.patch(LEASES, name, LEASE_NAMESPACE, { spec }, 'merge');
    } catch (error) {
      const { code, message } = MeshError.from(error);
      if (code !== 'NOT_FOUND') logger.warn({ reason: message }, 'node lease not renewed');
      else {
        const metadata = { name, namespace: LEASE_NAMESPACE };
        await client
          .create(LEASES, { metadata, spec }, { namespace: LEASE_NAMESPACE })
          .catch((cause) => logger.debug({ reason: MeshError.from(cause).message }, 'node lease not created'));
      }
    }
    await sleep(HEARTBEAT_MS, signal);
  }
}

function nodeStatus(facts: NodeFacts) {
  const now = new Date().toISOString().replace(/\.\d+/, '');
  const condition = (type: string, isTrue: boolean, reason: string, message: string) => ({
    type,
    status: isTrue ? 'True' : 'False',
    reason,
    message,
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  });
  const capacity = { cpu: String(cpus().length), memory: `${Math.floor(totalmem() / 1024)}Ki`, pods: String(PODS_MAX) };
  return {
    capacity,
    allocatable: capacity,
    conditions: [
      condition('MemoryPressure', false, 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
      condition('DiskPressure', false, 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
      condition('PIDPressure', false, 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
      condition('Ready', true, 'KubeletReady', 'kubelet is posting ready status'),
    ],
    addresses: [
      ...facts.addresses.map((address) => ({ type: 'InternalIP', address })),
      { type: 'Hostname', address: facts.name },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: facts.agentPort } },
    nodeInfo: {
      machineID: hostname(),
      systemUUID: facts.name,
      bootID: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
      kernelVersion: release(),
      osImage: 'Linux',
      containerRuntimeVersion: 'tulle-pod://0.1.0',
      kubeletVersion: VERSION,
      kubeProxyVersion: VERSION,
      operatingSystem: 'linux',
      architecture: ARCHITECTURES[arch()] ?? machine(),
    },
  };
}
