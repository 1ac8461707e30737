/** ExternalWorkload of workload.linkerd.io, v1alpha1 and v1beta1: a workload of the mesh outside the cluster. */
import { type Field, readObject } from './field.ts';
import { canonicalIp, parseIp } from './ip-address.ts';
import { EXTERNAL_WORKLOADS } from './kinds.ts';
import type { KubeObject } from './kubernetes.ts';
import type { Labels } from './label-selector.ts';
import { type ObjectRef, objectRef } from './object-ref.ts';

export interface ExternalWorkload {
  readonly ref: ObjectRef;
  readonly uid: string;
  readonly labels: Labels;
  readonly annotations: Readonly<Record<string, string>>;
  /** What its certificate shows: a SPIFFE URI or a DNS name. */
  readonly identity: string;
  /** What clients send as the server's name. */
  readonly serverName: string;
  readonly ports: readonly ExternalPort[];
  /** At most one of each family. */
  readonly ips: readonly string[];
  readonly isReady: boolean;
}

export interface ExternalPort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: string;
}

const IDENTITY = 'a SPIFFE URI such as spiffe://example.org/name, or a DNS name';
const DNS_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/i;
const SPIFFE_ID = /^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;
const NAME_CHARACTERS_MAX = 253;
/** https://spiffe.io/docs/latest/spiffe-specs/spiffe-id, section 2.3. */
const SPIFFE_ID_BYTES_MAX = 2048;

/** @throws MeshError `INVALID_ARGUMENT` that lists every problem. */
export function parseExternalWorkload(object: KubeObject): ExternalWorkload {
  return readObject(object, (root) => {
    const spec = root.get('spec');
    const tls = spec.get('meshTLS').isSet ? spec.get('meshTLS') : spec.get('meshTls');
    if (!tls.isSet) spec.get('meshTLS').refuse('an object with identity and serverName');
    const { labels = {}, annotations = {}, uid = '' } = object.metadata;
    return {
      ref: objectRef(object, EXTERNAL_WORKLOADS),
      uid,
      labels,
      annotations,
      identity: tls.isSet ? readIdentity(tls.get('identity')) : '',
      serverName: tls.isSet ? readServerName(tls.get('serverName')) : '',
      ports: spec.get('ports').items().map(readPort),
      ips: readIps(spec.get('workloadIPs')),
      isReady: isReady(root.get('status').get('conditions')),
    };
  });
}

function readIdentity(field: Field): string {
  const text = field.requiredText(IDENTITY);
  const isUri = SPIFFE_ID.test(text) && text.length <= SPIFFE_ID_BYTES_MAX;
  if (text !== '' && !isUri && !isDnsName(text)) field.refuse(IDENTITY);
  return text;
}

function readServerName(field: Field): string {
  const text = field.requiredText('a DNS name');
  if (text !== '' && !isDnsName(text)) field.refuse('a DNS name');
  return text;
}

function isDnsName(text: string): boolean {
  return text.length <= NAME_CHARACTERS_MAX && DNS_NAME.test(text);
}

function readPort(field: Field): ExternalPort {
  const port = field.get('port').integer(1, 65_535);
  if (!field.get('port').isSet) field.get('port').refuse('1 to 65535');
  const name = field.get('name').value === '' ? undefined : field.get('name').text();
  return { name, port: port ?? 0, protocol: field.get('protocol').text() ?? 'TCP' };
}

function readIps(field: Field): string[] {
  const families = new Set<number>();
  return field.items('a list of at most two addresses').flatMap((item) => {
    const ip = item.get('ip');
    const address = typeof ip.value === 'string' ? parseIp(ip.value) : undefined;
    if (!address) return ip.refuse('an IP address') ?? [];
    if (families.has(address.family)) return ip.refuse('one address of each family') ?? [];
    families.add(address.family);
    return [canonicalIp(ip.value as string)];
  });
}

function isReady(conditions: Field): boolean {
  const all = Array.isArray(conditions.value) ? conditions.items() : [];
  return all.some((each) => each.get('type').value === 'Ready' && each.get('status').value === 'True');
}
