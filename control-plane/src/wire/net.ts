/** Addresses, durations and metadata as the proxy API writes them. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DurationSchema } from '@tulle/api/gen/google/protobuf/duration_pb.ts';
import type { MetadataSchema } from '@tulle/api/gen/meta_pb.ts';
import type { IPAddress, IPNetworkSchema, TcpAddress, TcpAddressSchema } from '@tulle/api/gen/net_pb.ts';
import { formatIp, type IpAddress, type IpNetwork, parseIp } from '@tulle/api/ip-address.ts';

type IpInit = NonNullable<MessageInitShape<typeof TcpAddressSchema>['ip']>;

const LOW_64 = (1n << 64n) - 1n;

export function toIp({ family, value }: IpAddress): IpInit {
  return family === 4
    ? { ip: { case: 'ipv4', value: Number(value) } }
    : { ip: { case: 'ipv6', value: { first: value >> 64n, last: value & LOW_64 } } };
}

/** `ip` must be an address. */
export function toTcpAddress(ip: string, port: number): MessageInitShape<typeof TcpAddressSchema> {
  return { ip: toIp(parseIp(ip)!), port };
}

export function toNetwork({ address, prefixLength }: IpNetwork): MessageInitShape<typeof IPNetworkSchema> {
  return { ip: toIp(address), prefixLen: prefixLength };
}

/** Undefined where the message lacks the address or the port is none. */
export function fromTcpAddress(address: TcpAddress): { ip: string; port: number } | undefined {
  const ip = address.ip && fromIp(address.ip);
  return ip !== undefined && address.port >= 1 && address.port <= 65535 ? { ip, port: address.port } : undefined;
}

function fromIp({ ip }: IPAddress): string | undefined {
  if (ip.case === 'ipv4') return formatIp({ family: 4, value: BigInt(ip.value) });
  if (ip.case !== 'ipv6') return undefined;
  const value = (ip.value.first << 64n) | ip.value.last;
  return value >> 32n === 0xffffn
    ? formatIp({ family: 4, value: value & 0xffffffffn })
    : formatIp({ family: 6, value });
}

export function toDuration(ms: number): MessageInitShape<typeof DurationSchema> {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

export type MetadataInit = MessageInitShape<typeof MetadataSchema>;

/** Metadata of something that no resource describes. */
export function defaultMetadata(name: string): MetadataInit {
  return { kind: { case: 'default', value: name } };
}

/** The core group is written `core`. */
export function coreMetadata(kind: string, object: { namespace: string; name: string }, port = 0): MetadataInit {
  const { namespace, name } = object;
  return { kind: { case: 'resource', value: { group: 'core', kind, namespace, name, port } } };
}
