/**
 * Servers and rate limits as the index holds them. One that cannot be read stays in force as a stand-in that refuses
 * more than was meant: were it left out, its port would be as open as the default policy says.
 */
import { type KubeObject, MeshError, SERVERS } from '@tulle/api';
import { Field } from '@tulle/api/field.ts';
import { HTTP_LOCAL_RATE_LIMIT_POLICIES } from '@tulle/api/kinds.ts';
import { type LabelSelector, type Labels, readLabelSelector } from '@tulle/api/label-selector.ts';
import { type ObjectRef, objectRef } from '@tulle/api/object-ref.ts';
import {
  type HTTPLocalRateLimitPolicy,
  parseHTTPLocalRateLimitPolicy,
} from '@tulle/api/policy/http-local-rate-limit-policy.ts';
import { type AccessPolicy, parseServer, SERVER_FIELDS, type ServerProtocol } from '@tulle/api/policy/server.ts';
import type { WorkloadRefKind } from './workload.ts';

export interface StoredServer {
  ref: ObjectRef;
  labels: Labels;
  workloads: { kinds: readonly WorkloadRefKind[]; selector: LabelSelector };
  port: { number: number } | { name: string } | 'every';
  protocol: ServerProtocol;
  accessPolicy: AccessPolicy;
  /** Set for a stand-in: what could not be read. It lets nobody in, whatever authorizations say. */
  refused?: string;
}

export interface StoredRateLimit extends HTTPLocalRateLimitPolicy {
  refused?: string;
}

/** The least that a limit can be. */
const LEAST_REQUESTS_PER_SECOND = 1;

export function readServer(object: KubeObject): StoredServer {
  try {
    const { workloads, port, ...rest } = parseServer(object);
    return {
      ...rest,
      workloads: { kinds: [workloads.kind], selector: workloads.selector },
      port: typeof port === 'number' ? { number: port } : { name: port },
    };
  } catch (cause) {
    return serverStandIn(object, MeshError.from(cause).message);
  }
}

/** On every workload and port that the Server may have meant. */
function serverStandIn(object: KubeObject, refused: string): StoredServer {
  const spec = new Field('spec', object.spec, []);
  const pods = spec.get('podSelector');
  const external = spec.get('externalWorkloadSelector');
  const isOne = pods.isSet !== external.isSet;
  const kind = pods.isSet ? 'Pod' : 'ExternalWorkload';
  return {
    ref: objectRef(object, SERVERS),
    labels: {},
    workloads: {
      kinds: isOne ? [kind] : ['Pod', 'ExternalWorkload'],
      selector: isOne ? selectorOf(pods.isSet ? pods : external) : { requirements: [] },
    },
    port: portOf(spec.get('port').value),
    protocol: 'detect',
    accessPolicy: 'deny',
    refused,
  };
}

/** What can be read of it; a field of the spec that slipped in is no label. */
function selectorOf(field: Field): LabelSelector {
  const { requirements } = readLabelSelector(field);
  return { requirements: requirements.filter(({ key }) => !SERVER_FIELDS.includes(key)) };
}

function portOf(value: unknown): StoredServer['port'] {
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= 1 && number <= 65535) return { number };
  return typeof value === 'string' && value !== '' ? { name: value } : 'every';
}

/** Undefined where it cannot be told which Server the policy is for. */
export function readRateLimit(object: KubeObject): StoredRateLimit | undefined {
  try {
    return parseHTTPLocalRateLimitPolicy(object);
  } catch (cause) {
    const serverName = new Field('spec', object.spec, []).get('targetRef').get('name').value;
    if (typeof serverName !== 'string') return undefined;
    return {
      ref: objectRef(object, HTTP_LOCAL_RATE_LIMIT_POLICIES),
      serverName,
      total: LEAST_REQUESTS_PER_SECOND,
      overrides: [],
      refused: MeshError.from(cause).message,
    };
  }
}
