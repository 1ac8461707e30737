/** `diagnostics policy`: who may connect to a port of a pod, and how traffic to a port of a Service is routed. */
import { type DescMessage, fromBinary, type JsonValue, type MessageShape, toBinary, toJson } from '@bufbuild/protobuf';
import { CONFIG_MAPS, type ConfigMap, MeshError } from '@tulle/api';
import { InboundServerPolicies, type Server, ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { OutboundPolicies, type OutboundPolicy, OutboundPolicySchema } from '@tulle/api/gen/outbound_pb.ts';
import {
  InboundServerSchema as InboundOverlaySchema,
  OutboundPolicySchema as OutboundOverlaySchema,
} from '@tulle/api/gen/tulle/overlay_pb.ts';
import type { Client } from '@tulle/client';
import { parseValues } from '@tulle/control-plane/injector/values-layers.ts';
import { stringify } from 'yaml';
import { type GlobalOptions, withClient } from '../globals.ts';
import { firstOf, readableJson, withControlPlane } from '../mesh/control-plane-rpc.ts';
import { outputFormat } from '../output/documents.ts';
import type { AskOptions } from './endpoints.ts';

const POLICY_PORT = 8090;

/** Asks as proxies do, by a stream that stays open: an answer that ends at once may be lost with the port-forward's end. */
export async function printPolicy(
  word: string,
  portText: string,
  globals: GlobalOptions,
  options: AskOptions,
): Promise<void> {
  const format = outputFormat(options.output, ['yaml', 'json']);
  const target = parseTarget(word);
  const port = Number(portText);
  if (!/^\d+$/.test(portText) || port < 1 || port > 65535)
    throw new MeshError('INVALID_ARGUMENT', `"${portText}" is not a port`);
  const answer = await withClient(globals, async (client) => {
    const namespace = globals.namespace ?? client.config.namespace;
    const asked = {
      controlPlaneNamespace: globals.linkerdNamespace,
      ...(options.destinationPod ? { pod: options.destinationPod } : {}),
      port: POLICY_PORT,
    };
    if (target.kind !== 'service') {
      const key = target.kind === 'pod' ? 'pod' : 'external_workload';
      const workload = JSON.stringify({ ns: namespace, [key]: target.name });
      return withControlPlane(client, InboundServerPolicies, asked, async (rpc, signal) =>
        inboundJson(await firstOf(rpc.watchPort({ workload, port }, { signal }))),
      );
    }
    const authority = `${target.name}.${namespace}.svc.${await clusterDomain(client, globals)}:${port}`;
    const spec = {
      sourceWorkload: sourceWorkload(options.token),
      target: { case: 'authority' as const, value: authority },
    };
    return withControlPlane(client, OutboundPolicies, asked, async (rpc, signal) =>
      outboundJson(await firstOf(rpc.watch(spec, { signal }))),
    );
  });
  process.stdout.write(
    format === 'json' ? `${JSON.stringify(answer, null, 2)}\n` : stringify(answer, { lineWidth: 0 }),
  );
}

const TARGET_KINDS: Record<string, 'pod' | 'service' | 'externalworkload'> = {
  po: 'pod',
  pod: 'pod',
  pods: 'pod',
  svc: 'service',
  service: 'service',
  services: 'service',
  externalworkload: 'externalworkload',
  externalworkloads: 'externalworkload',
};

function parseTarget(word: string): { kind: 'pod' | 'service' | 'externalworkload'; name: string } {
  const [type = '', name = '', ...rest] = word.split('/');
  const kind = Object.hasOwn(TARGET_KINDS, type.toLowerCase()) ? TARGET_KINDS[type.toLowerCase()] : undefined;
  if (!kind || !name || rest.length > 0)
    throw new MeshError('INVALID_ARGUMENT', `"${word}": want po/NAME, svc/NAME or externalworkload/NAME`);
  return { kind, name };
}

/** The policy of a port, with what it says beyond the proxy API below `tulle`. */
export function inboundJson(server: Server): JsonValue {
  return withOverlay(ServerSchema, InboundOverlaySchema, server);
}

export function outboundJson(policy: OutboundPolicy): JsonValue {
  return withOverlay(OutboundPolicySchema, OutboundOverlaySchema, policy);
}

/** The overlay's fields are in the bytes that the message's own type does not know. */
function withOverlay<D extends DescMessage>(schema: D, overlay: DescMessage, message: MessageShape<D>): JsonValue {
  const whole = readableJson(schema, message);
  const beyond = toJson(overlay, fromBinary(overlay, toBinary(schema, message))) as { [key: string]: JsonValue };
  const isMap = typeof whole === 'object' && whole !== null && !Array.isArray(whole);
  return isMap && Object.keys(beyond).length > 0 ? { ...whole, tulle: beyond } : whole;
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
