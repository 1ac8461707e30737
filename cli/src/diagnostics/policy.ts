/** `diagnostics policy`: who may connect to a port of a pod, and how traffic to a port of a Service is routed. */
import { CONFIG_MAPS, type ConfigMap, MeshError } from '@tulle/api';
import { InboundServerPolicies, ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { OutboundPolicies, OutboundPolicySchema } from '@tulle/api/gen/outbound_pb.ts';
import type { Client } from '@tulle/client';
import { parseValues } from '@tulle/control-plane/injector/values-layers.ts';
import { stringify } from 'yaml';
import { type GlobalOptions, withClient } from '../globals.ts';
import { readableJson, withControlPlane } from '../mesh/control-plane-rpc.ts';
import { parseResource } from '../mesh/resource.ts';
import { outputFormat } from '../output/documents.ts';
import type { AskOptions } from './endpoints.ts';

const POLICY_PORT = 8090;

export async function printPolicy(
  word: string,
  portText: string,
  globals: GlobalOptions,
  options: AskOptions,
): Promise<void> {
  const format = outputFormat(options.output, ['yaml', 'json']);
  const { label, name } = parseResource(word);
  const port = Number(portText);
  if (!/^\d+$/.test(portText) || port < 1 || port > 65535)
    throw new MeshError('INVALID_ARGUMENT', `"${portText}" is not a port`);
  if (!name || (label !== 'pod' && label !== 'service')) {
    throw new MeshError('INVALID_ARGUMENT', `"${word}": want po/NAME or svc/NAME`);
  }
  const answer = await withClient(globals, async (client) => {
    const namespace = globals.namespace ?? client.config.namespace;
    const target = {
      controlPlaneNamespace: globals.linkerdNamespace,
      ...(options.destinationPod ? { pod: options.destinationPod } : {}),
      port: POLICY_PORT,
    };
    if (label === 'pod') {
      const workload = JSON.stringify({ ns: namespace, pod: name });
      return withControlPlane(client, InboundServerPolicies, target, async (rpc, signal) =>
        readableJson(ServerSchema, await rpc.getPort({ workload, port }, { signal })),
      );
    }
    const authority = `${name}.${namespace}.svc.${await clusterDomain(client, globals)}:${port}`;
    const spec = {
      sourceWorkload: sourceWorkload(options.token),
      target: { case: 'authority' as const, value: authority },
    };
    return withControlPlane(client, OutboundPolicies, target, async (rpc, signal) =>
      readableJson(OutboundPolicySchema, await rpc.get(spec, { signal })),
    );
  });
  process.stdout.write(
    format === 'json' ? `${JSON.stringify(answer, null, 2)}\n` : stringify(answer, { lineWidth: 0 }),
  );
}

/** `namespace:pod`, or the JSON that proxies send. */
function sourceWorkload(token = 'default:diagnostics'): string {
  if (token.startsWith('{')) return token;
  const [ns = '', pod = ''] = token.split(':');
  return JSON.stringify({ ns, pod });
}

async function clusterDomain(client: Client, { linkerdNamespace }: GlobalOptions): Promise<string> {
  const config = await client.get<ConfigMap>(CONFIG_MAPS, 'linkerd-config', linkerdNamespace);
  return parseValues(config.data?.values ?? '').clusterDomain;
}
