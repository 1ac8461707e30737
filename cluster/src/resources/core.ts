/** The plain kinds of the core group, discovery, coordination, scheduling and policy. */

import { isDeepStrictEqual } from 'node:util';
import { type FieldError, invalidValue, required } from '../apiserver/status.ts';
import type { Fields, StoredObject } from '../store/stored-object.ts';
import { ageColumn, joined, nameColumn } from './columns.ts';
import { defineResource } from './define.ts';
import { dnsLabel } from './names.ts';
import type { Column, Resource } from './resource.ts';
import { oneOf, portNumber } from './validate-pod-spec.ts';

const core = { group: '', version: 'v1' } as const;

export const namespaces: Resource = defineResource({
  ...core,
  kind: 'Namespace',
  plural: 'namespaces',
  namespaced: false,
  shortNames: ['ns'],
  verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
  hasGeneration: false,
  nameRule: dnsLabel,
  subresources: [{ name: 'finalize', kind: 'Namespace', verbs: ['update'] }],
  selectableFields: { 'status.phase': (object) => object.status?.phase ?? '' },
  applyDefaults: (object) => {
    if (object.metadata.name)
      object.metadata.labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name };
  },
  prepareCreate: (object) => {
    object.spec = { ...object.spec, finalizers: ['kubernetes'] };
    object.status = { phase: 'Active' };
  },
  columns: [nameColumn, { name: 'Status', value: (object) => object.status?.phase ?? '' }, ageColumn],
});

export const configMaps: Resource = defineResource({
  ...core,
  kind: 'ConfigMap',
  plural: 'configmaps',
  namespaced: true,
  shortNames: ['cm'],
  validate: (object) => validateKeys(object, ['data', 'binaryData']),
  validateUpdate: (object, old) => immutableData(object, old, ['data', 'binaryData']),
  columns: [
    nameColumn,
    { name: 'Data', type: 'integer', value: (object) => dataCount(object, ['data', 'binaryData']) },
    ageColumn,
  ],
});

export const secrets: Resource = defineResource({
  ...core,
  kind: 'Secret',
  plural: 'secrets',
  namespaced: true,
  selectableFields: { type: (object) => object.type ?? '' },
  applyDefaults: (object) => {
    object.type ??= 'Opaque';
    if (object.stringData === undefined) return;
    object.data = { ...object.data };
    for (const [key, value] of Object.entries<string>(object.stringData))
      object.data[key] = Buffer.from(value).toString('base64');
    delete object.stringData;
  },
  validate: (object) => {
    const errors = validateKeys(object, ['data']);
    const needs: Record<string, string[]> = {
      'kubernetes.io/tls': ['tls.crt', 'tls.key'],
      'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
    };
    for (const key of needs[object.type] ?? [])
      if (object.data?.[key] === undefined) errors.push(required(`data[${key}]`));
    return errors;
  },
  validateUpdate: (object, old) => [
    ...immutableData(object, old, ['data']),
    ...(object.type === old.type ? [] : [invalidValue('type', object.type, 'field is immutable')]),
  ],
  columns: [
    nameColumn,
    { name: 'Type', value: (object) => object.type ?? '' },
    { name: 'Data', type: 'integer', value: (object) => dataCount(object, ['data']) },
    ageColumn,
  ],
});

export const serviceAccounts: Resource = defineResource({
  ...core,
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
  namespaced: true,
  shortNames: ['sa'],
  subresources: [
    { name: 'token', kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: ['create'] },
  ],
  columns: [
    nameColumn,
    { name: 'Secrets', type: 'integer', value: (object) => object.secrets?.length ?? 0 },
    ageColumn,
  ],
});

export const nodes: Resource = defineResource({
  ...core,
  kind: 'Node',
  plural: 'nodes',
  namespaced: false,
  shortNames: ['no'],
  hasGeneration: false,
  selectableFields: { 'spec.unschedulable': (object) => String(object.spec?.unschedulable ?? false) },
  prepareCreate: () => {},
  columns: nodeColumns(),
});

