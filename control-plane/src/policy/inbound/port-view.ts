/** Answers proxies that ask for the policy of a port of theirs. */
import { create, toBinary } from '@bufbuild/protobuf';
import { MeshError } from '@tulle/api';
import { type PortSpec, type Server, ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import { parseWorkload } from '../../workloads/context-token.ts';
import { EXTERNAL_IDENTITIES_TOPIC, type Topic } from '../../workloads/workload-index.ts';
import { inboundTopic } from './inbound-index.ts';
import { type InboundContext, type InboundServer, inboundServer } from './inbound-server.ts';
import { toServer } from './translator.ts';
import { workloadKey } from './workload.ts';

/** `read` throws `NOT_FOUND` where there is no such workload. @throws MeshError `INVALID_ARGUMENT` for what is no port. */
export function inboundView(
  context: InboundContext,
  { workload, port }: Pick<PortSpec, 'workload' | 'port'>,
): { topics: Topic[]; read: () => Server } {
  const ref = parseWorkload(workload);
  if (port < 1 || port > 65535) throw new MeshError('INVALID_ARGUMENT', `inbound policy: ${port} is no port`);
  const key = workloadKey(ref);
  const read = () => {
    const server = inboundServer(context, ref, port);
    if (!server) throw new MeshError('NOT_FOUND', `inbound policy of ${key}: no such workload`);
    return toMessage(server);
  };
  // The control plane's own ports are open to workloads outside the cluster by their names.
  const ofOurs = ref.namespace === context.mesh.controllerNamespace ? [EXTERNAL_IDENTITIES_TOPIC] : [];
  return { topics: [key, inboundTopic(key), ...ofOurs], read };
}

/** Whether a proxy would read the same from both. */
export function isSameServer(a: Server, b: Server): boolean {
  return a === b || Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
}

function bytesOf(message: Server): Uint8Array {
  const bytes = encoded.get(message) ?? toBinary(ServerSchema, message);
  encoded.set(message, bytes);
  return bytes;
}

const encoded = new WeakMap<Server, Uint8Array>();

/** Made once for all the streams that it is sent to. */
function toMessage(server: InboundServer): Server {
  const message = messages.get(server) ?? create(ServerSchema, toServer(server));
  messages.set(server, message);
  return message;
}

const messages = new WeakMap<InboundServer, Server>();
