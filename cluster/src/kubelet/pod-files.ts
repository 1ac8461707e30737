/** The files that every container of a pod shares: /etc/hosts, /etc/resolv.conf and /etc/hostname. */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '@tulle/api';

export interface PodNames {
  clusterDomain: string;
  dnsAddress: string;
}

export async function writePodFiles(folder: string, pod: Pod, ips: string[], names: PodNames) {
  await mkdir(folder, { recursive: true });
  const files = {
    hosts: join(folder, 'hosts'),
    resolvConf: join(folder, 'resolv.conf'),
    hostname: join(folder, 'hostname'),
  };
  await Promise.all([
    writeFile(files.hosts, hosts(pod, ips, names.clusterDomain)),
    writeFile(files.resolvConf, resolvConf(pod, names)),
    writeFile(files.hostname, `${podHostname(pod)}\n`),
  ]);
  return files;
}

/** Linux allows 64 bytes; names of pods can be longer. */
export function podHostname(pod: Pod): string {
  return (pod.spec?.hostname || pod.metadata.name).slice(0, 63).replace(/[-.]+$/, '');
}

export function hosts(pod: Pod, ips: string[], clusterDomain: string): string {
  const { subdomain, hostAliases = [] } = pod.spec ?? {};
  const name = podHostname(pod);
  const full = subdomain ? `${name}.${subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}\t` : '';
  return [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...ips.map((ip) => `${ip}\t${full}${name}`),
    ...hostAliases.map(({ ip, hostnames = [] }) => `${ip}\t${hostnames.join('\t')}`),
    '',
  ].join('\n');
}

export function resolvConf(pod: Pod, { clusterDomain, dnsAddress }: PodNames): string {
  const { dnsPolicy = 'ClusterFirst', dnsConfig = {} } = pod.spec ?? {};
  const isNone = dnsPolicy === 'None';
  const searches = [`${pod.metadata.namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
  const nameservers = [...(isNone ? [] : [dnsAddress]), ...(dnsConfig.nameservers ?? [])];
  const search = [...(dnsPolicy.startsWith('ClusterFirst') ? searches : []), ...(dnsConfig.searches ?? [])];
  const options = new Map<string, string | undefined>(dnsPolicy.startsWith('ClusterFirst') ? [['ndots', '5']] : []);
  for (const { name, value } of dnsConfig.options ?? []) if (name) options.set(name, value);
  const optionText = [...options].map(([name, value]) => (value ? `${name}:${value}` : name)).join(' ');
  return [
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(optionText ? [`options ${optionText}`] : []),
    '',
  ].join('\n');
}
