/** Rows of `tulle stat`, worked out from two scrapes. No I/O. */
import {
  counterIncrease,
  type Direction,
  type GoldenMetrics,
  goldenMetrics,
  type KubeObject,
  type Pod,
  type ProxyWindow,
} from '@tulle/api';
import { belongsTo, isAlive, isMeshed } from './mesh-pods.ts';
import type { Resource, ResourceType } from './resource.ts';

export interface StatRow {
  namespace: string;
  kind: string;
  name: string;
  /** Of a pod: its phase. */
  status?: string;
  /** Running pods with a proxy, of all; absent for what has no pods of its own. */
  meshed?: { proxies: number; pods: number };
  metrics: GoldenMetrics;
  readBytesPerS: number;
  writeBytesPerS: number;
}

export interface StatInput {
  type: ResourceType;
  objects: readonly KubeObject[];
  pods: readonly Pod[];
  windows: readonly ProxyWindow[];
  seconds: number;
  /** Only what is sent to this resource. */
  to?: Resource & { namespace: string };
  /** Only what is received from this resource. */
  from?: Resource & { namespace: string };
}

type Labels = Record<string, string>;
type Filter = (labels: Labels) => boolean;

export function statRows(input: StatInput): StatRow[] {
  const { type, pods } = input;
  return input.objects.map((object) => {
    const own = pods.filter((pod) => isAlive(pod) && belongsTo(pod, type, object));
    const { windows, direction, where } = seriesOf(input, object, own);
    const bytes = (family: string) => {
      const peer = direction === 'inbound' ? 'src' : 'dst';
      const isWanted: Filter = (labels) => labels.direction === direction && labels.peer === peer && where(labels);
      return counterIncrease(windows, family, isWanted) / input.seconds;
    };
    const row: StatRow = {
      namespace: object.metadata.namespace ?? '',
      kind: type.label,
      name: object.metadata.name,
      metrics: goldenMetrics(windows, direction, input.seconds, where),
      readBytesPerS: bytes('tcp_read_bytes_total'),
      writeBytesPerS: bytes('tcp_write_bytes_total'),
    };
    if (type.label === 'pod') row.status = (object as Pod).status?.phase ?? '';
    if (type.label !== 'service') row.meshed = { proxies: own.filter(isMeshed).length, pods: own.length };
    return row;
  });
}

/** Which proxies say something about an object, and which of their series. */
function seriesOf(input: StatInput, object: KubeObject, own: readonly Pod[]) {
  const { type, to, from, windows } = input;
  const ofPods = (pods: readonly Pod[]) => {
    const names = new Set(pods.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
    return windows.filter(({ after }) => names.has(`${after.namespace}/${after.pod}`));
  };
  const outbound: Direction = 'outbound';
  if (to) return { windows: ofPods(own), direction: outbound, where: isTo(to) };
  if (from) {
    const senders = input.pods.filter((pod) => isOneOf(pod, from));
    return { windows: ofPods(senders), direction: outbound, where: isTo({ ...type, ...nameOf(type, object) }) };
  }
  if (type.label === 'service') {
    return { windows: [...windows], direction: outbound, where: isTo({ ...type, ...nameOf(type, object) }) };
  }
  return { windows: ofPods(own), direction: 'inbound' as Direction, where: () => true };
}

const nameOf = (type: ResourceType, { metadata }: KubeObject) => ({
  name: metadata.name,
  namespace: type.label === 'namespace' ? metadata.name : (metadata.namespace ?? ''),
});

function isTo({ label, name, namespace }: Resource & { namespace: string }): Filter {
  if (label === 'namespace') return (labels) => labels.dst_namespace === (name ?? namespace);
  return (labels) =>
    labels.dst_namespace === namespace &&
    (name === undefined ? labels[`dst_${label}`] !== undefined : labels[`dst_${label}`] === name);
}

function isOneOf({ metadata }: Pod, { label, name, namespace }: Resource & { namespace: string }): boolean {
  if (label === 'namespace') return metadata.namespace === (name ?? namespace);
  if (metadata.namespace !== namespace) return false;
  const own = label === 'pod' ? metadata.name : metadata.labels?.[`linkerd.io/proxy-${label}`];
  return name === undefined ? own !== undefined : own === name;
}
