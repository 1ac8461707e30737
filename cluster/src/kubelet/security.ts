/** Who a container runs as and what it may do: pod and container security context → ids and capabilities. Pure. */

import { type Container, MeshError, type Pod } from '@tulle/api';
import type { ProcessSpec } from '../sandbox/pod-runtime.ts';
import type { Image } from './images.ts';

/** linux/capability.h, in order of their numbers. */
const CAPABILITIES = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE ' +
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN ' +
  'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE ' +
  'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
).split(' ');

/** What container runtimes leave to a container that asks for nothing. */
const DEFAULT_CAPABILITIES =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'.split(
    ' ',
  );

/** Which uids exist in the agent's user namespace. */
export interface UidRange {
  /** Ids from 0 up to this exist; 1 when there is only root. */
  count: number;
}

/** From the text of /proc/self/uid_map. */
export function parseUidMap(text: string): UidRange {
  let count = 0;
  for (const line of text.trim().split('\n')) {
    const [inside = 0, , length = 0] = line.trim().split(/\s+/).map(Number);
    if (inside === count) count += length;
  }
  return { count };
}

export type Identity = Pick<ProcessSpec, 'user' | 'capabilities' | 'ambient' | 'noNewPrivileges'> & {
  /** The uid that was asked for but does not exist here. */
  missingUid?: number;
};

/** Throws MeshError FAILED_PRECONDITION where the kubelet would refuse the configuration. */
export function containerIdentity(pod: Pod, container: Container, image: Image, uids: UidRange): Identity {
  const shared = pod.spec?.securityContext ?? {};
  const own = container.securityContext ?? {};
  const [imageUid = '0', imageGid = imageUid] = String(image.user ?? 0).split(':');
  const uid = own.runAsUser ?? shared.runAsUser ?? Number(imageUid);
  const gid = own.runAsGroup ?? shared.runAsGroup ?? Number(imageGid);
  if ((own.runAsNonRoot ?? shared.runAsNonRoot) && uid === 0)
    throw new MeshError('FAILED_PRECONDITION', 'container has runAsNonRoot and would run as root');
  const isPrivileged = own.privileged === true;
  const capabilities = isPrivileged ? CAPABILITIES : granted(own.capabilities);
  const ambient = (own.capabilities?.add ?? []).flatMap((name) => (isAll(name) ? CAPABILITIES : [bare(name)]));
  const identity = {
    capabilities: capabilities.map(number),
    ambient: (isPrivileged ? CAPABILITIES : ambient).map(number),
    noNewPrivileges: own.allowPrivilegeEscalation === false,
  };
  const groups = [gid, ...(shared.supplementalGroups ?? []), ...(shared.fsGroup === undefined ? [] : [shared.fsGroup])];
  // With one uid the kernel forbids setgroups, and there is nobody else to become.
  if (uids.count > 1 && uid < uids.count && groups.every((id) => id < uids.count))
    return { ...identity, user: { uid, gid, groups: [...new Set(groups)] } };
  return { ...identity, user: null, ...(uid === 0 ? {} : { missingUid: uid }) };
}

export function capabilityNumber(name: string): number {
  return CAPABILITIES.indexOf(bare(name));
}

function granted(wanted: { add?: string[]; drop?: string[] } = {}): string[] {
  const dropped = new Set((wanted.drop ?? []).map(bare));
  const kept = dropped.has('ALL') ? [] : DEFAULT_CAPABILITIES.filter((name) => !dropped.has(name));
  const added = (wanted.add ?? []).flatMap((name) => (isAll(name) ? CAPABILITIES : [bare(name)]));
  return [...new Set([...kept, ...added])];
}

function isAll(name: string): boolean {
  return bare(name) === 'ALL';
}

function bare(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, '');
}

function number(name: string): number {
  const index = CAPABILITIES.indexOf(name);
  if (index < 0) throw new MeshError('FAILED_PRECONDITION', `unknown capability "${name}"`);
  return index;
}
