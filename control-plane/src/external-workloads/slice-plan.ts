/**
 * Which EndpointSlices a Service should have for the workloads outside the cluster that its selector means, and the
 * fewest writes from those that it has: every slice that is written goes to every node. Pure.
 */
import { isIPv6 } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { Endpoint, EndpointSlice, Service } from '@tulle/api';
import type { ExternalWorkload } from '@tulle/api/external-workload.ts';
import { EXTERNAL_WORKLOADS } from '@tulle/api/kinds.ts';
import { SERVICE_NAME_LABEL, ZONE_LABEL } from '../workloads/mesh-names.ts';

export const MANAGED_BY_LABEL = 'endpointslice.kubernetes.io/managed-by';
export const MANAGER = 'linkerd-external-workloads-controller';
const HEADLESS_LABEL = 'service.kubernetes.io/headless';
/** As kube-controller-manager's default. */
export const ENDPOINTS_PER_SLICE_MAX = 100;

export interface SlicePlan {
  create: EndpointSlice[];
  update: EndpointSlice[];
  delete: EndpointSlice[];
}

type Family = 'IPv4' | 'IPv6';

interface Group {
  addressType: Family;
  ports: NonNullable<EndpointSlice['ports']>;
  endpoints: Endpoint[];
}

/** `workloads` are those that the selector means; `present` the slices that are ours. An absent Service wants none. */
export function planSlices(
  service: Service | undefined,
  workloads: readonly ExternalWorkload[],
  present: readonly EndpointSlice[],
): SlicePlan {
  const plan: SlicePlan = { create: [], update: [], delete: [] };
  const left = new Set(present);
  for (const group of service ? groupsOf(service, workloads) : []) {
    const slices = present.filter((slice) => isOf(slice, group, service!));
    for (const slice of slices) left.delete(slice);
    planGroup(service!, group, slices, plan);
  }
  plan.delete.push(...left);
  return plan;
}

function planGroup(service: Service, group: Group, slices: readonly EndpointSlice[], plan: SlicePlan): void {
  const labels = labelsOf(service);
  const missing = new Map(group.endpoints.map((endpoint) => [identityOf(endpoint), endpoint]));
  const next = slices.map((slice) => {
    const endpoints = (slice.endpoints ?? []).flatMap((endpoint) => {
      const wanted = missing.get(identityOf(endpoint));
      missing.delete(identityOf(endpoint));
      return wanted ?? [];
    });
    const isSame = isDeepStrictEqual(endpoints, slice.endpoints) && isDeepStrictEqual(slice.metadata.labels, labels);
    return { slice, endpoints, isChanged: !isSame };
  });
  const added = [...missing.values()];
  for (const entry of next.sort((a, b) => Number(b.isChanged) - Number(a.isChanged))) {
    const taken = added.splice(0, ENDPOINTS_PER_SLICE_MAX - entry.endpoints.length);
    entry.endpoints.push(...taken);
    entry.isChanged ||= taken.length > 0;
  }
  for (const { slice, endpoints, isChanged } of next) {
    if (endpoints.length === 0) plan.delete.push(slice);
    else if (isChanged) plan.update.push({ ...slice, metadata: { ...slice.metadata, labels }, endpoints });
  }
  while (added.length > 0) plan.create.push(newSlice(service, group, added.splice(0, ENDPOINTS_PER_SLICE_MAX)));
}

function groupsOf(service: Service, workloads: readonly ExternalWorkload[]): Group[] {
  const groups = new Map<string, Group>();
  const byName = [...workloads].sort((a, b) => (a.ref.name < b.ref.name ? -1 : 1));
  for (const addressType of familiesOf(service)) {
    for (const workload of byName) {
      const ip = workload.ips.find((each) => isIPv6(each) === (addressType === 'IPv6'));
      if (ip === undefined) continue;
      const ports = portsOf(service, workload);
      const key = JSON.stringify([addressType, ports]);
      const group = groups.get(key) ?? { addressType, ports, endpoints: [] };
      groups.set(key, group);
      group.endpoints.push(toEndpoint(service, workload, ip));
    }
  }
  return [...groups.values()];
}

/** A Service that says nothing of families may have both. */
function familiesOf({ spec }: Service): Family[] {
  const families = (spec?.ipFamilies ?? []).filter((each): each is Family => each === 'IPv4' || each === 'IPv6');
  return families.length > 0 ? families : ['IPv4', 'IPv6'];
}

/** The Service's ports that the workload declares; others it does not serve. */
function portsOf({ spec }: Service, workload: ExternalWorkload): Group['ports'] {
  return (spec?.ports ?? []).flatMap((port) => {
    const protocol = port.protocol ?? 'TCP';
    const target = port.targetPort ?? port.port;
    const found = workload.ports.find(
      (each) => each.protocol === protocol && (typeof target === 'number' ? each.port : each.name) === target,
    );
    return found ? [{ name: port.name ?? '', port: found.port, protocol }] : [];
  });
}

function toEndpoint(
  { spec, metadata }: Service,
  { ref, uid, labels, isReady }: ExternalWorkload,
  ip: string,
): Endpoint {
  const isHeadless = spec?.clusterIP === 'None' && ref.namespace === metadata.namespace;
  const { kind } = EXTERNAL_WORKLOADS;
  return {
    addresses: [ip],
    conditions: { ready: isReady, serving: isReady, terminating: false },
    ...(isHeadless ? { hostname: ref.name } : {}),
    targetRef: { kind, namespace: ref.namespace, name: ref.name, uid },
    ...(labels[ZONE_LABEL] === undefined ? {} : { zone: labels[ZONE_LABEL] }),
  };
}

function newSlice(service: Service, { addressType, ports }: Group, endpoints: Endpoint[]): EndpointSlice {
  const { name, namespace, uid = '' } = service.metadata;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      // The server completes it.
      name: '',
      generateName: `linkerd-external-${name}-`,
      namespace,
      labels: labelsOf(service),
      ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name, uid, controller: true, blockOwnerDeletion: true }],
    },
    addressType,
    ports,
    endpoints,
  };
}

/** The Service's own labels, and those that say whose the slice is. */
function labelsOf({ metadata, spec }: Service): Record<string, string> {
  const { [HEADLESS_LABEL]: _, ...labels } = metadata.labels ?? {};
  return {
    ...labels,
    ...(spec?.clusterIP === 'None' ? { [HEADLESS_LABEL]: '' } : {}),
    [SERVICE_NAME_LABEL]: metadata.name,
    [MANAGED_BY_LABEL]: MANAGER,
  };
}

function isOf(slice: EndpointSlice, group: Group, service: Service): boolean {
  const ports = (slice.ports ?? []).map(({ name = '', port, protocol = 'TCP' }) => ({ name, port, protocol }));
  return (
    slice.addressType === group.addressType &&
    slice.metadata.deletionTimestamp === undefined &&
    (slice.metadata.ownerReferences ?? []).some(({ uid }) => uid === service.metadata.uid) &&
    isDeepStrictEqual(ports, group.ports)
  );
}

function identityOf({ targetRef, addresses }: Endpoint): string {
  return `${targetRef?.uid ?? ''} ${addresses[0]}`;
}
