/** What the downward API says of a pod: fields and resources. Pure. */

import { cpus, totalmem } from 'node:os';
import { type Container, type Pod, parseQuantity } from '@tulle/api';

/** The text of a field path; undefined when the pod has no such field. */
export function fieldValue(pod: Pod, path: string): string | undefined {
  const { metadata, spec, status } = pod;
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed) return metadata[keyed[1] as 'labels' | 'annotations']?.[keyed[2] ?? ''] ?? '';
  switch (path) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace ?? '';
    case 'metadata.uid':
      return metadata.uid ?? '';
    case 'metadata.labels':
      return pairs(metadata.labels);
    case 'metadata.annotations':
      return pairs(metadata.annotations);
    case 'spec.nodeName':
      return spec?.nodeName ?? '';
    case 'spec.serviceAccountName':
      return spec?.serviceAccountName ?? '';
    case 'status.podIP':
      return status?.podIP ?? '';
    case 'status.podIPs':
      return (status?.podIPs ?? []).map(({ ip }) => ip).join(',');
    case 'status.hostIP':
      return status?.hostIP ?? '';
    case 'status.hostIPs':
      return ((status as { hostIPs?: { ip: string }[] } | undefined)?.hostIPs ?? []).map(({ ip }) => ip).join(',');
    default:
      return undefined;
  }
}

export interface ResourceRef {
  resource: string;
  containerName?: string;
  divisor?: string;
}

/** A limit or request in units of the divisor, rounded up; without a limit, what the machine has. */
export function resourceValue(pod: Pod, container: Container | undefined, ref: ResourceRef): string {
  const of = ref.containerName
    ? [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].find((c) => c.name === ref.containerName)
    : container;
  const [kind = '', name = ''] = ref.resource.split('.');
  const { limits = {}, requests = {} } = of?.resources ?? {};
  const whole: Record<string, number> = { cpu: cpus().length, memory: totalmem() };
  const text = kind === 'requests' ? (requests[name] ?? limits[name] ?? '0') : limits[name];
  const value = text === undefined ? (whole[name] ?? 0) : (parseQuantity(text) ?? 0);
  const divisor = ref.divisor && ref.divisor !== '0' ? (parseQuantity(ref.divisor) ?? 1) : 1;
  return String(Math.ceil(value / divisor));
}

function pairs(values: Record<string, string> | undefined): string {
  return Object.entries(values ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');
}
