/** Services: defaults, validation, table. Addresses are given out by admission/service-allocation.ts. */
import { duplicate, type FieldError, forbiddenField, invalidValue, required } from '../apiserver/status.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { ageColumn, joined, labelsText, nameColumn } from './columns.ts';
import { defineResource } from './define.ts';
import { dns1035Label, dnsLabel, dnsSubdomain } from './names.ts';
import type { Resource } from './resource.ts';
import { oneOf, portNumber, validatePortName } from './validate-pod-spec.ts';

export const services: Resource = defineResource({
  group: '',
  version: 'v1',
  kind: 'Service',
  plural: 'services',
  namespaced: true,
  shortNames: ['svc'],
  categories: ['all'],
  hasGeneration: false,
  nameRule: dns1035Label,
  selectableFields: {
    'spec.clusterIP': (service) => service.spec?.clusterIP ?? '',
    'spec.type': (service) => service.spec?.type ?? '',
  },
  applyDefaults,
  prepareCreate: (service) => {
    service.status = { loadBalancer: {} };
  },
  validate,
  validateUpdate,
  columns: [
    nameColumn,
    { name: 'Type', value: (service) => service.spec?.type ?? '' },
    { name: 'Cluster-IP', value: (service) => joined(service.spec?.clusterIPs?.slice(0, 1)) },
    { name: 'External-IP', value: externalIp },
    { name: 'Port(s)', value: (service) => joined((service.spec?.ports ?? []).map(portText)) },
    ageColumn,
    { name: 'Selector', priority: 1, value: (service) => labelsText(service.spec?.selector) },
  ],
});

function applyDefaults(service: Fields): void {
  service.spec ??= {};
  const { spec } = service;
  spec.type ??= 'ClusterIP';
  spec.sessionAffinity ??= 'None';
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  else spec.sessionAffinityConfig ??= { clientIP: { timeoutSeconds: 10800 } };
  if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'NodePort' || spec.type === 'LoadBalancer') spec.externalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
  for (const port of spec.ports ?? []) {
    port.protocol ??= 'TCP';
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '') {
      if (port.port !== undefined && spec.type !== 'ExternalName') port.targetPort = port.port;
    }
  }
}

function validate(service: Fields): FieldError[] {
  const errors: FieldError[] = [];
  const { spec } = service;
  oneOf(errors, 'spec.type', spec.type, ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort']);
  oneOf(errors, 'spec.sessionAffinity', spec.sessionAffinity, ['ClientIP', 'None']);
  oneOf(errors, 'spec.internalTrafficPolicy', spec.internalTrafficPolicy, ['Cluster', 'Local']);
  oneOf(errors, 'spec.externalTrafficPolicy', spec.externalTrafficPolicy, ['Cluster', 'Local']);
  oneOf(errors, 'spec.ipFamilyPolicy', spec.ipFamilyPolicy, ['SingleStack', 'PreferDualStack', 'RequireDualStack']);
  const isHeadless = spec.clusterIP === 'None';
  if (spec.type === 'ExternalName') {
    const problem = spec.externalName ? dnsSubdomain(spec.externalName.replace(/\.$/, '')) : undefined;
    if (!spec.externalName) errors.push(required('spec.externalName'));
    else if (problem !== undefined) errors.push(invalidValue('spec.externalName', spec.externalName, problem));
  } else if ((spec.ports ?? []).length === 0 && !isHeadless) errors.push(required('spec.ports'));
  const names = new Set<string>();
  const numbers = new Set<string>();
  for (const [i, port] of (spec.ports ?? []).entries()) {
    const at = `spec.ports[${i}]`;
    if (!port.name) {
      if (spec.ports.length > 1) errors.push(required(`${at}.name`));
    } else {
      const problem = dnsLabel(port.name);
      if (problem !== undefined) errors.push(invalidValue(`${at}.name`, port.name, problem));
      if (names.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      names.add(port.name);
    }
    portNumber(errors, `${at}.port`, port.port);
    oneOf(errors, `${at}.protocol`, port.protocol, ['SCTP', 'TCP', 'UDP']);
    if (typeof port.targetPort === 'number') portNumber(errors, `${at}.targetPort`, port.targetPort);
    else if (typeof port.targetPort === 'string') validatePortName(errors, `${at}.targetPort`, port.targetPort);
    if (port.nodePort !== undefined && port.nodePort !== 0 && spec.type === 'ClusterIP') {
      errors.push(forbiddenField(`${at}.nodePort`, "may not be used when `type` is 'ClusterIP'"));
    }
    const number = `${port.protocol}/${port.port}`;
    if (numbers.has(number)) errors.push(duplicate(at, { port: port.port, protocol: port.protocol }));
    numbers.add(number);
  }
  return errors;
}

function validateUpdate(service: Fields, old: StoredObject): FieldError[] {
  if (service.spec.type === 'ExternalName' || old.spec.type === 'ExternalName') return [];
  const before: string[] = old.spec.clusterIPs ?? [];
  const now: string[] = service.spec.clusterIPs ?? [];
  if (before[0] !== undefined && now[0] !== before[0]) {
    return [invalidValue('spec.clusterIPs[0]', now, 'may not change once set')];
  }
  if (old.spec.ipFamilies?.[0] !== undefined && service.spec.ipFamilies?.[0] !== old.spec.ipFamilies[0]) {
    return [invalidValue('spec.ipFamilies[0]', service.spec.ipFamilies, 'may not change once set')];
  }
  return [];
}

function externalIp(service: Fields): string {
  const { spec, status } = service;
  const external: string[] = spec?.externalIPs ?? [];
  switch (spec?.type) {
    case 'ExternalName':
      return spec.externalName;
    case 'LoadBalancer': {
      const ingress = (status?.loadBalancer?.ingress ?? []).map((point: Fields) => point.ip || point.hostname);
      const all = [...ingress, ...external];
      return all.length === 0 ? '<pending>' : all.join(',');
    }
    default:
      return joined(external);
  }
}

function portText(port: Fields): string {
  return port.nodePort ? `${port.port}:${port.nodePort}/${port.protocol}` : `${port.port}/${port.protocol}`;
}
