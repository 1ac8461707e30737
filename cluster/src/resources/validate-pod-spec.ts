/** Validation of pod specs, of pods and of templates. */
import { parseQuantity } from '@tulle/api';
import {
  duplicate,
  type FieldError,
  invalidValue,
  required,
  unknownReference,
  unsupportedValue,
} from '../apiserver/status.ts';
import type { Fields } from '../store/stored-object.ts';
import { dnsLabel, dnsSubdomain } from './names.ts';

const volumeSourceFields = (volume: Fields) => Object.keys(volume).filter((field) => field !== 'name');

export function validatePodSpec(spec: Fields, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if ((spec.containers ?? []).length === 0 && spec.containers !== undefined)
    errors.push(required(`${path}.containers`));
  oneOf(errors, `${path}.restartPolicy`, spec.restartPolicy, ['Always', 'OnFailure', 'Never']);
  oneOf(errors, `${path}.dnsPolicy`, spec.dnsPolicy, ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None']);
  if (spec.terminationGracePeriodSeconds < 0) {
    errors.push(
      invalidValue(
        `${path}.terminationGracePeriodSeconds`,
        spec.terminationGracePeriodSeconds,
        'must be greater than or equal to 0',
      ),
    );
  }
  if (spec.activeDeadlineSeconds !== undefined && spec.activeDeadlineSeconds < 1) {
    errors.push(
      invalidValue(
        `${path}.activeDeadlineSeconds`,
        spec.activeDeadlineSeconds,
        'must be between 1 and 2147483647, inclusive',
      ),
    );
  }
  if (spec.serviceAccountName) nameRule(errors, `${path}.serviceAccountName`, spec.serviceAccountName, dnsSubdomain);
  if (spec.hostname) nameRule(errors, `${path}.hostname`, spec.hostname, dnsLabel);
  if (spec.subdomain) nameRule(errors, `${path}.subdomain`, spec.subdomain, dnsLabel);

  const volumes = new Set<string>();
  for (const [i, volume] of (spec.volumes ?? []).entries()) {
    const at = `${path}.volumes[${i}]`;
    if (volume.name) nameRule(errors, `${at}.name`, volume.name, dnsLabel);
    if (volumes.has(volume.name)) errors.push(duplicate(`${at}.name`, volume.name));
    volumes.add(volume.name);
    if (volumeSourceFields(volume).length > 1) {
      errors.push({
        reason: 'FieldValueForbidden',
        message: 'Forbidden: may not specify more than 1 volume type',
        field: `${at}`,
      });
    }
  }
  const names = new Set<string>();
  for (const list of ['initContainers', 'containers']) {
    for (const [i, container] of (spec[list] ?? []).entries()) {
      validateContainer(errors, container, `${path}.${list}[${i}]`, names, volumes, list === 'initContainers');
    }
  }
  for (const [i, toleration] of (spec.tolerations ?? []).entries()) {
    oneOf(errors, `${path}.tolerations[${i}].operator`, toleration.operator || undefined, ['Equal', 'Exists']);
    oneOf(errors, `${path}.tolerations[${i}].effect`, toleration.effect || undefined, [
      'NoSchedule',
      'PreferNoSchedule',
      'NoExecute',
    ]);
  }
  return errors;
}

function validateContainer(
  errors: FieldError[],
  container: Fields,
  path: string,
  names: Set<string>,
  volumes: Set<string>,
  isInit: boolean,
): void {
  if (container.name) {
    nameRule(errors, `${path}.name`, container.name, dnsLabel);
    if (names.has(container.name)) errors.push(duplicate(`${path}.name`, container.name));
    names.add(container.name);
  }
  if (!container.image) errors.push(required(`${path}.image`));
  if (isInit) oneOf(errors, `${path}.restartPolicy`, container.restartPolicy, ['Always']);
  oneOf(errors, `${path}.imagePullPolicy`, container.imagePullPolicy, ['Always', 'IfNotPresent', 'Never']);
  const portNames = new Set<string>();
  for (const [i, port] of (container.ports ?? []).entries()) {
    const at = `${path}.ports[${i}]`;
    portNumber(errors, `${at}.containerPort`, port.containerPort);
    if (port.hostPort !== undefined && port.hostPort !== 0) portNumber(errors, `${at}.hostPort`, port.hostPort);
    oneOf(errors, `${at}.protocol`, port.protocol, ['SCTP', 'TCP', 'UDP']);
    if (port.name) {
      validatePortName(errors, `${at}.name`, port.name);
      if (portNames.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      portNames.add(port.name);
    }
  }
  const mounts = new Set<string>();
  for (const [i, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${path}.volumeMounts[${i}]`;
    if (mount.name && !volumes.has(mount.name)) errors.push(unknownReference(`${at}.name`, mount.name));
    if (mounts.has(mount.mountPath)) errors.push(invalidValue(`${at}.mountPath`, mount.mountPath, 'must be unique'));
    mounts.add(mount.mountPath);
  }
  for (const [i, variable] of (container.env ?? []).entries()) {
    if (variable.name !== undefined && !/^[^=\p{Cc}]+$/u.test(variable.name)) {
      errors.push(
        invalidValue(
          `${path}.env[${i}].name`,
          variable.name,
          "a valid environment variable name must consist only of printable ASCII characters other than '='",
        ),
      );
    }
    const sources = Object.keys(variable.valueFrom ?? {});
    if (variable.valueFrom !== undefined && sources.length !== 1) {
      errors.push(
        invalidValue(
          `${path}.env[${i}].valueFrom`,
          '',
          sources.length === 0
            ? 'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`'
            : 'may not have more than one field specified at a time',
        ),
      );
    } else if (sources.length === 1 && variable.value) {
      errors.push(invalidValue(`${path}.env[${i}].valueFrom`, '', 'may not be specified when `value` is not empty'));
    }
  }
  for (const probe of ['livenessProbe', 'readinessProbe', 'startupProbe'])
    validateProbe(errors, container[probe], `${path}.${probe}`, probe);
  validateResources(errors, container.resources, `${path}.resources`);
}

