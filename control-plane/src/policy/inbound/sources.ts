/** Fills the index of inbound policies from the cluster, and says of which streams each answer is. */
import { create, toBinary } from '@bufbuild/protobuf';
import { type KubeObject, MeshError } from '@tulle/api';
import { type PortSpec, type Server, ServerSchema } from '@tulle/api/gen/inbound_pb.ts';
import type { ClusterState } from '../../workloads/cluster-state.ts';
import { parseWorkload } from '../../workloads/context-token.ts';
import type { Topic, WorkloadIndex } from '../../workloads/workload-index.ts';
import type { AuthorizationSettings } from './authorization-set.ts';
import { INBOUND_KINDS, InboundIndex, inboundTopic } from './inbound-index.ts';
import { type InboundContext, type InboundServer, inboundServer } from './inbound-server.ts';
import { toServer } from './translator.ts';
import { workloadKey, workloadOfTopic } from './workload.ts';

/** Call before `state.start`. */
export function watchInboundPolicies(state: ClusterState, settings: AuthorizationSettings): InboundIndex {
  const index = new InboundIndex(settings);
  for (const kind of INBOUND_KINDS) {
    const apply = (type: 'set' | 'delete', object: KubeObject) => expand(index.apply(kind, type, object), state.index);
    state.watch(kind, apply, {
      isOptional: true,
      problems: (object) => index.problems(kind, object),
    });
  }
  state.onChange((topics) => index.refresh(topics, state.index));
  return index;
}

/** What is told of a workload depends on more than it: its endpoints of Services too are other ones now. */
function expand(topics: ReadonlySet<Topic>, workloads: WorkloadIndex): Set<Topic> {
  const all = new Set(topics);
  for (const topic of topics) {
    const workload = workloadOfTopic(topic);
    for (const each of workload ? workloads.topicsOf(workload) : []) all.add(each);
  }
  return all;
}

/** The answer to a proxy that asks for a port's policy. @throws MeshError `INVALID_ARGUMENT` for what is no port. */
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
  return { topics: [key, inboundTopic(key)], read };
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