function nodeColumns(): Column[] {
  const info = (read: (info: Fields) => string | undefined) => (object: StoredObject) =>
    read(object.status?.nodeInfo ?? {}) || '<unknown>';
  const address = (type: string) => (object: StoredObject) =>
    object.status?.addresses?.find((a: Fields) => a.type === type)?.address ?? '<none>';
  return [
    nameColumn,
    {
      name: 'Status',
      value: (object) => {
        const ready = object.status?.conditions?.find((c: Fields) => c.type === 'Ready');
        const words = [ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'];
        if (object.spec?.unschedulable) words.push('SchedulingDisabled');
        return words.join(',');
      },
    },
    {
      name: 'Roles',
      value: (object) =>
        joined(
          Object.keys(object.metadata.labels ?? {})
            .filter((label) => label.startsWith('node-role.kubernetes.io/'))
            .map((label) => label.slice('node-role.kubernetes.io/'.length))
            .sort(),
        ),
    },
    ageColumn,
    { name: 'Version', value: info((i) => i.kubeletVersion) },
    { name: 'Internal-IP', priority: 1, value: address('InternalIP') },
    { name: 'External-IP', priority: 1, value: address('ExternalIP') },
    { name: 'OS-Image', priority: 1, value: info((i) => i.osImage) },
    { name: 'Kernel-Version', priority: 1, value: info((i) => i.kernelVersion) },
    { name: 'Container-Runtime', priority: 1, value: info((i) => i.containerRuntimeVersion) },
  ];
}

export const endpoints: Resource = defineResource({
  ...core,
  kind: 'Endpoints',
  listKind: 'EndpointsList',
  plural: 'endpoints',
  singular: 'endpoints',
  namespaced: true,
  shortNames: ['ep'],
  columns: [nameColumn, { name: 'Endpoints', value: endpointsText }, ageColumn],
});

/** Addresses that a table cell shows before it says how many more there are. */
const ENDPOINTS_SHOWN_MAX = 3;

function shorten(all: string[]): string {
  if (all.length === 0) return '<none>';
  if (all.length <= ENDPOINTS_SHOWN_MAX) return all.join(',');
  return `${all.slice(0, ENDPOINTS_SHOWN_MAX).join(',')} + ${all.length - ENDPOINTS_SHOWN_MAX} more...`;
}

function endpointsText(object: Fields): string {
  const all: string[] = [];
  for (const subset of object.subsets ?? []) {
    for (const { ip } of subset.addresses ?? []) {
      if ((subset.ports ?? []).length === 0) all.push(ip);
      for (const { port } of subset.ports ?? []) all.push(ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`);
    }
  }
  return shorten(all);
}

export const endpointSlices: Resource = defineResource({
  group: 'discovery.k8s.io',
  version: 'v1',
  kind: 'EndpointSlice',
  plural: 'endpointslices',
  namespaced: true,
  hasGeneration: true,
  applyDefaults: (object) => {
    object.endpoints ??= [];
    for (const port of object.ports ?? []) {
      port.name ??= '';
      port.protocol ??= 'TCP';
    }
  },
  validate: (object) => {
    const errors: FieldError[] = [];
    oneOf(errors, 'addressType', object.addressType, ['FQDN', 'IPv4', 'IPv6']);
    for (const [i, endpoint] of object.endpoints.entries()) {
      if ((endpoint.addresses ?? []).length === 0)
        errors.push(required(`endpoints[${i}].addresses`, 'must contain at least 1 address'));
      for (const [j, address] of (endpoint.addresses ?? []).entries()) {
        const isV6 = address.includes(':');
        if (object.addressType !== 'FQDN' && isV6 !== (object.addressType === 'IPv6')) {
          errors.push(
            invalidValue(`endpoints[${i}].addresses[${j}]`, address, `must be an ${object.addressType} address`),
          );
        }
      }
    }
    for (const [i, port] of (object.ports ?? []).entries()) portNumber(errors, `ports[${i}].port`, port.port);
    return errors;
  },
  validateUpdate: (object, old) =>
    object.addressType === old.addressType
      ? []
      : [invalidValue('addressType', object.addressType, 'field is immutable')],
  columns: [
    nameColumn,
    { name: 'AddressType', value: (object) => object.addressType ?? '' },
    {
      name: 'Ports',
      value: (object) =>
        (object.ports ?? []).length === 0
          ? '<unset>'
          : shorten(object.ports.map((port: Fields) => String(port.port ?? '*'))),
    },
    {
      name: 'Endpoints',
      value: (object) => {
        const all = (object.endpoints ?? []).flatMap((endpoint: Fields) => endpoint.addresses ?? []);
        return all.length === 0 ? '<unset>' : shorten(all);
      },
    },
    ageColumn,
  ],
});

export const leases: Resource = defineResource({
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
  columns: [nameColumn, { name: 'Holder', value: (object) => object.spec?.holderIdentity ?? '' }, ageColumn],
});

export const priorityClasses: Resource = defineResource({
  group: 'scheduling.k8s.io',
  version: 'v1',
  kind: 'PriorityClass',
  plural: 'priorityclasses',
  singular: 'priorityclass',
  namespaced: false,
  shortNames: ['pc'],
  applyDefaults: (object) => {
    object.preemptionPolicy ??= 'PreemptLowerPriority';
  },
  columns: [
    nameColumn,
    { name: 'Value', type: 'integer', value: (object) => object.value ?? 0 },
    { name: 'Global-Default', value: (object) => object.globalDefault ?? false },
    ageColumn,
    { name: 'PreemptionPolicy', value: (object) => object.preemptionPolicy ?? '' },
  ],
});

export const podDisruptionBudgets: Resource = defineResource({
  group: 'policy',
  version: 'v1',
  kind: 'PodDisruptionBudget',
  plural: 'poddisruptionbudgets',
  namespaced: true,
  shortNames: ['pdb'],
  columns: [
    nameColumn,
    { name: 'Min Available', value: (object) => String(object.spec?.minAvailable ?? 'N/A') },
    { name: 'Max Unavailable', value: (object) => String(object.spec?.maxUnavailable ?? 'N/A') },
    { name: 'Allowed Disruptions', type: 'integer', value: (object) => object.status?.disruptionsAllowed ?? 0 },
    ageColumn,
  ],
});

function dataCount(object: Fields, fields: string[]): number {
  return fields.reduce((sum, field) => sum + Object.keys(object[field] ?? {}).length, 0);
}

/** The real API server's limit on what a ConfigMap or Secret holds. */
const DATA_BYTES_MAX = 1024 * 1024;

function validateKeys(object: Fields, fields: string[]): FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const field of fields) {
    for (const [key, value] of Object.entries<string>(object[field] ?? {})) {
      bytes += value.length;
      if (key.length > 253 || !/^[-._a-zA-Z0-9]+$/.test(key) || key === '.' || key === '..') {
        errors.push(
          invalidValue(
            `${field}[${key}]`,
            key,
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
          ),
        );
      }
    }
  }
  if (bytes > DATA_BYTES_MAX)
    errors.push({
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${DATA_BYTES_MAX} bytes`,
      field: '',
    });
  return errors;
}

function immutableData(object: Fields, old: StoredObject, fields: string[]): FieldError[] {
  if (old.immutable !== true) return [];
  const errors: FieldError[] = [];
  if (object.immutable !== true)
    errors.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: field is immutable when `immutable` is set',
      field: 'immutable',
    });
  for (const field of fields) {
    if (!isDeepStrictEqual(object[field], old[field])) {
      errors.push({
        reason: 'FieldValueForbidden',
        message: 'Forbidden: field is immutable when `immutable` is set',
        field,
      });
    }
  }
  return errors;
}
