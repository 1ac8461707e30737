/**
 * The writes that bring a Service's EndpointSlices to what is wanted: as few as possible, as every slice written is sent
 * to every node. What is in a slice stays there; what is new fills slices that change anyway, then those with room.
 */

import { isDeepStrictEqual } from 'node:util';
import type { Endpoint, EndpointSlice } from '@tulle/api';
import type { AddressType, EndpointGroup } from './service-endpoints.ts';

export interface SliceDifference {
  create: EndpointGroup[];
  /** The slice as it is, and the endpoints that it should have. */
  update: Array<{ slice: EndpointSlice; endpoints: Endpoint[] }>;
  delete: EndpointSlice[];
}

/** As kube-controller-manager's default. */
export const ENDPOINTS_PER_SLICE_MAX = 100;

/**
 * `wanted` has at most one group for each address type and ports. A type without endpoints keeps one empty slice, so
 * that readers can tell "no endpoints" from "not looked at yet".
 */
export function sliceDifference(
  wanted: EndpointGroup[],
  present: EndpointSlice[],
  addressTypes: AddressType[],
  isMetadataCurrent: (slice: EndpointSlice) => boolean = () => true,
): SliceDifference {
  const difference: SliceDifference = { create: [], update: [], delete: [] };
  const groups = [...wanted];
  for (const addressType of addressTypes) {
    if (!groups.some((group) => group.addressType === addressType)) {
      groups.push({ addressType, ports: [], endpoints: [] });
    }
  }
  const left = new Set(present);
  for (const group of groups) {
    const slices = present.filter((slice) => isOf(slice, group));
    for (const slice of slices) left.delete(slice);
    differenceOfGroup(group, slices, difference, isMetadataCurrent);
  }
  difference.delete.push(...left);
  return difference;
}

function differenceOfGroup(
  group: EndpointGroup,
  slices: EndpointSlice[],
  difference: SliceDifference,
  isMetadataCurrent: (slice: EndpointSlice) => boolean,
): void {
  const missing = new Map(group.endpoints.map((endpoint) => [identityOf(endpoint), endpoint]));
  const next = slices.map((slice) => {
    const kept: Endpoint[] = [];
    let isChanged = !isMetadataCurrent(slice);
    for (const endpoint of slice.endpoints ?? []) {
      const identity = identityOf(endpoint);
      const wanted = missing.get(identity);
      if (!wanted || !isDeepStrictEqual(wanted, endpoint)) isChanged = true;
      if (wanted) kept.push(wanted);
      missing.delete(identity);
    }
    return { slice, endpoints: kept, isChanged };
  });

  const added = [...missing.values()];
  const byRoom = [...next].sort(
    (a, b) => Number(b.isChanged) - Number(a.isChanged) || b.endpoints.length - a.endpoints.length,
  );
  for (const entry of byRoom) {
    const taken = added.splice(0, Math.max(0, ENDPOINTS_PER_SLICE_MAX - entry.endpoints.length));
    if (taken.length === 0) continue;
    entry.endpoints.push(...taken);
    entry.isChanged = true;
  }
  let isOneKept = false;
  for (const { slice, endpoints, isChanged } of next) {
    const isNeeded: boolean = endpoints.length > 0 || (group.endpoints.length === 0 && !isOneKept);
    if (!isNeeded) difference.delete.push(slice);
    else if (isChanged) difference.update.push({ slice, endpoints });
    isOneKept ||= isNeeded;
  }
  if (slices.length === 0 && added.length === 0) difference.create.push({ ...group, endpoints: [] });
  while (added.length > 0) {
    difference.create.push({ ...group, endpoints: added.splice(0, ENDPOINTS_PER_SLICE_MAX) });
  }
}

function isOf(slice: EndpointSlice, group: EndpointGroup): boolean {
  if (slice.addressType !== group.addressType || slice.metadata.deletionTimestamp) return false;
  const ports = (slice.ports ?? []).map(({ name = '', port, protocol = 'TCP', appProtocol }) => [
    name,
    port,
    protocol,
    appProtocol,
  ]);
  const wanted = group.ports.map(({ name, port, protocol, appProtocol }) => [name, port, protocol, appProtocol]);
  return isDeepStrictEqual(ports, wanted);
}

/** A pod that was made again under its name is another endpoint. */
function identityOf(endpoint: Endpoint): string {
  return `${endpoint.targetRef?.uid ?? ''} ${endpoint.addresses[0]}`;
}
