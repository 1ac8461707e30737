/** Takes out of a manifest what injection adds: containers, volumes, and metadata whose key starts with `linkerd.io`. */
import { INJECT } from '@tulle/control-plane/injector/annotations.ts';
import { IDENTITY_VOLUME, PODINFO_VOLUME, TOKEN_VOLUME } from '@tulle/control-plane/injector/pod-parts.ts';
import type { Path } from './documents.ts';
import type { ObjectReport } from './inject-manifest.ts';
import { deleteAt, type ManifestObject, templateOf } from './workload.ts';

const CONTAINERS = ['linkerd-proxy', 'linkerd-init', 'linkerd-debug', 'linkerd-network-validator'];
const VOLUMES = [IDENTITY_VOLUME, TOKEN_VOLUME, PODINFO_VOLUME, 'linkerd-proxy-init-xtables-lock'];

export function uninjectObject(target: ManifestObject): ObjectReport {
  const report = { kind: target.kind.toLowerCase(), name: target.name, hasUdpPorts: false };
  const isControlPlane = target.object?.metadata?.labels?.['linkerd.io/control-plane-component'] !== undefined;
  let hasChanged = false;
  if (target.kind === 'Namespace' || target.kind === 'Service') {
    hasChanged = dropMetadata(target, target.path, target.object?.metadata);
  } else if (target.templatePath && templateOf(target)?.spec) {
    const at = [...target.path, ...target.templatePath];
    const { spec, metadata } = templateOf(target)!;
    const dropped = [
      dropNamed(target, [...at, 'spec', 'initContainers'], spec?.initContainers, CONTAINERS),
      dropNamed(target, [...at, 'spec', 'containers'], spec?.containers, CONTAINERS),
      dropNamed(target, [...at, 'spec', 'volumes'], spec?.volumes, VOLUMES),
      !isControlPlane && dropMetadata(target, at, metadata),
    ];
    hasChanged = dropped.some(Boolean);
  } else {
    return { ...report, action: 'skipped', reason: 'unsupported_resource' };
  }
  return hasChanged ? { ...report, action: 'uninjected' } : { ...report, action: 'skipped' };
}

function dropNamed(
  { document }: ManifestObject,
  path: Path,
  list: readonly { name: string }[] | undefined,
  names: string[],
): boolean {
  const found = (list ?? []).flatMap(({ name }, index) => (names.includes(name) ? [index] : []));
  for (const index of found.reverse()) deleteAt(document, [...path, index]);
  return found.length > 0;
}

function dropMetadata(
  { document }: ManifestObject,
  at: Path,
  metadata: { annotations?: Readonly<Record<string, string>>; labels?: Readonly<Record<string, string>> } | undefined,
): boolean {
  let hasChanged = false;
  for (const map of ['annotations', 'labels'] as const) {
    for (const [key, value] of Object.entries(metadata?.[map] ?? {})) {
      if (!key.startsWith('linkerd.io') || (key === INJECT && value === 'disabled')) continue;
      deleteAt(document, [...at, 'metadata', map, key]);
      hasChanged = true;
    }
  }
  return hasChanged;
}
