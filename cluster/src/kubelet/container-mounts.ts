/** What a container finds in its root: the machine's folders, its image, its volumes, and the pod's own /etc files. */

import { existsSync, lstatSync, mkdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Container, MeshError, type Pod } from '@tulle/api';
import type { Mount } from '../sandbox/pod-runtime.ts';
import { expand } from './environment.ts';
import type { Image } from './images.ts';

const FOLDERS = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/nix'];
/** What programs of the machine need of its /etc; the rest of it is not the container's business. */
const ETC = (
  'alternatives bash.bashrc ca-certificates ca-certificates.conf crypto-policies debian_version gai.conf group host.conf ' +
  'inputrc java ld.so.cache ld.so.conf ld.so.conf.d localtime mime.types nsswitch.conf os-release passwd perl pki ' +
  'profile protocols python3 python3.11 python3.12 python3.13 services shells ssl terminfo timezone'
).split(' ');
const EMPTY_FOLDERS: [string, number][] = [
  ['/tmp', 0o1777],
  ['/var/tmp', 0o1777],
  ['/run', 0o755],
  ['/root', 0o700],
  ['/home', 0o755],
  ['/etc', 0o755],
];

let system: Mount[] | undefined;

/** The same for all containers, so looked at once. */
function systemMounts(): Mount[] {
  system ??= [
    ...FOLDERS.filter(existsSync).map(
      (to): Mount =>
        lstatSync(to).isSymbolicLink()
          ? { type: 'symlink', target: readlinkSync(to), to }
          : { type: 'system', from: to, to },
    ),
    ...ETC.map((name) => `/etc/${name}`)
      .filter(existsSync)
      .map((to): Mount => ({ type: 'system', from: to, to })),
    ...EMPTY_FOLDERS.map(([to, mode]): Mount => ({ type: 'folder', to, mode })),
    { type: 'proc' },
    { type: 'dev' },
  ];
  return system;
}

export interface PodFiles {
  hosts: string;
  resolvConf: string;
  hostname: string;
  /** Written by the container, read when it ends. */
  terminationLog: string;
}

export function containerMounts(
  pod: Pod,
  container: Container,
  image: Image,
  volumes: ReadonlyMap<string, string>,
  files: PodFiles,
  env: ReadonlyMap<string, string>,
): Mount[] {
  const binds = (image.binds ?? []).map(({ from, to }): Mount => ({ type: 'bind', from, to, readOnly: true }));
  const own = (container.volumeMounts ?? []).map((mount): Mount => {
    const folder = volumes.get(mount.name);
    const volume = pod.spec?.volumes?.find(({ name }) => name === mount.name);
    if (!folder || !volume) throw new MeshError('FAILED_PRECONDITION', `volume mount "${mount.name}": no such volume`);
    const subPath = mount.subPathExpr ? expand(mount.subPathExpr, env) : (mount.subPath ?? '');
    const from = subPath ? subPathOf(folder, subPath) : folder;
    return { type: 'bind', from, to: mount.mountPath.replace(/(.)\/+$/, '$1'), readOnly: isReadOnly(mount, volume) };
  });
  // Outer mounts first, so that none hides another.
  own.sort((a, b) => depth(a) - depth(b));
  const etc: [string, string][] = [
    [files.hosts, '/etc/hosts'],
    [files.resolvConf, '/etc/resolv.conf'],
    [files.hostname, '/etc/hostname'],
    [files.terminationLog, container.terminationMessagePath ?? '/dev/termination-log'],
  ];
  const taken = new Set(own.map((mount) => 'to' in mount && mount.to));
  const podFiles = etc
    .filter(([, to]) => !taken.has(to))
    .map(([from, to]): Mount => ({ type: 'bind', from, to, readOnly: false }));
  return [...systemMounts(), ...binds, ...podFiles, ...own];
}

function isReadOnly(mount: { readOnly?: boolean }, volume: object): boolean {
  const isWritable = 'emptyDir' in volume || 'hostPath' in volume;
  return mount.readOnly === true || !isWritable;
}

function subPathOf(folder: string, subPath: string): string {
  if (subPath.startsWith('/') || subPath.split('/').includes('..'))
    throw new MeshError('FAILED_PRECONDITION', `subPath ${subPath}: not a relative path without ..`);
  const path = join(folder, subPath);
  if (!existsSync(path)) mkdirSync(path, { recursive: true });
  return path;
}

function depth(mount: Mount): number {
  return 'to' in mount ? mount.to.split('/').length : 0;
}
