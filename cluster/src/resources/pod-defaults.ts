/** Default values of pod specs, alone and in templates. Each function changes its argument. */
import type { Fields } from '../store/stored-object.ts';

function preset(object: Fields, values: Fields): void {
  for (const [field, value] of Object.entries(values)) object[field] ??= value;
}

export function applyPodSpecDefaults(spec: Fields): void {
  preset(spec, {
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
  });
  if (spec.serviceAccount !== undefined) spec.serviceAccountName ??= spec.serviceAccount;
  if (spec.serviceAccountName !== undefined) spec.serviceAccount = spec.serviceAccountName;
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])])
    applyContainerDefaults(container, spec);
  for (const volume of spec.volumes ?? []) applyVolumeDefaults(volume);
}

function applyContainerDefaults(container: Fields, spec: Fields): void {
  preset(container, {
    resources: {},
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: pullPolicy(container.image),
  });
  for (const port of container.ports ?? []) {
    preset(port, { protocol: 'TCP' });
    if (spec.hostNetwork === true) port.hostPort ??= port.containerPort;
  }
  for (const variable of container.env ?? []) {
    const field = variable.valueFrom?.fieldRef;
    if (field !== undefined) field.apiVersion ??= 'v1';
    const resource = variable.valueFrom?.resourceFieldRef;
    if (resource !== undefined) resource.divisor ??= '0';
  }
  const { limits } = container.resources;
  if (limits !== undefined) container.resources.requests = { ...limits, ...container.resources.requests };
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) {
    if (probe === undefined) continue;
    preset(probe, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 });
    applyHandlerDefaults(probe);
    if (probe.grpc !== undefined) probe.grpc.service ??= '';
  }
  for (const handler of [container.lifecycle?.postStart, container.lifecycle?.preStop]) {
    if (handler !== undefined) applyHandlerDefaults(handler);
  }
}

function applyHandlerDefaults(handler: Fields): void {
  if (handler.httpGet !== undefined) preset(handler.httpGet, { path: '/', scheme: 'HTTP' });
}

/** Images without a tag, or with `latest`, are looked for again at each start. */
function pullPolicy(image: unknown): string {
  if (typeof image !== 'string') return 'IfNotPresent';
  if (image.includes('@')) return 'IfNotPresent';
  const last = image.slice(image.lastIndexOf('/') + 1);
  const tag = last.includes(':') ? last.slice(last.indexOf(':') + 1) : 'latest';
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

const DEFAULT_MODE = 0o644;

function applyVolumeDefaults(volume: Fields): void {
  const sources = Object.keys(volume).filter((field) => field !== 'name');
  if (sources.length === 0) volume.emptyDir = {};
  for (const source of [volume.configMap, volume.secret, volume.downwardAPI, volume.projected]) {
    if (source !== undefined) source.defaultMode ??= DEFAULT_MODE;
  }
  if (volume.hostPath !== undefined) volume.hostPath.type ??= '';
  for (const item of volume.downwardAPI?.items ?? [])
    if (item.fieldRef !== undefined) item.fieldRef.apiVersion ??= 'v1';
  for (const source of volume.projected?.sources ?? []) {
    for (const item of source.downwardAPI?.items ?? [])
      if (item.fieldRef !== undefined) item.fieldRef.apiVersion ??= 'v1';
    if (source.serviceAccountToken !== undefined) source.serviceAccountToken.expirationSeconds ??= 3600;
  }
}

export function applyTemplateDefaults(template: Fields | undefined): void {
  if (template === undefined) return;
  template.metadata ??= {};
  template.spec ??= {};
  applyPodSpecDefaults(template.spec);
}
