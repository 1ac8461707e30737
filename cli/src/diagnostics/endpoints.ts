/** `diagnostics endpoints`: the first full set that Destination.Get sends. */

import { MeshError } from '@tulle/api';
import { Destination, type Update, type WeightedAddr } from '@tulle/api/gen/destination_pb.ts';
import type { TcpAddress } from '@tulle/api/gen/net_pb.ts';
import { type GlobalOptions, withClient } from '../globals.ts';
import { firstOf, ipv4Text, ipv6Text, withControlPlane } from '../mesh/control-plane-rpc.ts';
import { outputFormat } from '../output/documents.ts';
import { renderTable } from '../output/table.ts';

export interface AskOptions {
  token?: string;
  destinationPod?: string;
  output?: string;
}

interface EndpointRow {
  namespace: string;
  ip: string;
  port: number;
  pod: string;
  service: string;
  weight: number;
  labels: Record<string, string>;
  http2: boolean;
}

export const DESTINATION_PORT = 8086;

export async function printEndpoints(
  authorities: string[],
  globals: GlobalOptions,
  options: AskOptions,
): Promise<void> {
  const format = outputFormat(options.output, ['table', 'json']);
  const rows = await withClient(globals, async (client) => {
    const target = {
      controlPlaneNamespace: globals.linkerdNamespace,
      ...(options.destinationPod ? { pod: options.destinationPod } : {}),
      port: DESTINATION_PORT,
    };
    const sets = await Promise.all(
      authorities.map((path) =>
        withControlPlane(client, Destination, target, async (rpc, signal) =>
          endpointRows(
            path,
            await firstOf(rpc.get({ scheme: 'http:', path, contextToken: options.token ?? '' }, { signal })),
          ),
        ),
      ),
    );
    return sets.flat();
  });
  if (format === 'json') {
    const documents = rows.map(({ http2, ...row }) => ({ ...row, ...(http2 ? { http2: true } : {}) }));
    process.stdout.write(`${JSON.stringify(documents, null, 2)}\n`);
    return;
  }
  if (!rows.length) process.stderr.write('no endpoints found\n');
  process.stdout.write(
    renderTable(
      ['NAMESPACE', 'IP', 'PORT', 'POD', 'SERVICE'].map((title) => ({ title })),
      rows.map(({ namespace, ip, port, pod, service }) => [namespace, ip, String(port), pod, service]),
    ),
  );
}

function endpointRows(authority: string, { update }: Update): EndpointRow[] {
  if (update.case === 'noEndpoints') {
    if (update.value.exists) return [];
    throw new MeshError('NOT_FOUND', `${authority}: the control plane knows no such Service`);
  }
  if (update.case !== 'add') return [];
  const { addrs, metricLabels: shared } = update.value;
  const namespace = shared.namespace ?? '';
  const rows = addrs.map((address) => row(address, namespace, `${shared.service ?? authority}.${namespace}`));
  return rows.sort((a, b) => a.ip.localeCompare(b.ip, 'en', { numeric: true }));
}

function row(
  { addr, metricLabels, weight, protocolHint }: WeightedAddr,
  namespace: string,
  service: string,
): EndpointRow {
  return {
    namespace: metricLabels.namespace ?? namespace,
    ip: ipText(addr),
    port: addr?.port ?? 0,
    pod: metricLabels.pod ?? '-',
    service,
    weight,
    labels: metricLabels,
    http2: protocolHint?.protocol.case === 'h2',
  };
}

function ipText(address: TcpAddress | undefined): string {
  const ip = address?.ip?.ip;
  if (ip?.case === 'ipv4') return ipv4Text(ip.value);
  return ip?.case === 'ipv6' ? ipv6Text(ip.value.first, ip.value.last) : '-';
}