function validateProbe(errors: FieldError[], probe: Fields | undefined, path: string, kind: string): void {
  if (probe === undefined) return;
  const handlers = ['exec', 'httpGet', 'tcpSocket', 'grpc'].filter((handler) => probe[handler] !== undefined);
  if (handlers.length === 0) errors.push(required(path, 'must specify a handler type'));
  if (handlers.length > 1)
    errors.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: may not specify more than 1 handler type',
      field: `${path}.${handlers[1]}`,
    });
  for (const field of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ]) {
    if (probe[field] < 0)
      errors.push(invalidValue(`${path}.${field}`, probe[field], 'must be greater than or equal to 0'));
  }
  if (kind !== 'readinessProbe' && probe.successThreshold !== 1)
    errors.push(invalidValue(`${path}.successThreshold`, probe.successThreshold, 'must be 1'));
  for (const handler of ['httpGet', 'tcpSocket', 'grpc']) {
    const port = probe[handler]?.port;
    if (typeof port === 'number') portNumber(errors, `${path}.${handler}.port`, port);
  }
}

function validateResources(errors: FieldError[], resources: Fields | undefined, path: string): void {
  for (const [name, request] of Object.entries<string>(resources?.requests ?? {})) {
    const limit = resources?.limits?.[name];
    if (limit !== undefined && (parseQuantity(request) ?? 0) > (parseQuantity(limit) ?? Number.POSITIVE_INFINITY)) {
      errors.push(invalidValue(`${path}.requests`, request, `must be less than or equal to ${name} limit of ${limit}`));
    }
  }
}

export function oneOf(errors: FieldError[], field: string, value: unknown, supported: readonly string[]): void {
  if (value !== undefined && !supported.includes(value as string))
    errors.push(unsupportedValue(field, value, supported));
}

function nameRule(
  errors: FieldError[],
  field: string,
  value: string,
  rule: (name: string) => string | undefined,
): void {
  const problem = rule(value);
  if (problem !== undefined) errors.push(invalidValue(field, value, problem));
}

export function portNumber(errors: FieldError[], field: string, value: unknown): void {
  if (typeof value === 'number' && (value < 1 || value > 65535)) {
    errors.push(invalidValue(field, value, 'must be between 1 and 65535, inclusive'));
  }
}

export function validatePortName(errors: FieldError[], field: string, name: string): void {
  if (name.length > 15) errors.push(invalidValue(field, name, 'must be no more than 15 characters'));
  else if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name) || name.includes('--')) {
    errors.push(invalidValue(field, name, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens ('-')"));
  } else if (!/[a-z]/.test(name)) errors.push(invalidValue(field, name, 'must contain at least one letter (a-z)'));
}
