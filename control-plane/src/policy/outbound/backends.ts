/** The backends of a rule as targets that exist; a share of requests whose backend does not exist fails. */
import type { ObjectRef } from '@tulle/api/object-ref.ts';
import type { HttpFilter } from '@tulle/api/routes/http-filter.ts';
import { type BackendRef, isEgressNetwork, isService, type TargetRef } from '@tulle/api/routes/route.ts';
import type { Service } from '../../workloads/service.ts';
import type { TrafficSettings } from '../../workloads/traffic-annotations.ts';
import type { WorkloadIndex } from '../../workloads/workload-index.ts';
import type { OutboundIndex } from './outbound-index.ts';
import type {
  Address,
  BackendTarget,
  Mirror,
  PolicyBackend,
  PolicyFilter,
  PolicyParent,
  RequestBackend,
} from './outbound-policy.ts';
import type { TopicSet } from './topic-set.ts';

export interface BackendContext {
  workloads: WorkloadIndex;
  index: OutboundIndex;
  parent: PolicyParent;
  /** Where the client was going, where it asked by address. */
  address?: Address;
  /** Of the parent, for every balancer of its requests; connections have none. */
  penalty?: TrafficSettings['penalty'];
  /** Takes what the answer depends on. */
  topics: TopicSet;
}

export function resolveBackend(context: BackendContext, route: ObjectRef, backend: BackendRef): PolicyBackend {
  const { weight, field } = backend;
  const { target, invalid: unresolved } = resolveTarget(context, route, backend);
  const invalid = backend.invalid ?? unresolved;
  return { target, weight, field, ...(invalid === undefined ? {} : { invalid }) };
}

export function resolveRequestBackend(
  context: BackendContext,
  route: ObjectRef,
  backend: BackendRef & { filters: readonly HttpFilter[] },
): RequestBackend {
  return { ...resolveBackend(context, route, backend), ...resolveFilters(context, route, backend.filters) };
}

/** A mirror that names nothing is left out, as the Gateway API asks for; the route's status says so. */
export function resolveFilters(
  context: BackendContext,
  route: ObjectRef,
  filters: readonly HttpFilter[],
): { filters: PolicyFilter[]; mirrors: Mirror[] } {
  const mirrors = filters.flatMap((filter) => {
    if (filter.kind !== 'mirror') return [];
    const { target, invalid } = resolveTarget(context, route, filter.target);
    if (target.kind !== 'service' || invalid !== undefined) return [];
    const { namespace, name, port } = target;
    return [{ namespace, name, port, numerator: filter.numerator, denominator: filter.denominator }];
  });
  return { filters: filters.filter((filter) => filter.kind !== 'mirror' && filter.kind !== 'unsupported'), mirrors };
}

/** The parent itself: where requests go that no backend takes. */
export function parentBackend(context: BackendContext): RequestBackend {
  const { parent, address, workloads } = context;
  const { namespace, name, port } = parent;
  const service = parent.kind === 'Service' ? workloads.service(`${namespace}/${name}`) : undefined;
  if (service) return { target: balanced(context, service, port), weight: 1, ...NO_FILTERS };
  if (parent.kind === 'EgressNetwork' && address) {
    return { target: { kind: 'egress-network', namespace, name, port, address }, weight: 1, ...NO_FILTERS };
  }
  return { target: { kind: 'none' }, weight: 1, ...NO_FILTERS, invalid: `${parent.kind} not found ${name}` };
}

const NO_FILTERS = { filters: [], mirrors: [] };

function resolveTarget(
  context: BackendContext,
  route: ObjectRef,
  ref: TargetRef,
): { target: BackendTarget; invalid?: string } {
  const { index, parent, topics } = context;
  if (isService(ref)) {
    if (ref.port === undefined) return refuse(ref, `missing port for backend Service ${ref.name}`, false);
    // Requests that go to the Service which they were for anyway need nobody's leave: a consumer route may name its parent.
    const isParent = parent.kind === 'Service' && parent.namespace === ref.namespace && parent.name === ref.name;
    if (!isParent && index.needsGrant(route, ref)) {
      topics.addGrants(ref.namespace);
      if (!index.isGranted(route, ref)) {
        return refuse(ref, `no ReferenceGrant in namespace ${ref.namespace} allows backend Service ${ref.name}`);
      }
    }
    return serviceTarget(context, ref, ref.port);
  }
  if (isEgressNetwork(ref)) return egressTarget(context, ref);
  return refuse(ref, `unsupported backend type ${ref.group || 'core'} ${ref.kind || '<empty>'}`, false);
}

function serviceTarget(context: BackendContext, ref: TargetRef, port: number) {
  const { workloads, topics } = context;
  const { namespace, name } = ref;
  topics.addServiceSpec({ namespace, name });
  const service = workloads.service(`${namespace}/${name}`);
  if (!service) return refuse(ref, `Service not found ${name}`);
  return { target: balanced(context, service, port) };
}

function balanced({ penalty }: BackendContext, { namespace, name, traffic }: Service, port: number): BackendTarget {
  return { kind: 'service', namespace, name, port, traffic: { penalty, hash: traffic.hash } };
}

/** An EgressNetwork is reached only as what the client was going to, so it must be the parent. */
function egressTarget({ index, parent, address, topics }: BackendContext, ref: TargetRef) {
  const { namespace, name } = ref;
  topics.addEgressNetworks(namespace);
  if (!index.egressNetwork(`${namespace}/${name}`)) return refuse(ref, `EgressNetwork not found ${name}`);
  if (parent.kind !== 'EgressNetwork' || !address) {
    return refuse(ref, 'EgressNetwork backends attach to EgressNetwork parents only');
  }
  if (parent.namespace !== namespace || parent.name !== name) {
    return refuse(ref, 'Route with EgressNetwork backend needs to have the same EgressNetwork as a parent');
  }
  return { target: { kind: 'egress-network', namespace, name, port: ref.port ?? address.port, address } } as const;
}

function refuse({ group, kind, namespace, name, port = 0 }: TargetRef, invalid: string, isNamed = true) {
  const named = isNamed ? { group, kind, namespace, name, port } : undefined;
  return { target: { kind: 'none', named } as const, invalid };
}
