/** EndpointSlices, and an Endpoints object for older readers, for every Service that selects pods. */

import { isDeepStrictEqual } from 'node:util';
import {
  ENDPOINT_SLICES,
  ENDPOINTS,
  type EndpointSlice,
  type Endpoints,
  NODES,
  type Node,
  objectKey,
  PODS,
  type Pod,
  SERVICES,
  type Service,
} from '@tulle/api';
import { matchesLabels } from '@tulle/client';
import { type ControllerContext, enqueueController, enqueueEach } from '../controller-context.ts';
import { controllerReference } from '../ownership.ts';
import { MANAGED_BY as ENDPOINTS_MANAGED_BY, endpointsObject, LAST_CHANGE, lastChange } from './endpoints-object.ts';
import { addressTypesOf, type EndpointGroup, endpointGroups } from './service-endpoints.ts';
import { sliceDifference } from './slice-difference.ts';
import { withHints } from './topology-hints.ts';

const SERVICE_NAME = 'kubernetes.io/service-name';
const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by';
const US = 'endpointslice-controller.k8s.io';
const HEADLESS = 'service.kubernetes.io/headless';

export function startEndpointController(context: ControllerContext): void {
  const services = context.collection<Service>(SERVICES);
  const slices = context.collection<EndpointSlice>(ENDPOINT_SLICES);
  const endpoints = context.collection<Endpoints>(ENDPOINTS);
  const pods = context.collection<Pod>(PODS);
  const nodes = context.collection<Node>(NODES);
  const recorder = context.recorder('endpoint-slice-controller');
  const queue = context.queue('endpoint-slice', sync);
  /** The topology of the nodes as it last was: heartbeats change nodes all the time and zones never. */
  let topology = '';

  enqueueEach(services, queue);
  enqueueController(slices, SERVICES, queue);
  endpoints.subscribe(({ object }) => {
    if (services.get(objectKey(object)) || isOurs(object)) queue.add(objectKey(object));
  });
  pods.subscribe(({ object, old }) => {
    for (const service of services.inNamespace(object.metadata.namespace ?? '')) {
      if (selects(service, object) || (old && selects(service, old))) queue.add(objectKey(service));
    }
  });
  nodes.subscribe(() => {
    const now = JSON.stringify(
      nodes
        .list()
        .map(({ metadata, status }) => [
          metadata.name,
          metadata.labels?.['topology.kubernetes.io/zone'],
          status?.allocatable?.cpu,
          status?.conditions?.find(({ type }) => type === 'Ready')?.status,
        ]),
    );
    if (now === topology) return;
    topology = now;
    for (const service of services.list()) queue.add(objectKey(service));
  });

  async function sync(key: string): Promise<void> {
    const service = services.get(key);
    // Slices are owned by the Service and go with it; an Endpoints object is only named like it.
    const left = service ? undefined : endpoints.get(key);
    if (left && isOurs(left)) await endpoints.delete(left);
    // Without a selector, they are somebody else's.
    if (!service?.spec?.selector || service.metadata.deletionTimestamp || service.spec.type === 'ExternalName') return;
    const selected = pods.inNamespace(service.metadata.namespace ?? '').filter((pod) => selects(service, pod));
    const groups = endpointGroups(service, selected, (name) => nodes.get(name));
    const changedAt = lastChange(service, selected);
    await Promise.all([syncSlices(service, groups, changedAt), syncEndpoints(service, groups, changedAt)]);
  }

  async function syncSlices(service: Service, groups: EndpointGroup[], changedAt: string | undefined): Promise<void> {
    const own = slices
      .controlledBy(service.metadata.uid ?? '')
      .filter(({ metadata }) => metadata.labels?.[MANAGED_BY] === US);
    const hinted = groups.map((group) => {
      const { endpoints: list, reason } = withHints(service, group.endpoints, nodes.list());
      if (reason) recordHintTrouble(service, reason);
      return { ...group, endpoints: list };
    });
    const labels = labelsOf(service);
    const isCurrent = ({ metadata }: EndpointSlice) => isDeepStrictEqual({ ...metadata.labels }, labels);
    const difference = sliceDifference(hinted, own, addressTypesOf(service), isCurrent);
    const annotations: Record<string, string> = changedAt ? { [LAST_CHANGE]: changedAt } : {};
    await Promise.all([
      ...difference.create.map((group) => slices.create(newSlice(service, group, labels, annotations))),
      ...difference.update.map(({ slice, endpoints: list }) =>
        slices.update({ ...slice, metadata: { ...slice.metadata, labels, annotations }, endpoints: list }),
      ),
      ...difference.delete.map((slice) => slices.delete(slice)),
    ]);
  }

  async function syncEndpoints(
    service: Service,
    groups: EndpointGroup[],
    changedAt: string | undefined,
  ): Promise<void> {
    const wanted = endpointsObject(service, groups);
    const present = endpoints.get(objectKey(service));
    const { [LAST_CHANGE]: _, ...annotations } = present?.metadata.annotations ?? {};
    const isSame =
      present &&
      isDeepStrictEqual({ ...present.metadata.labels }, wanted.metadata.labels) &&
      isDeepStrictEqual(annotations, { ...wanted.metadata.annotations }) &&
      isDeepStrictEqual(present.subsets ?? [], wanted.subsets ?? []);
    if (isSame) return;
    const metadata = {
      ...present?.metadata,
      ...wanted.metadata,
      annotations: { ...wanted.metadata.annotations, ...(changedAt ? { [LAST_CHANGE]: changedAt } : {}) },
    };
    if (present) await endpoints.update({ ...present, ...wanted, subsets: wanted.subsets ?? [], metadata });
    else await endpoints.create({ ...wanted, metadata });
  }

  const troubles = new Map<string, string>();
  function recordHintTrouble(service: Service, reason: string): void {
    const uid = service.metadata.uid ?? '';
    if (troubles.get(uid) === reason) return;
    troubles.set(uid, reason);
    recorder.record(service, 'Warning', 'TopologyAwareHintsDisabled', `Topology aware hints not possible: ${reason}`);
  }
  services.subscribe(({ object, isDeleted }) => {
    if (isDeleted) troubles.delete(object.metadata.uid ?? '');
  });
}

function isOurs({ metadata }: Endpoints): boolean {
  return metadata.labels?.[ENDPOINTS_MANAGED_BY] === 'endpoint-controller' && !metadata.deletionTimestamp;
}

function selects({ spec }: Service, pod: Pod): boolean {
  return spec?.selector !== undefined && matchesLabels(spec.selector, pod.metadata.labels);
}

function labelsOf(service: Service): Record<string, string> {
  return {
    ...service.metadata.labels,
    [SERVICE_NAME]: service.metadata.name,
    [MANAGED_BY]: US,
    ...(service.spec?.clusterIP === 'None' ? { [HEADLESS]: '' } : {}),
  };
}

function newSlice(
  service: Service,
  group: EndpointGroup,
  labels: Record<string, string>,
  annotations: Record<string, string>,
) {
  return {
    metadata: {
      generateName: `${service.metadata.name}-`,
      namespace: service.metadata.namespace,
      labels,
      annotations,
      ownerReferences: [controllerReference(SERVICES, service)],
    },
    ...group,
  };
}
