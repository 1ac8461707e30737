/**
 * A pod's volumes as folders of the machine. What can hold secrets lives in memory (`memoryDir`, a tmpfs); emptyDir
 * lives on disk unless its medium is Memory.
 */

import { chmod, chown, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ConfigMap, type Container, MeshError, type Pod, type Secret } from '@tulle/api';
import { type VolumeFile, writeAtomicFolder } from './atomic-folder.ts';
import { fieldValue, type ResourceRef, resourceValue } from './downward.ts';

type Volume = NonNullable<NonNullable<Pod['spec']>['volumes']>[number];
type KeyToPath = { key: string; path: string; mode?: number };
interface DownwardItem {
  path: string;
  mode?: number;
  fieldRef?: { fieldPath: string };
  resourceFieldRef?: ResourceRef;
}

export interface VolumeSource {
  configMap(key: string): ConfigMap | undefined;
  secret(key: string): Secret | undefined;
  token(pod: Pod, audience: string | undefined, lifetimeS: number): Promise<string>;
}

export interface VolumeFolders {
  diskDir: string;
  memoryDir: string;
  /** Who the files belong to beside root; undefined when nobody asks for it, or the group does not exist here. */
  group: number | undefined;
}

const DEFAULT_MODE = 0o644;
const TOKEN_LIFETIME_S = 3600;

/** Makes or refreshes all of the pod's volumes; returns the folder, or file, of each. Throws on the first that fails. */
export async function prepareVolumes(
  pod: Pod,
  folders: VolumeFolders,
  source: VolumeSource,
): Promise<Map<string, string>> {
  const paths = new Map<string, string>();
  for (const volume of pod.spec?.volumes ?? []) {
    try {
      paths.set(volume.name, await prepareVolume(pod, volume, folders, source));
    } catch (cause) {
      const { message, code } = MeshError.from(cause);
      throw new MeshError(code, `MountVolume.SetUp failed for volume "${volume.name}": ${message}`, { cause });
    }
  }
  return paths;
}

/** Whether the volume's content follows objects of the API. */
export function isRefreshed(volume: Volume): boolean {
  return Boolean(volume.configMap || volume.secret || volume.projected || volume.downwardAPI);
}

async function prepareVolume(pod: Pod, volume: Volume, folders: VolumeFolders, source: VolumeSource): Promise<string> {
  const { group } = folders;
  if (volume.hostPath) return hostPath(volume.hostPath.path, volume.hostPath.type);
  if (isRefreshed(volume)) {
    const path = join(folders.memoryDir, volume.name);
    await writeAtomicFolder(path, await volumeFiles(pod, volume, source), group);
    return path;
  }
  if (volume.emptyDir) {
    const path = join(volume.emptyDir.medium === 'Memory' ? folders.memoryDir : folders.diskDir, volume.name);
    await mkdir(path, { recursive: true });
    if (group !== undefined) await chown(path, 0, group);
    await chmod(path, group === undefined ? 0o777 : 0o2777);
    return path;
  }
  const kind = Object.keys(volume).find((key) => key !== 'name');
  throw new MeshError('UNIMPLEMENTED', `volumes of kind ${kind ?? 'none'} are not offered on this cluster`);
}

async function hostPath(path: string, type = ''): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new MeshError('NOT_FOUND', `hostPath ${path} does not exist`);
  if (type.startsWith('Directory') && !found.isDirectory())
    throw new MeshError('FAILED_PRECONDITION', `hostPath ${path} is not a directory`);
  if (type.startsWith('File') && !found.isFile())
    throw new MeshError('FAILED_PRECONDITION', `hostPath ${path} is not a file`);
  return path;
}

async function volumeFiles(pod: Pod, volume: Volume, source: VolumeSource): Promise<Map<string, VolumeFile>> {
  const files = new Map<string, VolumeFile>();
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap) addConfigMap(files, pod, configMap, configMap.defaultMode, source);
  if (secret) addSecret(files, pod, { ...secret, name: secret.secretName }, secret.defaultMode, source);
  if (downwardAPI) addDownward(files, pod, downwardAPI.items, downwardAPI.defaultMode);
  for (const part of projected?.sources ?? []) {
    const mode = projected?.defaultMode;
    if (part.configMap) addConfigMap(files, pod, part.configMap, mode, source);
    if (part.secret) addSecret(files, pod, part.secret, mode, source);
    if (part.downwardAPI) addDownward(files, pod, part.downwardAPI.items, mode);
    if (part.serviceAccountToken) {
      const { audience, expirationSeconds = TOKEN_LIFETIME_S, path } = part.serviceAccountToken;
      addFile(files, path, Buffer.from(await source.token(pod, audience, expirationSeconds)), mode ?? DEFAULT_MODE);
    }
  }
  return files;
}

interface MapRef {
  name?: string;
  items?: KeyToPath[];
  optional?: boolean;
}

function addConfigMap(
  files: Map<string, VolumeFile>,
  pod: Pod,
  ref: MapRef,
  mode: number | undefined,
  source: VolumeSource,
) {
  const object = source.configMap(`${pod.metadata.namespace}/${ref.name}`);
  if (!object && !ref.optional) throw new MeshError('NOT_FOUND', `configmap "${ref.name}" not found`);
  const data = new Map(Object.entries(object?.data ?? {}).map(([key, text]) => [key, Buffer.from(text)]));
  for (const [key, text] of Object.entries(object?.binaryData ?? {})) data.set(key, Buffer.from(text, 'base64'));
  addKeys(files, data, ref, mode, `configmap "${ref.name}"`);
}

function addSecret(
  files: Map<string, VolumeFile>,
  pod: Pod,
  ref: MapRef,
  mode: number | undefined,
  source: VolumeSource,
) {
  const object = source.secret(`${pod.metadata.namespace}/${ref.name}`);
  if (!object && !ref.optional) throw new MeshError('NOT_FOUND', `secret "${ref.name}" not found`);
  const data = new Map(Object.entries(object?.data ?? {}).map(([key, text]) => [key, Buffer.from(text, 'base64')]));
  addKeys(files, data, ref, mode, `secret "${ref.name}"`);
}

function addKeys(
  files: Map<string, VolumeFile>,
  data: Map<string, Buffer>,
  { items, optional }: MapRef,
  mode = DEFAULT_MODE,
  owner: string,
): void {
  for (const item of items ?? [...data.keys()].map((key): KeyToPath => ({ key, path: key }))) {
    const content = data.get(item.key);
    if (content) addFile(files, item.path, content, item.mode ?? mode);
    else if (!optional) throw new MeshError('NOT_FOUND', `${owner} has no key ${item.key}`);
  }
}

function addDownward(files: Map<string, VolumeFile>, pod: Pod, items: DownwardItem[] = [], mode = DEFAULT_MODE): void {
  for (const { path, fieldRef, resourceFieldRef, mode: own } of items) {
    const text = fieldRef ? fieldValue(pod, fieldRef.fieldPath) : undefined;
    const value =
      text ?? (resourceFieldRef ? resourceValue(pod, undefined as Container | undefined, resourceFieldRef) : '');
    addFile(files, path, Buffer.from(value), own ?? mode);
  }
}

function addFile(files: Map<string, VolumeFile>, path: string, content: Buffer, mode: number): void {
  if (path.startsWith('/') || path.split('/').some((part) => part === '..' || part === ''))
    throw new MeshError('INVALID_ARGUMENT', `path ${path}: not a relative path without ..`);
  files.set(path, { content, mode });
}
