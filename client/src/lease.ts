/**
 * Leader election on a Lease object. Times are measured by our own clock from when we saw the lease change, so the
 * clocks of the candidates need not agree.
 */

import { LEASES, type Lease, MeshError } from '@tulle/api';
import { sleep } from './backoff.ts';
import type { Client } from './client.ts';

export interface LeaseOptions {
  namespace: string;
  name: string;
  /** Who we are: unique for each process. */
  holder: string;
  /** After this long without renewal others may take it. */
  durationS: number;
  /** A leader that could not renew for this long steps down; below `durationS`. */
  renewS: number;
  /** Between attempts; below `renewS`. */
  retryS: number;
}

/** Runs until the signal is aborted, then gives the lease back; `onChange` hears only changes. */
export async function runLease(
  client: Client,
  options: LeaseOptions,
  signal: AbortSignal,
  onChange: (isLeader: boolean) => void,
): Promise<void> {
  const { durationS, renewS, retryS } = options;
  if (!(durationS > renewS && renewS > retryS && retryS > 0)) {
    throw new MeshError('INVALID_ARGUMENT', 'run lease: durationS > renewS > retryS > 0 does not hold');
  }
  let isLeader = false;
  let renewedAtMs = 0;
  let seen = { version: '', atMs: 0 };
  const change = (leads: boolean) => {
    if (leads === isLeader) return;
    isLeader = leads;
    onChange(leads);
  };

  while (!signal.aborted) {
    const startedAtMs = performance.now();
    try {
      const lease = await readLease(client, options);
      const version = lease?.metadata.resourceVersion ?? '';
      if (version !== seen.version) seen = { version, atMs: startedAtMs };
      const isExpired = startedAtMs - seen.atMs > (lease?.spec?.leaseDurationSeconds ?? durationS) * 1000;
      const holder = lease?.spec?.holderIdentity;
      if (!holder || holder === options.holder || isExpired) {
        const held = await writeLease(client, options, lease);
        seen = { version: held.metadata.resourceVersion ?? '', atMs: startedAtMs };
        renewedAtMs = startedAtMs;
        change(true);
      } else {
        change(false);
      }
    } catch {
      // Who lost a race or reached no server waits; a leader leads on until its time is over.
    }
    if (isLeader && performance.now() - renewedAtMs > renewS * 1000) change(false);
    await sleep(retryS * 1000, signal);
  }
  const wasLeader = isLeader;
  change(false);
  if (wasLeader) await releaseLease(client, options);
}

async function readLease(client: Client, options: LeaseOptions): Promise<Lease | undefined> {
  try {
    return await client.get<Lease>(LEASES, options.name, options.namespace);
  } catch (error) {
    if (error instanceof MeshError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

function writeLease(client: Client, options: LeaseOptions, lease: Lease | undefined): Promise<Lease> {
  const now = `${new Date().toISOString().slice(0, -1)}000Z`;
  const isNew = lease?.spec?.holderIdentity !== options.holder;
  const spec = {
    ...lease?.spec,
    holderIdentity: options.holder,
    leaseDurationSeconds: options.durationS,
    renewTime: now,
    acquireTime: isNew ? now : lease?.spec?.acquireTime,
    leaseTransitions: (lease?.spec?.leaseTransitions ?? 0) + (lease && isNew ? 1 : 0),
  };
  if (lease) return client.update<Lease>(LEASES, { ...lease, spec });
  const metadata = { name: options.name, namespace: options.namespace };
  return client.create<Lease>(LEASES, { metadata, spec });
}

async function releaseLease(client: Client, options: LeaseOptions): Promise<void> {
  try {
    const lease = await readLease(client, options);
    if (lease?.spec?.holderIdentity !== options.holder) return;
    await client.update(LEASES, { ...lease, spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 } });
  } catch {
    // It expires by itself.
  }
}
