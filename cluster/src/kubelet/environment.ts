/** A container's environment: env, envFrom, the variables of Services, and `$(VAR)` in them and in commands. Pure. */

import { type ConfigMap, type Container, MeshError, type Pod, type Secret, type Service } from '@tulle/api';
import { fieldValue, resourceValue } from './downward.ts';

export interface EnvironmentSource {
  configMap(key: string): ConfigMap | undefined;
  secret(key: string): Secret | undefined;
  services(): Service[];
}

/** Throws MeshError FAILED_PRECONDITION when something that it refers to does not exist. */
export function containerEnvironment(pod: Pod, container: Container, source: EnvironmentSource): Map<string, string> {
  const env = new Map<string, string>();
  const namespace = pod.metadata.namespace ?? 'default';
  for (const [name, value] of serviceVariables(pod, source.services())) env.set(name, value);
  for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
    const data = configMapRef
      ? mapData(source, namespace, configMapRef.name ?? '', configMapRef.optional)
      : secretData(source, namespace, secretRef?.name ?? '', secretRef?.optional);
    for (const [key, value] of Object.entries(data)) env.set(`${prefix}${key}`, value);
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (!valueFrom) {
      env.set(name, expand(value ?? '', env));
      continue;
    }
    const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = valueFrom;
    if (fieldRef) env.set(name, fieldValue(pod, fieldRef.fieldPath) ?? '');
    else if (resourceFieldRef) env.set(name, resourceValue(pod, container, resourceFieldRef));
    else if (configMapKeyRef) {
      const data = mapData(source, namespace, configMapKeyRef.name ?? '', configMapKeyRef.optional);
      setKey(env, name, data, `configmap "${configMapKeyRef.name}"`, configMapKeyRef);
    } else if (secretKeyRef) {
      const data = secretData(source, namespace, secretKeyRef.name ?? '', secretKeyRef.optional);
      setKey(env, name, data, `secret "${secretKeyRef.name}"`, secretKeyRef);
    }
  }
  return env;
}

/** Replaces `$(NAME)` by known variables; `$$` stands for `$`, and unknown names stay as they are. */
export function expand(text: string, env: ReadonlyMap<string, string>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (all, token: string, name: string) => {
    if (token === '$') return '$';
    return env.get(name) ?? all;
  });
}

function setKey(
  env: Map<string, string>,
  name: string,
  data: Record<string, string>,
  owner: string,
  ref: { key: string; optional?: boolean },
): void {
  const value = data[ref.key];
  if (value !== undefined) env.set(name, value);
  else if (!ref.optional) throw new MeshError('FAILED_PRECONDITION', `couldn't find key ${ref.key} in ${owner}`);
}

function mapData(source: EnvironmentSource, namespace: string, name: string, optional = false) {
  const object = source.configMap(`${namespace}/${name}`);
  if (!object && !optional) throw new MeshError('FAILED_PRECONDITION', `configmap "${name}" not found`);
  return object?.data ?? {};
}

function secretData(source: EnvironmentSource, namespace: string, name: string, optional = false) {
  const object = source.secret(`${namespace}/${name}`);
  if (!object && !optional) throw new MeshError('FAILED_PRECONDITION', `secret "${name}" not found`);
  const decode = ([key, value]: [string, string]) => [key, Buffer.from(value, 'base64').toString()];
  return Object.fromEntries(Object.entries(object?.data ?? {}).map(decode)) as Record<string, string>;
}

/** The API server's own Service, and with `enableServiceLinks` those of the pod's namespace. */
function serviceVariables(pod: Pod, services: Service[]): [string, string][] {
  const variables: [string, string][] = [];
  const hasLinks = pod.spec?.enableServiceLinks !== false;
  for (const { metadata, spec } of services) {
    const isApiServer = metadata.namespace === 'default' && metadata.name === 'kubernetes';
    if (!isApiServer && !(hasLinks && metadata.namespace === pod.metadata.namespace)) continue;
    const ip = spec?.clusterIP;
    const [first] = spec?.ports ?? [];
    if (!ip || ip === 'None' || !first) continue;
    const host = ip.includes(':') ? `[${ip}]` : ip;
    const prefix = metadata.name.toUpperCase().replaceAll('-', '_');
    variables.push([`${prefix}_SERVICE_HOST`, ip], [`${prefix}_SERVICE_PORT`, String(first.port)]);
    variables.push([`${prefix}_PORT`, `${(first.protocol ?? 'TCP').toLowerCase()}://${host}:${first.port}`]);
    for (const { name, port, protocol = 'TCP' } of spec?.ports ?? []) {
      const own = `${prefix}_PORT_${port}_${protocol}`;
      if (name) variables.push([`${prefix}_SERVICE_PORT_${name.toUpperCase().replaceAll('-', '_')}`, String(port)]);
      variables.push([own, `${protocol.toLowerCase()}://${host}:${port}`], [`${own}_PROTO`, protocol.toLowerCase()]);
      variables.push([`${own}_PORT`, String(port)], [`${own}_ADDR`, ip]);
    }
  }
  return variables;
}
