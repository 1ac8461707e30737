/** What the mesh needs to know of a Service, and how its ports are spoken to. */
import type { Service as KubeService } from '@tulle/api';
import { OPAQUE_PORTS_ANNOTATION } from './mesh-names.ts';
import { type PortSet, parsePortList } from './port-set.ts';
import { parseTrafficAnnotations, type TrafficSettings } from './traffic-annotations.ts';

export interface Service {
  key: string;
  namespace: string;
  name: string;
  isExternalName: boolean;
  clusterIps: readonly string[];
  ports: readonly ServicePort[];
  /** `internalTrafficPolicy: Local`: clients reach only endpoints on their own node. */
  isNodeLocal: boolean;
  /** Undefined where the Service says nothing: the namespace or the mesh decides. */
  opaquePorts?: PortSet;
  traffic: TrafficSettings;
  /** Annotations that could not be read; they count as not set. */
  problems: readonly string[];
}

export interface ServicePort {
  /** Empty for the one port of a Service that needs no name. */
  name: string;
  port: number;
  appProtocol?: string;
}

export function parseService(object: KubeService): Service {
  const { metadata, spec } = object;
  const namespace = metadata.namespace ?? 'default';
  const annotations = metadata.annotations ?? {};
  const ports = (spec?.ports ?? [])
    .filter((port) => (port.protocol ?? 'TCP') === 'TCP')
    .map(({ name, port, appProtocol }) => ({ name: name ?? '', port, appProtocol }));
  const names = new Map(ports.filter(({ name }) => name).map(({ name, port }) => [name, port]));
  const opaqueText = annotations[OPAQUE_PORTS_ANNOTATION];
  const opaque = opaqueText === undefined ? undefined : parsePortList(opaqueText, names);
  const traffic = parseTrafficAnnotations(annotations);
  const clusterIps = spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : []);
  return {
    key: `${namespace}/${metadata.name}`,
    namespace,
    name: metadata.name,
    isExternalName: spec?.type === 'ExternalName',
    clusterIps: clusterIps.filter((ip) => ip !== '' && ip !== 'None'),
    ports,
    isNodeLocal: spec?.internalTrafficPolicy === 'Local',
    opaquePorts: opaque?.ports,
    traffic,
    problems: [
      ...(opaque?.problems ?? []).map((problem) => `annotation ${OPAQUE_PORTS_ANNOTATION}: ${problem}`),
      ...traffic.problems,
    ],
  };
}

/**
 * How clients speak to a port of a Service. `appProtocol` wins over annotations and default lists, and one that is not
 * known is opaque; `undefined` is a port that the Service does not have. One without an address of its own only names its
 * pods, whose ports it need not list. `grpc` says no more than nothing would: gRPC is detected, and so it may also be
 * inside TLS of the application's own.
 */
export type PortProtocol = 'undefined' | 'detect' | 'opaque' | 'http1' | 'http2';

export function portProtocol(service: Service, port: number, defaultOpaquePorts: PortSet): PortProtocol {
  const found = service.ports.find((candidate) => candidate.port === port);
  if (!found && service.clusterIps.length > 0) return 'undefined';
  const declared = found?.appProtocol?.toLowerCase();
  if (declared && declared !== 'grpc') return APP_PROTOCOLS.get(declared) ?? 'opaque';
  return (service.opaquePorts ?? defaultOpaquePorts).has(port) ? 'opaque' : 'detect';
}

const APP_PROTOCOLS = new Map<string, PortProtocol>([
  ['http', 'http1'],
  ['kubernetes.io/h2c', 'http2'],
  ['linkerd.io/tcp', 'opaque'],
  ['linkerd.io/opaque', 'opaque'],
]);
