/** Gives Services their cluster addresses, address families and node ports, and takes them back when the type changes. */
import { failure, invalid, invalidValue, required } from '../apiserver/status.ts';
import { type IpFamily, type ServiceAddresses, serviceOffset } from '../service-addresses.ts';
import type { Fields } from '../store/stored-object.ts';
import type { AdmissionStep } from './admission.ts';

export function createServiceAllocation(addresses: ServiceAddresses): AdmissionStep {
  return {
    mutate: (attributes) => {
      const { resource, subresource, object, oldObject, operation, isDryRun } = attributes;
      if (resource.storage !== 'services' || subresource !== '' || object === undefined) return object;
      if (operation !== 'CREATE' && operation !== 'UPDATE') return object;
      const spec: Fields = { ...object.spec };
      const service = { ...object, spec };
      if (spec.type === 'ExternalName') {
        if (oldObject?.spec.type !== 'ExternalName') {
          for (const field of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy', 'internalTrafficPolicy']) {
            if (oldObject !== undefined || !spec[field]) delete spec[field];
          }
        }
        return service;
      }
      if (oldObject !== undefined) keepOld(spec, oldObject.spec);
      settleFamilies(service, attributes.name);
      if (spec.clusterIP === 'None' || spec.clusterIPs?.[0] === 'None') {
        spec.clusterIP = 'None';
        spec.clusterIPs = ['None'];
      } else
        settleAddresses(service, attributes.name, addresses, oldObject && `${attributes.namespace}/${attributes.name}`);
      settleNodePorts(spec, addresses, isDryRun, oldObject?.spec);
      return service;
    },
  };
}

/** A client that leaves out what was allocated keeps it. */
function keepOld(spec: Fields, old: Fields): void {
  if (old.type === 'ExternalName') return;
  if (!spec.clusterIP && !spec.clusterIPs) {
    spec.clusterIP = old.clusterIP;
    spec.clusterIPs = old.clusterIPs;
  } else if (!spec.clusterIPs) spec.clusterIPs = spec.clusterIP === old.clusterIP ? old.clusterIPs : [spec.clusterIP];
  else if (!spec.clusterIP) spec.clusterIP = spec.clusterIPs[0];
  spec.ipFamilyPolicy ??= old.ipFamilyPolicy;
  spec.ipFamilies ??= old.ipFamilies;
  if (spec.ipFamilyPolicy === 'SingleStack' && old.ipFamilyPolicy !== 'SingleStack') {
    spec.ipFamilies = spec.ipFamilies?.slice(0, 1);
    spec.clusterIPs = spec.clusterIPs?.slice(0, 1);
  } else if (
    spec.ipFamilyPolicy !== 'SingleStack' &&
    old.ipFamilyPolicy === 'SingleStack' &&
    spec.ipFamilies?.length === 1
  ) {
    spec.ipFamilies = both(spec.ipFamilies[0]);
  }
}

const both = (first: IpFamily): IpFamily[] => (first === 'IPv6' ? ['IPv6', 'IPv4'] : ['IPv4', 'IPv6']);

function settleFamilies(service: Fields, name: string): void {
  const { spec } = service;
  const given: string[] = spec.clusterIPs ?? (spec.clusterIP && spec.clusterIP !== 'None' ? [spec.clusterIP] : []);
  const fromAddresses = given.filter((ip) => ip !== 'None').map((ip): IpFamily => (ip.includes(':') ? 'IPv6' : 'IPv4'));
  spec.ipFamilyPolicy ??= (spec.ipFamilies?.length ?? fromAddresses.length) > 1 ? 'RequireDualStack' : 'SingleStack';
  const isSelectorless = spec.clusterIP === 'None' && Object.keys(spec.selector ?? {}).length === 0;
  if (isSelectorless && spec.ipFamilies === undefined && spec.ipFamilyPolicy === 'SingleStack')
    spec.ipFamilyPolicy = 'RequireDualStack';
  let families: IpFamily[] = spec.ipFamilies?.length
    ? spec.ipFamilies
    : fromAddresses.length > 0
      ? fromAddresses
      : ['IPv4'];
  if (spec.ipFamilyPolicy !== 'SingleStack' && families.length === 1) families = both(families[0]!);
  if (spec.ipFamilyPolicy === 'SingleStack' && families.length > 1) {
    throw invalid({ group: '', kind: 'Service' }, name, [
      invalidValue('spec.ipFamilyPolicy', 'SingleStack', "must be 'RequireDualStack' to specify multiple 'ipFamilies'"),
    ]);
  }
  spec.ipFamilies = families;
}

function settleAddresses(service: Fields, name: string, addresses: ServiceAddresses, key: string | undefined): void {
  const { spec } = service;
  const families: IpFamily[] = spec.ipFamilies;
  const given: string[] = spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : []);
  const problem = (i: number, detail: string) =>
    invalid({ group: '', kind: 'Service' }, name, [invalidValue(`spec.clusterIPs[${i}]`, given[i], detail)]);
  if (spec.clusterIP && given[0] !== spec.clusterIP) {
    throw invalid({ group: '', kind: 'Service' }, name, [
      invalidValue('spec.clusterIPs', given, 'first value must match `clusterIP`'),
    ]);
  }
  if (given.length === 0) {
    const allocated = addresses.allocate(families);
    if (allocated === undefined)
      throw failure(500, 'InternalError', 'Internal error occurred: failed to allocate a serviceIP: range is full');
    spec.clusterIP = allocated[0];
    spec.clusterIPs = allocated;
    return;
  }
  for (const [i, address] of given.entries()) {
    if (serviceOffset(address) === undefined) {
      throw problem(i, `failed to allocate IP ${address}: the provided network does not match the current range`);
    }
    const owner = addresses.ownerOf(address, key);
    if (owner !== undefined) throw problem(i, `failed to allocate IP ${address}: provided IP is already allocated`);
  }
  const missing = families.slice(given.length);
  if (missing.length > 0) {
    const more = addresses.allocate(missing);
    if (more === undefined)
      throw failure(500, 'InternalError', 'Internal error occurred: failed to allocate a serviceIP: range is full');
    spec.clusterIPs = [...given, ...more];
  } else spec.clusterIPs = given.slice(0, families.length);
  spec.clusterIP = spec.clusterIPs[0];
}

function settleNodePorts(spec: Fields, addresses: ServiceAddresses, isDryRun: boolean, old: Fields | undefined): void {
  const needs =
    spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);
  if (!needs) {
    if (spec.type === 'ClusterIP' && old !== undefined && old.type !== 'ClusterIP') {
      spec.ports = spec.ports?.map(({ nodePort: _, ...port }: Fields) => port);
    }
    return;
  }
  spec.ports = spec.ports?.map((port: Fields) => {
    if (port.nodePort) return port;
    const kept = old?.ports?.find((p: Fields) => p.port === port.port && p.protocol === port.protocol)?.nodePort;
    const nodePort = kept ?? (isDryRun ? undefined : addresses.allocateNodePort());
    if (nodePort === undefined && !isDryRun) {
      throw invalid({ group: '', kind: 'Service' }, '', [required('spec.ports[].nodePort', 'no free node port')]);
    }
    return { ...port, ...(nodePort === undefined ? {} : { nodePort }) };
  });
}
