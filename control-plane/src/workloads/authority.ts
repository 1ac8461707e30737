/** Names that proxies ask for: `service.namespace.svc.cluster.local:port`, or a pod of a Service before that. */
import { MeshError } from '@tulle/api';
import { canonicalIp, parseIp } from '@tulle/api/ip-address.ts';

export type Authority = IpAuthority | ServiceAuthority;

export interface IpAuthority {
  kind: 'ip';
  ip: string;
  port: number;
}

export interface ServiceAuthority {
  kind: 'service';
  namespace: string;
  name: string;
  serviceKey: string;
  /** The host as it was asked for, without a final dot. */
  fullName: string;
  /** `web-0` of `web-0.web.ns.svc.cluster.local`. */
  hostname?: string;
  port: number;
}

/** HTTP's, for an authority that gives none. */
const PORT_DEFAULT = 80;
const HOST_BYTES_MAX = 253;

export function parseAuthority(authority: string, clusterDomain: string): Authority {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(authority.trim());
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? PORT_DEFAULT : Number(match[3]);
  if (host === undefined || port < 1 || port > 65535) throw invalid(authority, 'not a host with a port');
  if (parseIp(host)) return { kind: 'ip', ip: canonicalIp(host), port };
  const fullName = host.replace(/\.$/, '').toLowerCase();
  const suffix = `.svc.${clusterDomain}`;
  if (!fullName.endsWith(suffix) || fullName.length > HOST_BYTES_MAX)
    throw invalid(authority, `not in ${suffix.slice(1)}`);
  const labels = fullName.slice(0, -suffix.length).split('.');
  const [hostname, name, namespace] = labels.length === 3 ? labels : [undefined, ...labels];
  if (!name || !namespace || hostname === '' || labels.length > 3)
    throw invalid(authority, 'not the name of a service');
  return { kind: 'service', namespace, name, serviceKey: `${namespace}/${name}`, fullName, hostname, port };
}

function invalid(authority: string, why: string): MeshError {
  return new MeshError('INVALID_ARGUMENT', `resolve "${authority.slice(0, HOST_BYTES_MAX)}": ${why}`);
}
