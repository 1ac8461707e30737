/**
 * EndpointSlices for Services without a selector, copied from the Endpoints object that somebody keeps for them: readers
 * need to know slices alone.
 */

import { isDeepStrictEqual } from 'node:util';
import {
  ENDPOINT_SLICES,
  ENDPOINTS,
  type Endpoint,
  type EndpointSlice,
  type Endpoints,
  objectKey,
  SERVICES,
  type Service,
} from '@tulle/api';
import { type ControllerContext, enqueueController, enqueueEach } from '../controller-context.ts';
import { controllerReference } from '../ownership.ts';
import { MANAGED_BY as ENDPOINTS_MANAGED_BY } from './endpoints-object.ts';
import type { AddressType, EndpointGroup } from './service-endpoints.ts';
import { sliceDifference } from './slice-difference.ts';

const SKIP = 'endpointslice.kubernetes.io/skip-mirror';
const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by';
const US = 'endpointslicemirroring-controller.k8s.io';
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
const LAST_CHANGE = 'endpoints.kubernetes.io/last-change-trigger-time';
const SERVICE_NAME = 'kubernetes.io/service-name';

export function startEndpointMirrorController(context: ControllerContext): void {
  const services = context.collection<Service>(SERVICES);
  const endpoints = context.collection<Endpoints>(ENDPOINTS);
  const slices = context.collection<EndpointSlice>(ENDPOINT_SLICES);
  const queue = context.queue('endpoint-mirror', sync);
  enqueueEach(endpoints, queue);
  enqueueController(slices, ENDPOINTS, queue);
  services.subscribe(({ object }) => {
    if (endpoints.get(objectKey(object))) queue.add(objectKey(object));
  });

  async function sync(key: string): Promise<void> {
    const object = endpoints.get(key);
    // The slices are owned by the Endpoints object and go with it.
    if (!object || object.metadata.deletionTimestamp) return;
    const own = slices
      .controlledBy(object.metadata.uid ?? '')
      .filter(({ metadata }) => metadata.labels?.[MANAGED_BY] === US);
    const groups = isMirrored(object, services.get(key)) ? groupsOf(object) : [];
    const labels = { ...withoutOurs(object.metadata.labels), [SERVICE_NAME]: object.metadata.name, [MANAGED_BY]: US };
    const annotations = withoutWriters(object.metadata.annotations);
    const types = [...new Set(groups.map(({ addressType }) => addressType))];
    const isCurrent = ({ metadata }: EndpointSlice) =>
      isDeepStrictEqual([{ ...metadata.labels }, { ...metadata.annotations }], [labels, annotations]);
    const difference = sliceDifference(groups, own, types, isCurrent);
    await Promise.all([
      ...difference.create.map((group) => slices.create(newSlice(object, group, { labels, annotations }))),
      ...difference.update.map(({ slice, endpoints: list }) =>
        slices.update({ ...slice, metadata: { ...slice.metadata, labels, annotations }, endpoints: list }),
      ),
      ...difference.delete.map((slice) => slices.delete(slice)),
    ]);
  }
}

/** Leader election used to be kept on Endpoints objects: those are no endpoints. */
const LEADER = 'control-plane.alpha.kubernetes.io/leader';

function isMirrored({ metadata }: Endpoints, service: Service | undefined): boolean {
  const isOwn = metadata.labels?.[ENDPOINTS_MANAGED_BY] !== undefined;
  const isSkipped = metadata.labels?.[SKIP] === 'true' || metadata.annotations?.[LEADER] !== undefined;
  const isSelecting = !service?.spec || Object.keys(service.spec.selector ?? {}).length > 0;
  return !isOwn && !isSkipped && !isSelecting;
}

/** Groups of the same ports in the same family are one, whatever subsets they come from. */
function groupsOf({ subsets = [] }: Endpoints): EndpointGroup[] {
  const groups = new Map<string, EndpointGroup>();
  for (const { addresses = [], notReadyAddresses = [], ports = [] } of subsets) {
    const slicePorts = ports.map(({ name = '', port, protocol = 'TCP', appProtocol }) => ({
      name,
      port,
      protocol,
      ...(appProtocol ? { appProtocol } : {}),
    }));
    const all = [
      ...addresses.map((address) => ({ address, isReady: true })),
      ...notReadyAddresses.map((address) => ({ address, isReady: false })),
    ];
    for (const { address, isReady } of all) {
      const addressType: AddressType = address.ip.includes(':') ? 'IPv6' : 'IPv4';
      const key = `${addressType} ${JSON.stringify(slicePorts)}`;
      const group = groups.get(key) ?? { addressType, ports: slicePorts, endpoints: [] };
      groups.set(key, group);
      const { ip, hostname, nodeName, targetRef } = address;
      const endpoint: Endpoint = {
        addresses: [ip],
        conditions: { ready: isReady },
        ...(hostname ? { hostname } : {}),
        ...(nodeName ? { nodeName } : {}),
        ...(targetRef ? { targetRef } : {}),
      };
      if (!group.endpoints.some((other) => other.addresses[0] === ip)) group.endpoints.push(endpoint);
    }
  }
  return [...groups.values()];
}

function withoutOurs(labels: Record<string, string> = {}): Record<string, string> {
  const { [SKIP]: _, ...others } = labels;
  return others;
}

/** Without what says how and when the Endpoints object itself was written. */
function withoutWriters(annotations: Record<string, string> = {}): Record<string, string> {
  const { [LAST_APPLIED]: _, [LAST_CHANGE]: __, ...others } = annotations;
  return others;
}

type SliceMetadata = Record<'labels' | 'annotations', Record<string, string>>;

function newSlice(object: Endpoints, group: EndpointGroup, metadata: SliceMetadata) {
  const { name, namespace } = object.metadata;
  const ownerReferences = [controllerReference(ENDPOINTS, object)];
  return { metadata: { generateName: `${name}-`, namespace, ...metadata, ownerReferences }, ...group };
}
